defmodule Chunker.InfoTest do
  # Not async: it changes the configuration of the application.
  use ExUnit.Case, async: false

  import Bitwise

  setup do
    before = Application.fetch_env(:chunker, :threads)

    on_exit(fn ->
      case before do
        {:ok, threads} -> Application.put_env(:chunker, :threads, threads)
        :error -> Application.delete_env(:chunker, :threads)
      end
    end)

    Application.delete_env(:chunker, :threads)
  end

  test "info/0 returns the version, and the same in Erlang" do
    info = Chunker.info()
    assert info.version == to_string(Application.spec(:chunker, :vsn))
    assert info == :chunker.info()
    assert Enum.sort(Map.keys(info)) == [:codecs, :cpu_features, :hashes, :kernels, :threads, :version]
  end

  # The kernel reads its flags from the CPU itself, and lists none that the system does not support.
  test "info/0 names the implementations that the CPU's flags lead to" do
    info = Chunker.info()
    flags = flags()
    has = fn wanted -> Enum.all?(wanted, &(&1 in flags)) end
    first = fn choices -> Enum.find_value(choices, fn {wanted, name} -> has.(wanted) && name end) end

    assert info.hashes == %{
             blake3:
               first.([
                 {~w(avx512f avx512vl), "avx512"},
                 {~w(avx2), "avx2"},
                 {~w(sse4_1), "sse4.1"},
                 {~w(sse2), "sse2"},
                 {~w(asimd), "neon"},
                 {[], "portable"}
               ]),
             sha256: first.([{~w(sha_ni sse4_1), "sha-ni"}, {~w(sha2), "sha2"}, {[], "portable"}])
           }

    assert info.kernels.fingerprint ==
             first.([{~w(pclmulqdq), "umash"}, {~w(aes pmull sha2), "umash"}, {[], "poly1305"}])

    # Unless the environment names one.
    if System.get_env("CHUNKER_KERNEL") == nil do
      assert info.kernels.scan ==
               first.([{~w(avx512f avx512bw avx512vl avx512vbmi), "avx512"}, {[], "scalar"}])
    end
  end

  defp in_vm_with_kernel(kernel, code) do
    ebin = Path.join(Mix.Project.app_path(), "ebin")
    environment = [{"CHUNKER_KERNEL", kernel}]
    System.cmd("elixir", ["-pa", ebin, "-e", code], stderr_to_stdout: true, env: environment)
  end

  test "CHUNKER_KERNEL forces a scan kernel, and all kernels find the same chunks" do
    code = """
    data = :erlang.iolist_to_binary(for i <- 1..200_000, do: :erlang.md5(<<i::32>>))
    IO.puts(Chunker.info().kernels.scan)
    IO.puts(:erlang.phash2(Chunker.chunk_data!(data, min_size: 4096, avg_size: 16_384, max_size: 65_536)))
    """

    usual = Chunker.info().kernels.scan
    {scalar, 0} = in_vm_with_kernel("scalar", code)
    assert ["scalar", chunks] = String.split(scalar)
    assert in_vm_with_kernel(usual, code) == {"#{usual}\n#{chunks}\n", 0}
  end

  test "an unknown kernel is an error in both languages" do
    code = """
    {:error, %Chunker.Error{reason: :invalid_options, details: details}} = Chunker.chunk_data("x")
    IO.inspect({details.option, details.value})
    {:error, {:invalid_options, ^details}} = :chunker.chunk_data("x")
    try do Chunker.info() rescue error in Chunker.Error -> IO.inspect(error.details == details) end
    try do :chunker.info() catch :error, {:invalid_options, ^details} -> IO.puts("raised") end
    """

    assert in_vm_with_kernel("abacus", code) ==
             {"{:CHUNKER_KERNEL, \"abacus\"}\ntrue\nraised\n", 0}
  end

  test "info/0 lists the CPU features that the operating system's kernel lists too" do
    info = Chunker.info()
    flags = flags()
    # The kernel's names for features that have another name in Rust.
    kernel = %{"sha" => "sha_ni", "neon" => "asimd", "sse4.1" => "sse4_1", "sse4.2" => "sse4_2"}
    kernel = Map.merge(kernel, %{"sse3" => "pni", "lzcnt" => "abm", "bmi" => "bmi1"})

    for feature <- info.cpu_features do
      assert Map.get(kernel, feature, feature) in flags, feature
    end

    assert info.cpu_features == Enum.uniq(info.cpu_features)

    # The features that matter are not left out.
    for {feature, flag} <- [{"avx2", "avx2"}, {"sha", "sha_ni"}, {"sse4.1", "sse4_1"}, {"avx512f", "avx512f"}],
        flag in flags do
      assert feature in info.cpu_features
    end
  end

  defp flags do
    [_, flags] = Regex.run(~r/^(?:flags|Features)\s*: (.*)$/m, File.read!("/proc/cpuinfo"))
    String.split(flags)
  end

  test "threads come from the configuration, by default one per online dirty CPU scheduler" do
    assert Chunker.info().threads == :erlang.system_info(:dirty_cpu_schedulers_online)

    for threads <- [1, 3, 1024] do
      Application.put_env(:chunker, :threads, threads)
      assert Chunker.info().threads == threads
      assert {:ok, [_]} = Chunker.chunk_data("abc")
      assert {:ok, [_ | _]} = Chunker.chunk_file(__ENV__.file)
    end
  end

  test "threads that are configured as nil count as not configured" do
    for none <- [nil, :undefined] do
      Application.put_env(:chunker, :threads, none)
      assert Chunker.info().threads == :erlang.system_info(:dirty_cpu_schedulers_online)
      assert {:ok, [_]} = Chunker.chunk_data("abc")
    end
  end

  @tag :tmp_dir
  test "an invalid configuration is explained by each call that needs it", %{tmp_dir: folder} do
    into = Path.join(folder, "nar")

    for {wrong, shown} <- [
          {0, "0"},
          {-1, "-1"},
          {1025, "1025"},
          {1 <<< 70, "1180591620717411303424"},
          {:two, "two"},
          {"2", ~s(<<"2">>)},
          {2.0, "2.0"}
        ] do
      Application.put_env(:chunker, :threads, wrong)

      message =
        &("the configuration of application chunker has threads: #{&1}, " <>
            "which must be an integer from 1 to 1024, or nil")

      for call <- [
            &Chunker.info/0,
            fn -> Chunker.chunk_data("abc") end,
            fn -> Chunker.chunk_data("abc", threads: 1) end,
            fn -> Chunker.chunk_file!(__ENV__.file) end,
            fn -> Chunker.chunk_files([]) end,
            fn -> Chunker.hash_batch([]) end,
            fn -> Chunker.compress_batch!([]) end,
            fn -> Chunker.stream(["abc"]) end,
            fn -> Chunker.Nar.chunk("abc") end,
            fn -> Chunker.Nar.dump(__ENV__.file, {:file, into}) end
          ] do
        assert_raise ArgumentError, message.(inspect(wrong)), call
      end

      for call <- [
            &:chunker.info/0,
            fn -> :chunker.chunk_file(__ENV__.file) end,
            fn -> :chunker.hash_batch([]) end,
            fn -> :chunker_nar.dump(__ENV__.file, {:file, into}) end
          ] do
        stack = stack_of_badarg(call)
        assert :chunker_badarg.format_error(:badarg, stack) == %{general: message.(shown)}
      end
    end
  end

  defp stack_of_badarg(call) do
    call.()
  catch
    :error, :badarg -> __STACKTRACE__
  end

  test "the configuration is read before the application is loaded" do
    # As in `bin/app eval` of a release.
    code = """
    :undefined = :application.get_key(:chunker, :vsn)
    IO.puts(Chunker.info().threads)
    """

    ebin = Path.join(Mix.Project.app_path(), "ebin")
    arguments = ["--erl", "-chunker threads 7", "-pa", ebin, "-e", code]
    assert System.cmd("elixir", arguments, stderr_to_stdout: true) == {"7\n", 0}
  end

  test "the engine has the configured number of threads, and they are named" do
    code = """
    Application.put_env(:chunker, :threads, 3)
    Chunker.chunk_data!(:crypto.strong_rand_bytes(10_000_000))
    names = for task <- File.ls!("/proc/self/task"), do: File.read!("/proc/self/task/\#{task}/comm")
    IO.puts(Enum.count(names, &(&1 =~ ~r/^chunker-[0-9]/)))
    """

    ebin = Path.join(Mix.Project.app_path(), "ebin")
    assert {"3\n", 0} = System.cmd("elixir", ["-pa", ebin, "-e", code], stderr_to_stdout: true)
  end

  test "the threads of the library run behind the VM's schedulers" do
    # Linux counts priorities for each thread.
    if File.exists?("/proc/self/task") do
      code = """
      Application.put_env(:chunker, :threads, 2)
      Chunker.chunk_data!(:crypto.strong_rand_bytes(10_000_000))

      for task <- File.ls!("/proc/self/task") do
        [_, name, fields] = Regex.run(~r/[(](.*)[)] (.*)/, File.read!("/proc/self/task/\#{task}/stat"))
        if String.starts_with?(name, "chunker-"), do: IO.puts([name, " ", fields |> String.split() |> Enum.at(16)])
      end
      """

      ebin = Path.join(Mix.Project.app_path(), "ebin")
      {output, 0} = System.cmd("elixir", ["-pa", ebin, "-e", code], stderr_to_stdout: true)

      assert output |> String.split("\n", trim: true) |> Enum.sort() == [
               "chunker-0 10",
               "chunker-1 10",
               "chunker-job 10"
             ]

      # They do not run before a VM that has a lower priority, not even if they may.
      arguments = ["-n", "15", "elixir", "-pa", ebin, "-e", code]
      {output, 0} = System.cmd("nice", arguments, stderr_to_stdout: true)
      [_, level] = Regex.run(~r/chunker-job (\d+)/, output)
      assert String.to_integer(level) >= 15
    end
  end

  test "no engine thread is started for a call that is limited to its caller's thread" do
    code = """
    Chunker.chunk_data!(:crypto.strong_rand_bytes(3_000_000), threads: 1)
    Chunker.hash(:crypto.strong_rand_bytes(3_000_000), :blake3)
    names = for task <- File.ls!("/proc/self/task"), do: File.read!("/proc/self/task/\#{task}/comm")
    IO.puts(Enum.count(names, &(&1 =~ ~r/^chunker-[0-9]/)))
    """

    ebin = Path.join(Mix.Project.app_path(), "ebin")
    assert {"0\n", 0} = System.cmd("elixir", ["-pa", ebin, "-e", code], stderr_to_stdout: true)
  end
end
