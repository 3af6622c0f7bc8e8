defmodule Chunker.NarInfoNixTest do
  # Compares narinfos, keys and signatures with the real Nix in both directions: output of Nix is read here,
  # and Nix accepts output of this library. All files of Nix are in a temporary folder; there is no daemon,
  # network or sandbox.
  use ExUnit.Case, async: true

  alias Chunker.{Error, NarInfo}

  @moduletag :tmp_dir
  @moduletag :nix

  # A separate Nix installation: a store, its database, and the environment that makes Nix use them.
  defp world(folder, name) do
    root = Path.join(folder, name)
    [store, state, log, conf, home] = for part <- ~w(store state log conf home), do: Path.join(root, part)
    Enum.each([store, state, log, conf, home], &File.mkdir_p!/1)
    # There is no group of Nix builders, and no sandbox in a container.
    File.write!(Path.join(conf, "nix.conf"), """
    experimental-features = nix-command
    build-users-group =
    sandbox = false
    substitute = false
    """)

    %{
      root: root,
      store: store,
      environment: [
        {"NIX_STORE_DIR", store},
        {"NIX_STATE_DIR", state},
        {"NIX_LOG_DIR", log},
        {"NIX_CONF_DIR", conf},
        {"HOME", home},
        {"XDG_CACHE_HOME", Path.join(home, "cache")},
        {"NIX_REMOTE", nil},
        {"NIX_CONFIG", nil},
        {"NIX_PATH", nil},
        {"NIX_USER_CONF_FILES", nil}
      ]
    }
  end

  # The same store path in an empty environment: a path can be copied only between stores at the same
  # location.
  defp empty_world(world, name) do
    File.mkdir_p!(Path.join(world.root, name))

    environment =
      Enum.map(world.environment, fn
        {"NIX_STATE_DIR", _} -> {"NIX_STATE_DIR", Path.join([world.root, name, "state"])}
        {"XDG_CACHE_HOME", _} -> {"XDG_CACHE_HOME", Path.join([world.root, name, "cache"])}
        other -> other
      end)

    %{world | environment: environment}
  end

  defp run(world, program, arguments, into \\ "") do
    System.cmd(program, arguments, env: world.environment, stderr_to_stdout: into == "", into: into)
  end

  defp run!(world, program, arguments) do
    {output, status} = run(world, program, arguments)
    assert status == 0, "#{program} #{Enum.join(arguments, " ")}: #{output}"
    output
  end

  defp last_line(output), do: output |> String.trim() |> String.split("\n") |> List.last()

  # A path that was added, which has a content address, and a path that was built, which references the first
  # one and itself and has a deriver.
  defp paths(world) do
    tree = Path.join(world.root, "tree")
    File.mkdir_p!(Path.join(tree, "folder"))
    File.write!(Path.join(tree, "folder/file"), String.duplicate("content ", 1000))
    File.ln_s!("folder/file", Path.join(tree, "link"))
    added = last_line(run!(world, "nix-store", ["--add", tree]))

    expression = Path.join(world.root, "built.nix")

    File.write!(expression, """
    derivation {
      name = "built";
      system = builtins.currentSystem;
      builder = "/bin/sh";
      args = [ "-c" "echo ${builtins.storePath "#{added}"} $out > $out" ];
    }
    """)

    built = last_line(run!(world, "nix-build", ["--no-out-link", expression]))
    [added, built]
  end

  defp generated_key(world, name) do
    [secret, public] = for kind <- ~w(secret public), do: Path.join(world.root, "#{name}.#{kind}")
    run!(world, "nix-store", ["--generate-binary-cache-key", name, secret, public])
    %{file: secret, secret_key: File.read!(secret), public_key: File.read!(public)}
  end

  defp hash_part(path), do: path |> Path.basename() |> binary_part(0, 32)
  defp narinfo_file(cache, path), do: Path.join(cache, hash_part(path) <> ".narinfo")

  test "output of Nix is read and verified, and is signed and written identically", %{tmp_dir: folder} do
    world = world(folder, "one")
    [added, built] = paths = paths(world)
    first = generated_key(world, "nix-1")
    # A key generated here, which Nix accepts.
    ours = NarInfo.generate_key!("another.example.org-1")
    second = Map.put(ours, :file, Path.join(world.root, "ours.secret"))
    File.write!(second.file, ours.secret_key)

    assert last_line(run!(world, "sh", ["-c", "nix key convert-secret-to-public < #{second.file}"])) ==
             ours.public_key

    assert NarInfo.public_key!(first.secret_key) == first.public_key

    for compression <- ~w(none xz bzip2 zstd) do
      cache = Path.join(world.root, "cache-#{compression}")

      run!(world, "nix", [
        "copy",
        "--to",
        "file://#{cache}?secret-key=#{first.file}&compression=#{compression}" | paths
      ])

      for path <- paths do
        text = File.read!(narinfo_file(cache, path))
        narinfo = NarInfo.parse!(text)
        assert to_string(narinfo) == text
        assert {narinfo.store_path, narinfo.compression} == {path, compression}
        assert NarInfo.verify!(narinfo, [second.public_key, first.public_key]) == "nix-1"
        assert NarInfo.sign!(%{narinfo | sigs: []}, first.secret_key) == narinfo

        assert {:error, %Error{reason: :invalid_key, details: %{why: :unknown_name}}} =
                 NarInfo.verify(narinfo, second.public_key)

        # Its fields match the NAR.
        file = Path.join(cache, narinfo.url)
        assert narinfo.file_size == File.stat!(file).size
        assert narinfo.file_hash == "sha256:" <> Chunker.to_nix_base32(Chunker.hash_file!(file, :sha256))
        {nar, 0} = System.cmd("nix-store", ["--dump", path], env: world.environment)
        assert narinfo.nar_size == byte_size(nar)
        assert narinfo.nar_hash == "sha256:" <> Chunker.to_nix_base32(Chunker.hash(nar, :sha256))
      end
    end

    # Two signatures, in Nix's order.
    cache = Path.join(world.root, "cache-none")
    run!(world, "nix", ["store", "sign", "--store", "file://#{cache}", "--key-file", second.file, built])
    text = File.read!(narinfo_file(cache, built))
    narinfo = NarInfo.parse!(text)
    assert [_, "nix-1:" <> _] = narinfo.sigs
    assert NarInfo.verify!(narinfo, second.public_key) == "another.example.org-1"
    assert NarInfo.verify!(narinfo, first.public_key) == "nix-1"

    resigned = %{narinfo | sigs: []} |> NarInfo.sign!(first.secret_key) |> NarInfo.sign!(second.secret_key)
    assert to_string(resigned) == text

    # The meaning of the fields.
    assert %{ca: "fixed:r:sha256:" <> _, references: [], deriver: nil} =
             NarInfo.parse!(File.read!(narinfo_file(cache, added)))

    assert %{ca: nil, deriver: deriver, references: references} = narinfo
    assert references == Enum.sort([Path.basename(added), Path.basename(built)])
    assert Path.basename(last_line(run!(world, "nix-store", ["--query", "--deriver", built]))) == deriver
  end

  test "Nix accepts output of this library, and rejects modified narinfos", %{tmp_dir: folder} do
    world = world(folder, "one")
    [_, built] = paths = paths(world)
    keys = NarInfo.generate_key!("ours-1")

    nars =
      for path <- paths, into: %{} do
        {nar, 0} = System.cmd("nix-store", ["--dump", path], env: world.environment)
        {output, 0} = System.cmd("nix-store", ["--query", "--references", path], env: world.environment)
        {path, {nar, output |> String.split() |> Enum.map(&Path.basename/1)}}
      end

    for {compression, suffix} <- [{"none", ""}, {"xz", ".xz"}, {"zstd", ".zst"}, {"bzip2", ".bz2"}] do
      cache = Path.join(world.root, "ours-#{compression}")
      File.mkdir_p!(Path.join(cache, "nar"))
      File.write!(Path.join(cache, "nix-cache-info"), "StoreDir: #{world.store}\n")

      for {path, {nar, references}} <- nars do
        file =
          if compression == "none", do: nar, else: Chunker.compress!(nar, codec: String.to_atom(compression))

        hash = Chunker.to_nix_base32(Chunker.hash(file, :sha256))
        url = "nar/#{hash}.nar#{suffix}"
        File.write!(Path.join(cache, url), file)

        narinfo = %NarInfo{
          store_path: path,
          url: url,
          compression: compression,
          file_hash: "sha256:" <> hash,
          file_size: byte_size(file),
          # In a form that Nix does not write.
          nar_hash: "sha256-" <> Base.encode64(Chunker.hash(nar, :sha256)),
          nar_size: byte_size(nar),
          references: Enum.reverse(references),
          extra: [{"Chunker", "what Nix does not know"}]
        }

        File.write!(narinfo_file(cache, path), to_string(NarInfo.sign!(narinfo, keys.secret_key)))
      end

      # Without a content address, only the signature makes Nix accept the path.
      good = copy(world, cache, "good-#{compression}", keys.public_key, built)
      assert {_, 0} = good.result

      for path <- paths do
        {dump, 0} = System.cmd("nix-store", ["--dump", good.physical.(path)], env: world.environment)
        assert dump == elem(nars[path], 0)
      end

      stranger = NarInfo.generate_key!("ours-1")
      assert_refused(copy(world, cache, "stranger-#{compression}", stranger.public_key, built), built)

      file = narinfo_file(cache, built)
      text = File.read!(file)
      narinfo = NarInfo.parse!(text)
      "ours-1:" <> signature = hd(narinfo.sigs)
      <<byte, rest::binary>> = Base.decode64!(signature)
      forged = <<Bitwise.bxor(byte, 1), rest::binary>>

      [malleable, small] =
        lax_signatures(NarInfo.fingerprint!(narinfo), keys.secret_key, Base.decode64!(signature))

      changes =
        for(bytes <- [forged, malleable, small], do: %{sigs: ["ours-1:" <> Base.encode64(bytes)]}) ++
          [%{sigs: []}, %{references: tl(narinfo.references)}]

      for {change, number} <- Enum.with_index(changes) do
        tampered = Map.merge(narinfo, change)
        File.write!(file, to_string(tampered))
        assert {:error, %Error{reason: :invalid_signature}} = NarInfo.verify(tampered, keys.public_key)
        assert_refused(copy(world, cache, "bad-#{number}-#{compression}", keys.public_key, built), built)
      end

      File.write!(file, text)
    end

    # The same without a store.
    {nar, _} = nars[hd(paths)]
    packed = Path.join(folder, "packed.nar.xz")
    File.write!(packed, Chunker.compress!(nar, codec: :xz))
    restored = Path.join(folder, "restored")
    command = ~s(xz -dc "$1" | nix-store --restore "$2")
    assert {"", 0} = run(world, "sh", ["-c", command, "sh", packed, restored])
    assert {"", 0} = System.cmd("diff", ["-r", "--no-dereference", hd(paths), restored])
  end

  test "Nix and this library read the same unusual narinfos in the same way, and reject the same ones", %{
    tmp_dir: folder
  } do
    world = world(folder, "one")
    world = Map.put(world, :json_format, json_format(world))
    cache = Path.join(world.root, "cache")
    File.mkdir_p!(cache)
    File.write!(Path.join(cache, "nix-cache-info"), "StoreDir: #{world.store}\n")
    [a, b, c] = for letter <- ~w(a b c), do: String.duplicate(letter, 32) <> "-" <> letter
    path = Path.join(world.store, b)
    digest = :crypto.hash(:sha256, "content")
    base32 = Chunker.to_nix_base32(digest)

    fields = [
      {"StorePath", path},
      {"URL", "nar/x.nar"},
      {"Compression", "none"},
      {"FileHash", "sha256:" <> base32},
      {"FileSize", "100"},
      {"NarHash", "sha256:" <> base32},
      {"NarSize", "120"},
      {"References", "#{a} #{c}"},
      {"Deriver", a <> ".drv"},
      {"System", "x86_64-linux"},
      {"Sig", "key:AAAA"},
      {"CA", "fixed:r:sha256:" <> base32}
    ]

    text = fn fields -> Enum.map_join(fields, fn {name, value} -> "#{name}: #{value}\n" end) end
    set = fn name, value -> text.(List.keyreplace(fields, name, 0, {name, value})) end
    without = fn name -> text.(List.keydelete(fields, name, 0)) end
    add = fn name, value -> text.(fields ++ [{name, value}]) end
    before = fn name, value -> text.([{name, value} | fields]) end

    accepted =
      [
        text.(fields),
        text.(Enum.reverse(fields)),
        set.("StorePath", "/" <> world.store <> "/./x/../" <> b <> "/"),
        set.("Compression", ""),
        set.("NarHash", "sha256:" <> Base.encode16(digest)),
        set.("NarHash", "sha256:" <> Base.encode16(digest, case: :lower)),
        set.("NarHash", "sha256:" <> Base.encode64(digest)),
        set.("NarHash", "sha256-" <> Base.encode64(digest)),
        set.("NarHash", "sha256-" <> Base.encode64(digest, padding: false)),
        set.("FileHash", "md5:d41d8cd98f00b204e9800998ecf8427e"),
        set.("FileHash", "sha512-" <> Base.encode64(:crypto.hash(:sha512, ""))),
        set.("FileSize", "0"),
        set.("NarSize", "00120"),
        set.("NarSize", "+120"),
        set.("NarSize", "18446744073709551615"),
        set.("References", ""),
        set.("References", "  #{c}  #{a} #{c} #{b} "),
        set.("Deriver", "unknown-deriver"),
        set.("CA", ""),
        set.("CA", "text:sha256:" <> base32),
        set.("CA", "fixed:md5:d41d8cd98f00b204e9800998ecf8427e"),
        set.("CA", "fixed:r:sha256:" <> Base.encode16(digest)),
        add.("URL", "nar/y.nar"),
        add.("NarSize", "121"),
        add.("Deriver", c <> ".drv"),
        add.("Deriver", "unknown-deriver"),
        add.("Sig", "key:AAAA"),
        add.("Sig", "another:AAAA"),
        add.("Unknown", "value"),
        add.("storepath", ""),
        add.("", ""),
        before.("References", ""),
        before.("CA", "")
      ] ++ for(name <- ~w(Compression FileHash FileSize References Deriver System Sig CA), do: without.(name))

    # Nix 2.34 rejects a signature of the wrong form; older versions read it as a signature by an unknown key.
    formless = [set.("Sig", ""), set.("Sig", "garbage")]

    for text <- accepted ++ formless do
      narinfo = NarInfo.parse!(text)
      assert narinfo.store_path == path
      {status, output, messages} = path_info(world, cache, path, text)

      if status == 0 or text not in formless do
        assert {status, messages} == {0, messages}
        value = fn name -> output |> json(name) |> List.wrap() end
        assert value.("narHash") == ["sha256-" <> Base.encode64(Chunker.from_nix_base32!(base32))]
        assert value.("narSize") == ["#{narinfo.nar_size}"]
        assert value.("references") == Enum.map(narinfo.references, &Path.join(world.store, &1)), text

        assert value.("deriver") ==
                 if(narinfo.deriver, do: [Path.join(world.store, narinfo.deriver)], else: []),
               text

        assert value.("ca") == List.wrap(narinfo.ca), text
        assert value.("signatures") == Enum.sort(narinfo.sigs), text
        assert value.("url") == [narinfo.url]
        # Nix reads the rewritten narinfo as the same.
        assert {0, ^output, _} = path_info(world, cache, path, to_string(narinfo))
      else
        assert messages =~ "signature is corrupt"
      end
    end

    refused =
      [
        "",
        "\n",
        text.(fields) <> "\n",
        String.trim_trailing(text.(fields)),
        text.(fields) <> "Sig",
        set.("StorePath", b),
        set.("StorePath", world.store <> "/"),
        set.("StorePath", path <> "\r"),
        set.("StorePath", Path.join(world.store, "e" <> binary_part(b, 1, 33))),
        set.("StorePath", binary_part(path, 0, byte_size(path) - 1)),
        set.("StorePath", path <> String.duplicate("x", 211)),
        set.("URL", ""),
        set.("FileHash", ""),
        set.("FileHash", base32),
        set.("FileHash", "sha256:" <> binary_part(base32, 1, 51)),
        set.("FileHash", "sha3:" <> base32),
        set.("FileSize", ""),
        set.("FileSize", "-1"),
        set.("FileSize", "1 "),
        set.("FileSize", "18446744073709551616"),
        set.("NarHash", "sha256:z" <> binary_part(base32, 1, 51)),
        set.("NarHash", "sha256:" <> String.replace(Base.encode16(digest), ~r/^./, "g")),
        set.("NarSize", "0"),
        set.("NarSize", "0x78"),
        set.("References", path),
        set.("References", "#{a},#{c}"),
        set.("Deriver", ""),
        set.("Deriver", path),
        set.("CA", "sha256:" <> base32),
        set.("CA", "fixed:r:" <> base32),
        set.("CA", "fixed:r:sha256-" <> Base.encode64(digest)),
        add.("References", a),
        add.("CA", "text:sha256:" <> base32),
        add.("FileSize", "x")
      ] ++ for(name <- ~w(StorePath URL NarHash NarSize), do: without.(name))

    for text <- refused do
      {status, _, _} = path_info(world, cache, path, text)
      assert status != 0, text
      assert {:error, %Error{reason: :invalid_narinfo}} = NarInfo.parse(text)
    end
  end

  # Returns Nix's output for the path in a cache that has this narinfo: exit status, JSON, and everything
  # printed.
  defp path_info(world, cache, path, text) do
    File.write!(narinfo_file(cache, path), text)
    arguments = ["path-info", "--json" | world.json_format] ++ ["--store", "file://#{cache}", path]
    {output, status} = run(world, "nix", arguments)

    # Warnings surround the JSON. Newer versions of Nix print an object with the paths as keys, older ones a
    # list.
    json = output |> String.split("\n") |> Enum.filter(&(&1 =~ ~r/^[\[{]/)) |> Enum.join()
    {status, json, output}
  end

  # Since 2.33 Nix has two formats for path information; older versions support only the first one.
  defp json_format(world) do
    {output, _} = run(world, "nix", ["path-info", "--json-format", "1", "--json", "/"])
    if output =~ "--json-format", do: [], else: ["--json-format", "1"]
  end

  # Returns a value of Nix's output: a list of strings, a string, a number, or `nil` if it is missing.
  defp json(output, name) do
    case Regex.run(~r/"#{name}":(?:\[(.*?)\]|"(.*?)"|(\d+))/, output, capture: :all_but_first) do
      nil -> nil
      [list] -> ~r/"(.*?)"/ |> Regex.scan(list, capture: :all_but_first) |> Enum.concat()
      [_, text] -> text
      [_, _, number] -> number
    end
  end

  # Signatures that a lax verifier accepts: one that anyone can derive from a valid signature by adding the
  # order of the group to its scalar, and one whose point has small order. OTP accepts the second one.
  defp lax_signatures(message, secret_key, <<point::binary-32, scalar::little-256>>) do
    order = Bitwise.bsl(1, 252) + 27_742_317_777_372_353_535_851_937_790_883_648_493
    malleable = <<point::binary, scalar + order::little-256>>

    [_, base64] = String.split(secret_key, ":")
    <<seed::binary-32, public::binary-32>> = Base.decode64!(base64)
    # RFC 8032, 5.1.5 and 5.1.6, with the neutral element for R.
    <<half::little-256, _::binary>> = :crypto.hash(:sha512, seed)
    secret = half |> Bitwise.band(Bitwise.bsl(1, 254) - 8) |> Bitwise.bor(Bitwise.bsl(1, 254))
    neutral = <<1, 0::248>>
    challenge = :binary.decode_unsigned(:crypto.hash(:sha512, [neutral, public, message]), :little)
    small = <<neutral::binary, rem(challenge * secret, order)::little-256>>

    assert :crypto.verify(:eddsa, :none, message, small, [public, :ed25519])
    [malleable, small]
  end

  # Copies `path` and its references from the cache to a new store, which trusts the key and checks
  # signatures.
  defp copy(world, cache, name, public_key, path) do
    world = empty_world(world, name)
    root = Path.join([world.root, name, "root"])
    store = "local?root=#{root}&require-sigs=true"

    arguments = [
      "copy",
      "--from",
      "file://#{cache}",
      "--to",
      store,
      "--option",
      "trusted-public-keys",
      public_key,
      path
    ]

    # A store under a root keeps its paths here, regardless of its logical store folder.
    physical = &Path.join([root, "nix/store", Path.basename(&1)])
    %{result: run(world, "nix", arguments), physical: physical}
  end

  defp assert_refused(copy, path) do
    assert {output, status} = copy.result
    assert status != 0
    # The messages of Nix 2.8 and of newer versions.
    assert output =~ ~r/lacks a (valid signature|signature by a trusted key)/
    refute File.exists?(copy.physical.(path))
  end
end
