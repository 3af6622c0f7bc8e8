defmodule Chunker.NarInfoTest do
  use ExUnit.Case, async: true

  alias Chunker.{Error, NarInfo}

  doctest Chunker.NarInfo

  # As served by the cache of NixOS.
  @net_tools """
  StorePath: /nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p20170221182432
  URL: nar/1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d.nar.xz
  Compression: xz
  FileHash: sha256:1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d
  FileSize: 114980
  NarHash: sha256:0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6
  NarSize: 464152
  References: 7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27
  Deriver: 10dx1q4ivjb115y3h90mipaaz533nr0d-net-tools-1.60_p20170221182432.drv
  Sig: cache.nixos.org-1:sn5s/RrqEI+YG6/PjwdbPjcAC7rcta7sJU4mFOawGvJBLsWkyLtBrT2EuFt/LJjWkTZ+ZWOI9NTtjo/woMdvAg==
  """
  @nixos_key "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY="
  @secret "test-1:nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2DXWpgBgrEKt9VL/tPJZAc6DuFy89qmIyWvAhpo9wdRGg=="

  defp rejected(text) do
    assert {:error, %Error{reason: :invalid_narinfo, details: details}} = NarInfo.parse(text)
    details
  end

  defp replace(text, field, value), do: String.replace(text, ~r/^#{field}: .*\n/m, value)

  test "a narinfo of the cache of NixOS is read, verified and written" do
    narinfo = NarInfo.parse!(@net_tools)

    assert narinfo == %NarInfo{
             store_path: "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p20170221182432",
             url: "nar/1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d.nar.xz",
             compression: "xz",
             file_hash: "sha256:1094wph9z4nwlgvsd53abfz8i117ykiv5dwnq9nnhz846s7xqd7d",
             file_size: 114_980,
             nar_hash: "sha256:0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6",
             nar_size: 464_152,
             references: ["7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27"],
             deriver: "10dx1q4ivjb115y3h90mipaaz533nr0d-net-tools-1.60_p20170221182432.drv",
             sigs: [
               "cache.nixos.org-1:sn5s/RrqEI+YG6/PjwdbPjcAC7rcta7sJU4mFOawGvJBLsWkyLtBrT2EuFt/LJjWkTZ+ZWOI9NTtjo/woMdvAg=="
             ]
           }

    assert NarInfo.verify!(narinfo, [@nixos_key]) == "cache.nixos.org-1"
    assert "#{narinfo}" == @net_tools
    assert NarInfo.to_string!(narinfo) == @net_tools

    assert NarInfo.fingerprint!(narinfo) ==
             "1;/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p20170221182432;" <>
               "sha256:0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6;464152;" <>
               "/nix/store/7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27"
  end

  test "the text may be iodata" do
    assert NarInfo.parse!(for(<<byte <- @net_tools>>, do: [byte])) == NarInfo.parse!(@net_tools)
  end

  describe "the quirks of old files" do
    test "no compression means bzip2" do
      for line <- ["", "Compression: \n"] do
        narinfo = @net_tools |> replace("Compression", line) |> NarInfo.parse!()
        assert narinfo.compression == "bzip2"
        assert to_string(narinfo) =~ "\nCompression: bzip2\n"
      end
    end

    test "references may be missing, unsorted, repeated and spaced out" do
      a = "7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-glibc-2.27"
      b = "00bgd045z0d4icpbc2yyz4gx48ak44la-net-tools-1.60_p20170221182432"
      none = @net_tools |> replace("References", "") |> NarInfo.parse!()
      assert none.references == []
      assert to_string(none) =~ "\nReferences: \n"
      assert String.ends_with?(NarInfo.fingerprint!(none), ";464152;")

      several = @net_tools |> replace("References", "References:  #{a}  #{b} #{a} \n") |> NarInfo.parse!()
      assert several.references == [b, a]
      assert to_string(several) =~ "\nReferences: #{b} #{a}\n"
      assert String.ends_with?(NarInfo.fingerprint!(several), ";464152;/nix/store/#{b},/nix/store/#{a}")
      # This value is to be written, not parsed.
      assert NarInfo.to_string!(%{several | references: [a, b, a]}) == to_string(several)

      # Only a line that names references counts.
      assert several ==
               NarInfo.parse!(
                 "References: \n" <> replace(@net_tools, "References", "References: #{a} #{b}\n")
               )
    end

    test "the deriver may be unknown" do
      for line <- ["", "Deriver: unknown-deriver\n"] do
        narinfo = @net_tools |> replace("Deriver", line) |> NarInfo.parse!()
        assert narinfo.deriver == nil
        refute to_string(narinfo) =~ "Deriver"
        assert to_string(%{narinfo | deriver: "unknown-deriver"}) == to_string(narinfo)
      end
    end

    test "hashes may be in any of Nix's notations" do
      digest = :crypto.hash(:sha256, "content")
      hash = "sha256:" <> Chunker.to_nix_base32(digest)

      for notation <- [
            hash,
            "sha256:" <> Base.encode16(digest),
            "sha256:" <> Base.encode16(digest, case: :lower),
            "sha256:" <> Base.encode64(digest),
            "sha256-" <> Base.encode64(digest),
            "sha256-" <> Base.encode64(digest, padding: false)
          ] do
        narinfo =
          @net_tools
          |> replace("NarHash", "NarHash: #{notation}\n")
          |> replace("FileHash", "FileHash: #{notation}\n")
          |> NarInfo.parse!()

        assert {narinfo.nar_hash, narinfo.file_hash} == {hash, hash}
      end

      md5 = replace(@net_tools, "FileHash", "FileHash: md5:d41d8cd98f00b204e9800998ecf8427e\n")
      assert NarInfo.parse!(md5).file_hash == "md5:3y8bwfr609h3lh9ch0izcqq7fl"
    end

    test "the last of several lines counts, and repeated signatures count once" do
      narinfo = NarInfo.parse!(@net_tools)
      again = NarInfo.parse!(@net_tools <> "URL: elsewhere\nNarSize: 1\nSig: #{hd(narinfo.sigs)}\n")
      assert again == %{narinfo | url: "elsewhere", nar_size: 1}
    end

    test "numbers may have leading zeros" do
      assert NarInfo.parse!(replace(@net_tools, "NarSize", "NarSize: 00464152\n")) ==
               NarInfo.parse!(@net_tools)
    end

    test "the lines may be in any order, and the store in any folder" do
      lines = @net_tools |> String.split("\n", trim: true) |> Enum.reverse() |> Enum.map(&[&1, ?\n])
      assert lines |> NarInfo.parse!() |> to_string() == @net_tools

      elsewhere = String.replace(@net_tools, "/nix/store/", "//tmp/./a store/x/../")
      narinfo = NarInfo.parse!(elsewhere)
      assert narinfo.store_path =~ "/tmp/a store/00bgd"
      assert NarInfo.fingerprint!(narinfo) =~ ";/tmp/a store/7gx4"
    end

    test "unknown fields are kept, in their order" do
      text = @net_tools <> "CA: \nZ: 1\nA:  \nZ: \xFF:\n: \nstorepath: x\n"
      narinfo = NarInfo.parse!("Z: 0\n" <> text)
      extra = [{"Z", "0"}, {"Z", "1"}, {"A", " "}, {"Z", "\xFF:"}, {"", ""}, {"storepath", "x"}]
      assert narinfo.extra == extra
      assert narinfo.ca == nil
      assert to_string(narinfo) == @net_tools <> "Z: 0\nZ: 1\nA:  \nZ: \xFF:\n: \nstorepath: x\n"
      assert NarInfo.verify!(narinfo, @nixos_key) == "cache.nixos.org-1"
    end

    test "every field is written at its position" do
      narinfo = %{
        NarInfo.parse!(@net_tools)
        | system: "x86_64-linux",
          ca: "fixed:r:sha256:0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6",
          sigs: ["b:1", "a:2"],
          extra: [{"Unknown", "value"}]
      }

      fields =
        ~w(StorePath URL Compression FileHash FileSize NarHash NarSize References Deriver System Sig Sig CA Unknown)

      text = to_string(narinfo)
      assert Regex.scan(~r/^\w+/m, text) == Enum.map(fields, &[&1])
      assert NarInfo.parse!(text) == narinfo
    end
  end

  describe "an invalid narinfo is rejected" do
    test "with the line" do
      assert rejected("StorePath") == %{line: 1, why: :missing_newline}
      assert rejected(String.trim_trailing(@net_tools)) == %{line: 10, why: :missing_newline}
      assert rejected(@net_tools <> "\n") == %{line: 11, why: :missing_colon}
      assert rejected("StorePath\n" <> @net_tools) == %{line: 1, why: :missing_colon}
      # Nix reads the next line as the references.
      assert rejected(replace(@net_tools, "References", "References:\n")) == %{line: 8, why: :missing_space}
      assert rejected(replace(@net_tools, "URL", "URL:nar/x\n")) == %{line: 2, why: :missing_space}
    end

    test "with the field" do
      hash = "0lxjvvpr59c2mdram7ympy5ay741f180kv3349hvfc3f8nrmbqf6"
      store_hash = "00bgd045z0d4icpbc2yyz4gx48ak44la"

      for {field, value, why} <- [
            {"StorePath", nil, :missing},
            {"StorePath", "", :missing},
            {"StorePath", "#{store_hash}-a", :not_absolute},
            {"StorePath", "/nix/store", :bad_hash_part},
            {"StorePath", "/nix/store/e#{binary_part(store_hash, 1, 31)}-a", :bad_hash_part},
            {"StorePath", "/nix/store/#{store_hash}-", :name_empty},
            {"StorePath", "/nix/store/#{store_hash}-#{String.duplicate("x", 212)}", :name_too_long},
            {"StorePath", "/nix/store/#{store_hash}-a\r", :name_character},
            {"StorePath", "/nix/store/#{store_hash}-..-x", :name_dots},
            {"URL", nil, :missing},
            {"URL", "", :missing},
            {"FileHash", "", :unknown_algorithm},
            {"FileHash", "sha256:" <> binary_part(hash, 1, 51), :bad_hash},
            {"FileSize", "", :not_a_number},
            {"FileSize", "-1", :not_a_number},
            {"FileSize", "18446744073709551616", :not_a_number},
            {"FileSize", "12 ", :not_a_number},
            {"NarHash", nil, :missing},
            {"NarHash", hash, :unknown_algorithm},
            {"NarHash", "sha256:z" <> binary_part(hash, 1, 51), :bad_hash},
            {"NarHash", "sha1:143xibwh31h9bvxzalr0sjvbbvpa6ffs", :not_sha256},
            {"NarSize", nil, :missing},
            {"NarSize", "0", :missing},
            {"NarSize", "0x10", :not_a_number},
            {"References", "#{store_hash}-a x", :bad_hash_part},
            {"References", "/nix/store/#{store_hash}-a", :bad_hash_part},
            {"References", "#{store_hash}-a,#{store_hash}-b", :name_character},
            {"References", "#{store_hash}-a\nReferences: #{store_hash}-b", :repeated},
            {"Deriver", "", :bad_hash_part},
            {"Deriver", "unknown", :bad_hash_part},
            {"Deriver", "/nix/store/#{store_hash}-a.drv", :bad_hash_part},
            {"CA", "sha256:#{hash}", :unknown_method},
            {"CA", "fixed:r:#{hash}", :unknown_algorithm},
            {"CA", "text:sha256:#{hash}0", :bad_hash},
            {"CA", "text:sha256:#{hash}\nCA: text:sha256:#{hash}", :repeated}
          ] do
        line = if value, do: "#{field}: #{value}\n", else: ""
        text = if field == "CA", do: @net_tools <> line, else: replace(@net_tools, field, line)
        assert rejected(text) == %{field: field, why: why}, "#{field}: #{value}"
      end

      assert rejected("") == %{field: "StorePath", why: :missing}
    end

    test "when it is written too, so that no value can inject a line" do
      narinfo = NarInfo.parse!(@net_tools)
      line = "x\nSig: forged:"

      for {change, details} <- [
            {%{store_path: "/nix\nURL: x/#{Path.basename(narinfo.store_path)}"},
             %{field: "StorePath", why: :line_break}},
            {%{url: line}, %{field: "URL", why: :line_break}},
            {%{compression: line}, %{field: "Compression", why: :line_break}},
            {%{system: line}, %{field: "System", why: :line_break}},
            {%{sigs: [line]}, %{field: "Sig", why: :line_break}},
            {%{extra: [{"Name", line}]}, %{field: "Name", why: :line_break}},
            {%{extra: [{line, "value"}]}, %{field: line, why: :name_character}},
            {%{extra: [{"Name:", "value"}]}, %{field: "Name:", why: :name_character}},
            {%{extra: [{"Sig", "forged:"}]}, %{field: "Sig", why: :name_known}},
            {%{references: ["7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-a 7gx4kiv5m0i7d7qkixq2cwzbr10lvxwc-b"]},
             %{field: "References", why: :name_character}},
            {%{deriver: line}, %{field: "Deriver", why: :bad_hash_part}},
            {%{file_hash: line}, %{field: "FileHash", why: :unknown_algorithm}},
            {%{nar_hash: line}, %{field: "NarHash", why: :unknown_algorithm}},
            {%{ca: line}, %{field: "CA", why: :unknown_method}},
            {%{nar_size: -1}, %{field: "NarSize", why: :not_a_number}},
            {%{nar_size: Bitwise.bsl(1, 64)}, %{field: "NarSize", why: :not_a_number}},
            {%{nar_size: 0}, %{field: "NarSize", why: :missing}},
            {%{file_size: -1}, %{field: "FileSize", why: :not_a_number}}
          ] do
        changed = Map.merge(narinfo, change)

        for call <- [
              &NarInfo.to_string/1,
              &NarInfo.fingerprint/1,
              &NarInfo.sign(&1, @secret),
              &NarInfo.verify(&1, @nixos_key)
            ] do
          assert {:error, %Error{reason: :invalid_narinfo, details: ^details}} = call.(changed)
        end

        assert_raise Error, fn -> to_string(changed) end
      end
    end

    test "if it exceeds the maximum size" do
      limit = 8 * 1024 * 1024

      fill = fn size ->
        @net_tools <> "X: " <> String.duplicate("x", size - byte_size(@net_tools) - 4) <> "\n"
      end

      assert {:ok, narinfo} = NarInfo.parse(fill.(limit))
      assert {:error, error} = NarInfo.parse(fill.(limit + 1))
      assert {error.reason, error.details} == {:buffer_limit_exceeded, %{attempted: limit + 1, limit: limit}}

      too_large = %{narinfo | extra: narinfo.extra ++ narinfo.extra}
      assert {:error, %Error{reason: :buffer_limit_exceeded}} = NarInfo.to_string(too_large)
    end

    test "wrong types raise" do
      narinfo = NarInfo.parse!(@net_tools)

      for {change, message} <- [
            {%{url: nil}, "field :url must be a binary, not nil"},
            {%{nar_size: "1"}, "field :nar_size must be an integer"},
            {%{file_size: 1.0}, "field :file_size must be an integer"},
            {%{deriver: :unknown}, "field :deriver must be a binary, not :unknown"},
            {%{references: ["a" | "b"]}, "field :references must be a list of binaries"},
            {%{sigs: "a:b"}, "field :sigs must be a list of binaries"},
            {%{extra: %{}}, "field :extra must be a list of pairs of binaries"},
            {%{extra: [{"a", 1}]}, "field :extra must be a list of pairs of binaries"}
          ] do
        error = assert_raise ArgumentError, fn -> NarInfo.to_string(Map.merge(narinfo, change)) end
        assert Exception.message(error) =~ message
      end

      assert_raise ArgumentError, fn -> NarInfo.parse(:text) end
      assert_raise ArgumentError, fn -> NarInfo.generate_key(:name) end
      assert_raise ArgumentError, fn -> NarInfo.verify(narinfo, [:key]) end

      for call <- [fn -> NarInfo.sign(narinfo, ~c"secret") end, fn -> NarInfo.public_key(~c"secret") end] do
        error = assert_raise ArgumentError, call
        refute Exception.message(error) =~ "secret"
      end
    end
  end

  describe "signatures" do
    test "are Ed25519 and verify with OTP's crypto" do
      keys = NarInfo.generate_key!("mine-1")
      signed = @net_tools |> NarInfo.parse!() |> NarInfo.sign!(keys.secret_key)
      ["mine-1", public] = String.split(keys.public_key, ":")
      "mine-1:" <> signature = List.last(signed.sigs)
      message = NarInfo.fingerprint!(signed)
      key = [Base.decode64!(public), :ed25519]
      assert :crypto.verify(:eddsa, :none, message, Base.decode64!(signature), key)
    end

    test "are inserted at Nix's position, once" do
      narinfo = NarInfo.parse!(@net_tools)

      for name <- ["zzz", "aaa", "cache.nixos.org-0", "cache.nixos.org-10"] do
        keys = NarInfo.generate_key!(name)
        signed = NarInfo.sign!(narinfo, keys.secret_key)
        assert signed.sigs == Enum.sort(signed.sigs)
        assert length(signed.sigs) == 2
        assert NarInfo.sign!(signed, keys.secret_key) == signed
        assert NarInfo.verify!(signed, [keys.public_key]) == name
        [first, _] = String.split(hd(signed.sigs), ":")
        assert NarInfo.verify!(signed, [keys.public_key, @nixos_key]) == first
      end
    end

    test "are accepted if one of several keys and signatures matches" do
      narinfo = NarInfo.parse!(@net_tools)
      # Another key of the same name.
      [_, public] = String.split(NarInfo.generate_key!("x").public_key, ":")
      other = "cache.nixos.org-1:" <> public
      assert {:error, error} = NarInfo.verify(narinfo, [other])
      assert {error.reason, error.details} == {:invalid_signature, %{why: :mismatch}}
      assert NarInfo.verify!(narinfo, [other, @nixos_key]) == "cache.nixos.org-1"

      garbage = [
        "",
        ":",
        "cache.nixos.org-1",
        "cache.nixos.org-1:",
        "cache.nixos.org-1:!",
        "cache.nixos.org-1:AAAA"
      ]

      assert NarInfo.verify!(%{narinfo | sigs: garbage ++ narinfo.sigs}, @nixos_key) == "cache.nixos.org-1"
    end

    test "report why they are invalid" do
      narinfo = NarInfo.parse!(@net_tools)
      [good] = narinfo.sigs

      for {sigs, reason, why} <- [
            {[], :invalid_signature, :unsigned},
            {["other" <> good], :invalid_key, :unknown_name},
            {["garbage"], :invalid_key, :unknown_name},
            {["cache.nixos.org-1:AAAA"], :invalid_signature, :wrong_length},
            {["cache.nixos.org-1:"], :invalid_signature, :wrong_length},
            {["cache.nixos.org-1:" <> String.duplicate("A", 88)], :invalid_signature, :wrong_length},
            {["cache.nixos.org-1:*"], :invalid_signature, :bad_base64},
            {["cache.nixos.org-1:" <> String.duplicate("A", 86) <> "=="], :invalid_signature, :mismatch}
          ] do
        assert {:error, error} = NarInfo.verify(%{narinfo | sigs: sigs}, @nixos_key)
        assert {error.reason, error.details} == {reason, %{why: why}}, inspect(sigs)
      end

      assert {:error, %Error{reason: :invalid_key}} = NarInfo.verify(narinfo, [])
    end

    test "cover exactly the signed fields" do
      narinfo = NarInfo.parse!(@net_tools)

      unsigned = %{
        narinfo
        | url: "elsewhere",
          compression: "none",
          file_hash: nil,
          file_size: nil,
          deriver: nil,
          system: "x",
          extra: [{"X", "y"}]
      }

      assert NarInfo.verify!(unsigned, @nixos_key) == "cache.nixos.org-1"

      for change <- [
            %{store_path: narinfo.store_path <> "3"},
            %{store_path: String.replace(narinfo.store_path, "/nix/", "/nyx/")},
            %{nar_hash: narinfo.file_hash},
            %{nar_size: narinfo.nar_size + 1},
            %{references: []},
            %{references: [narinfo.deriver | narinfo.references]}
          ] do
        assert {:error, %Error{details: %{why: :mismatch}}} =
                 NarInfo.verify(Map.merge(narinfo, change), @nixos_key)
      end
    end
  end

  test "a caller that is killed frees its dirty scheduler" do
    # In a VM with only one of them.
    code = """
    alias Chunker.NarInfo
    keys = NarInfo.generate_key!("a")
    hash = "sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73"
    path = "/nix/store/00bgd045z0d4icpbc2yyz4gx48ak44la-a"
    narinfo = %NarInfo{store_path: path, url: "a", compression: "none", nar_hash: hash, nar_size: 1}
    # Each takes the whole computation: the point is valid, the scalar is not.
    %NarInfo{sigs: ["a:" <> signature]} = NarInfo.sign!(narinfo, keys.secret_key)
    <<point::binary-32, _::binary>> = Base.decode64!(signature)
    forged = for i <- 1..70_000, do: "a:" <> Base.encode64(<<point::binary, i::little-256>>)
    narinfo = %{narinfo | sigs: forged}
    victim = spawn(fn -> NarInfo.verify(narinfo, keys.public_key); IO.puts("too early") end)
    Process.sleep(150)
    Process.exit(victim, :kill)
    {time, _} = :timer.tc(fn -> Chunker.hash_batch(["another"]) end)
    IO.puts(if time < 1_000_000, do: "free", else: "busy for \#{time} us")
    """

    ebin = Path.join(Mix.Project.app_path(), "ebin")
    arguments = ["--erl", "+SDcpu 1:1", "-pa", ebin, "-e", code]
    assert {"free\n", 0} = System.cmd("elixir", arguments, stderr_to_stdout: true)
  end

  test "invalid keys report why" do
    "cache.nixos.org-1:" <> public = @nixos_key
    "test-1:" <> secret = @secret

    # Encodings of the curve's point of order 1, of a point of order 8, of no point, and a coordinate that is
    # not below the prime.
    order_1 = Base.encode64(<<1, 0::248>>)

    order_8 =
      Base.encode64(
        Base.decode16!("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a", case: :lower)
      )

    none = Base.encode64(<<2, 0::248>>)
    above = Base.encode64(<<0xF0, -1::240, 0x7F>>)

    for {key, why} <- [
          {"", :missing_colon},
          {public, :missing_colon},
          {":" <> public, :bad_name},
          {"a b:" <> public, :bad_name},
          {"a\nb:" <> public, :bad_name},
          {"\xFF:" <> public, :bad_name},
          {"a:", :wrong_length},
          {"a:AAAA", :wrong_length},
          {"a:" <> secret, :wrong_length},
          {"a:" <> String.replace(public, "6", "*"), :bad_base64},
          {"a:b:c", :bad_base64},
          {"a:" <> order_1, :small_order},
          {"a:" <> order_8, :small_order},
          {"a:" <> none, :not_a_point},
          {"a:" <> above, :not_a_point}
        ] do
      assert {:error, error} = @net_tools |> NarInfo.parse!() |> NarInfo.verify([@nixos_key, key])
      assert {error.reason, error.details} == {:invalid_key, %{why: why}}, key
    end

    # With a line break as editors add it, and without the padding.
    for key <- [
          @nixos_key <> "\n",
          String.trim_trailing(@nixos_key, "="),
          String.replace(@nixos_key, "43", "4\n3")
        ] do
      assert @net_tools |> NarInfo.parse!() |> NarInfo.verify!(key) == "cache.nixos.org-1"
    end

    <<seed::binary-32, _::binary>> = Base.decode64!(secret)
    halves = "a:" <> Base.encode64(seed <> Base.decode64!(public))

    for {key, why} <- [
          {"", :missing_colon},
          {secret, :missing_colon},
          {":" <> secret, :bad_name},
          {"a:" <> Base.encode64(seed), :wrong_length},
          {"a:" <> String.replace(secret, "w", "=", global: false), :bad_base64},
          {"a:" <> binary_part(secret, 0, 84) <> "AAAAAA", :wrong_length},
          {halves, :halves_differ}
        ] do
      for call <- [&NarInfo.sign(NarInfo.parse!(@net_tools), &1), &NarInfo.public_key/1] do
        assert {:error, error} = call.(key)
        assert {error.reason, error.details} == {:invalid_key, %{why: why}}
      end
    end

    for name <- ["", "a:b", "a b", "a\tb", "a\nb", "a\u00a0b", "\0", "\xFF"] do
      assert {:error, %Error{reason: :invalid_key, details: %{why: :bad_name}}} = NarInfo.generate_key(name)
    end

    assert "k\u00e9y_1-a:" <> _ = NarInfo.generate_key!("k\u00e9y_1-a").public_key
    assert NarInfo.public_key!(@secret <> "\n") == "test-1:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    refute NarInfo.generate_key!("a") == NarInfo.generate_key!("a")
  end
end
