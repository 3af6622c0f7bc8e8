defmodule Chunker.Native do
  @moduledoc false
  # The only module with NIF stubs. It calls nothing of Elixir's standard library, so that it loads and runs in
  # a plain Erlang node that has only Chunker's `ebin` on its code path.

  # The compiler would load the module, and with it the library, which is built after this.
  @compile {:autoload, false}
  @on_load :load

  # What `rustler`'s feature `nif_version_2_15` asks for.
  @nif_version "2.15"

  def info, do: not_loaded()
  def panic(_message), do: not_loaded()

  def chunk_small_data(_data, _options), do: not_loaded()
  def chunk_data(_data, _options), do: not_loaded()
  def chunk_file(_path, _options), do: not_loaded()
  def read_chunk(_path, _range, _hash, _references), do: not_loaded()
  def restore_few_references(_data, _references), do: not_loaded()
  def restore_references(_data, _references), do: not_loaded()

  def chunk_files(_paths, _options, _batch), do: not_loaded()
  def hash_batch(_items, _digests, _batch), do: not_loaded()
  def compress_batch(_items, _options, _batch), do: not_loaded()
  def decompress_batch(_items, _options, _batch), do: not_loaded()

  def compress(_data, _options), do: not_loaded()
  def decompress(_data, _options), do: not_loaded()
  def detect_codec_small(_data), do: not_loaded()
  def detect_codec(_data), do: not_loaded()
  def train_dictionary(_samples, _size), do: not_loaded()

  def compressor_new(_options), do: not_loaded()
  def compressor_update(_coder, _piece), do: not_loaded()
  def compressor_finish(_coder), do: not_loaded()
  def compressor_close(_coder), do: not_loaded()
  def decompressor_new(_options), do: not_loaded()
  def decompressor_update(_coder, _piece), do: not_loaded()
  def decompressor_finish(_coder), do: not_loaded()
  def decompressor_close(_coder), do: not_loaded()

  def stream_file(_path, _options, _compression, _whole), do: not_loaded()
  def stream_pieces(_options, _compression, _whole), do: not_loaded()
  def stream_next(_stream), do: not_loaded()
  def stream_next_special(_stream), do: not_loaded()
  def stream_push(_stream, _piece), do: not_loaded()
  def stream_finish(_stream), do: not_loaded()
  def stream_digest(_stream), do: not_loaded()
  def stream_close(_stream), do: not_loaded()

  def cache_new(_options), do: not_loaded()
  def is_cache(_term), do: not_loaded()
  def cache_get_small(_cache, _data, _algorithm), do: not_loaded()
  def cache_get(_cache, _data, _algorithm), do: not_loaded()
  def cache_put_small(_cache, _data, _algorithm), do: not_loaded()
  def cache_put(_cache, _data, _algorithm), do: not_loaded()
  def cache_stats(_cache), do: not_loaded()
  def cache_clear(_cache), do: not_loaded()

  def hash_small(_data, _algorithm), do: not_loaded()
  def hash(_data, _algorithm), do: not_loaded()
  def hash_file(_path, _algorithm), do: not_loaded()
  def hash_special_open(_path, _algorithm), do: not_loaded()
  def hash_special_next(_stream), do: not_loaded()

  def nar_data(_data, _wanted), do: not_loaded()
  def nar_data_io(_data, _wanted), do: not_loaded()
  def nar_file(_path, _wanted), do: not_loaded()
  def nar_file_io(_path, _wanted), do: not_loaded()
  def nar_open(_wanted), do: not_loaded()
  def nar_push(_reader, _piece), do: not_loaded()
  def nar_push_io(_reader, _piece), do: not_loaded()
  def nar_finish(_reader), do: not_loaded()
  def nar_open_special(_path, _wanted), do: not_loaded()
  def nar_next_special(_reader), do: not_loaded()
  def nar_close(_reader), do: not_loaded()
  def nar_chunk_data(_data, _options), do: not_loaded()
  def nar_chunk_file(_path, _options), do: not_loaded()
  def nar_dump_file(_path, _into, _threads), do: not_loaded()
  def nar_dump_open(_path), do: not_loaded()
  def nar_dump_next(_dump), do: not_loaded()
  def nar_dump_close(_dump), do: not_loaded()

  def nix_base32_encode_small(_bytes), do: not_loaded()
  def nix_base32_encode(_bytes), do: not_loaded()
  def nix_base32_decode_small(_text), do: not_loaded()
  def nix_base32_decode(_text), do: not_loaded()

  def narinfo_parse_small(_text), do: not_loaded()
  def narinfo_parse(_text), do: not_loaded()
  def narinfo_to_text(_narinfo), do: not_loaded()
  def narinfo_fingerprint(_narinfo), do: not_loaded()
  def narinfo_sign(_narinfo, _secret_key), do: not_loaded()
  def narinfo_verify(_narinfo, _public_keys), do: not_loaded()
  def narinfo_generate_key(_name), do: not_loaded()
  def narinfo_public_key(_secret_key), do: not_loaded()

  # Succeeds even if the library does not load. A failing `@on_load` would leave its callers with an
  # `UndefinedFunctionError` that says nothing of the cause, and keep a release in embedded mode from booting.
  # Thus the explanation waits where every stub finds it.
  def load do
    path = path()

    case :erlang.load_nif(path, 0) do
      :ok ->
        _ = :persistent_term.erase(__MODULE__)
        :ok

      {:error, {reason, text}} ->
        :persistent_term.put(__MODULE__, explanation(path, reason, text))
    end
  end

  # Without an extension, which `load_nif` adds.
  defp path do
    priv =
      case :code.priv_dir(:chunker) do
        {:error, :bad_name} ->
          # The `ebin` is on the code path under a folder not named `chunker`.
          beam = :filename.absname(:code.which(__MODULE__))
          :filename.join(:filename.dirname(:filename.dirname(beam)), ~c"priv")

        priv ->
          priv
      end

    :filename.join(priv, ~c"chunker_nif")
  end

  defp explanation(path, reason, text) do
    extension =
      case :os.type() do
        {:win32, _} -> ~c".dll"
        _ -> ~c".so"
      end

    library = path ++ extension

    :unicode.characters_to_binary([
      "The native library of Chunker could not be loaded.\n",
      ["  library: ", library, " (", found(library), ")\n"],
      ["  here:    ", :erlang.system_info(:system_architecture)],
      [", Erlang/OTP ", :erlang.system_info(:otp_release)],
      [", NIF version ", :erlang.system_info(:nif_version)],
      [" (the library needs ", @nif_version, " or a newer 2.x)\n"],
      ["  reason:  ", :erlang.atom_to_list(reason), ": ", text, ?\n],
      "The library is built by `mix compile`, on and for the machine that runs it; ",
      "`mix deps.compile chunker --force` builds it anew where Chunker is a dependency."
    ])
  end

  # Of a library for processors of another kind, Linux's loader says that there is no such file.
  defp found(library) do
    case :erl_prim_loader.read_file_info(library) do
      {:ok, information} -> [:erlang.integer_to_list(:erlang.element(2, information)), " bytes"]
      :error -> "missing"
    end
  end

  # A literal struct: its expansion needs no Elixir at run time, Elixir prints the message with its line breaks, and
  # Erlang sees a map with a `message`.
  defp not_loaded do
    :erlang.nif_error(%RuntimeError{
      message:
        :persistent_term.get(
          __MODULE__,
          "The native library of Chunker lacks this function: it was built from another version of Chunker."
        )
    })
  end
end
