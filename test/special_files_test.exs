Code.require_file("support/attempts.exs", __DIR__)
Code.require_file("support/reference.exs", __DIR__)

defmodule Chunker.SpecialFilesTest do
  # Every kind of file that a path can lead to, with each function that takes a path.
  use ExUnit.Case, async: true

  alias Chunker.{Attempts, Error, Nar}

  @moduletag :tmp_dir
  @small [min_size: 64, avg_size: 256, max_size: 1024]
  @mib 1_048_576

  # Returns the result of each function for a file: its length and digest, or the error.
  defp readers do
    [
      chunk_file: fn path ->
        with {:ok, chunks} <- Chunker.chunk_file(path, @small), do: {:ok, {size(chunks), nil}}
      end,
      stream: fn path ->
        try do
          chunks = path |> Chunker.stream(@small) |> Enum.to_list()
          data = IO.iodata_to_binary(Enum.map(chunks, & &1.data))
          {:ok, {size(chunks), :crypto.hash(:sha256, data)}}
        rescue
          error in Error -> {:error, error}
        end
      end,
      hash_file: fn path ->
        with {:ok, digest} <- Chunker.hash_file(path, :sha256), do: {:ok, {nil, digest}}
      end,
      erlang: fn path ->
        case :chunker.hash_file(path, :sha256) do
          {:ok, digest} -> {:ok, {nil, digest}}
          {:error, {reason, details}} -> {:error, Error.new(reason, details)}
        end
      end
    ]
  end

  defp size(chunks), do: chunks |> Enum.map(& &1.length) |> Enum.sum()

  defp assert_reads(path, content) do
    for {name, read} <- readers() do
      assert {:ok, {size, digest}} = read.(path)
      assert {name, size || byte_size(content)} == {name, byte_size(content)}
      assert {name, digest || :crypto.hash(:sha256, content)} == {name, :crypto.hash(:sha256, content)}
    end
  end

  defp assert_refuses(path, kind) do
    for {name, read} <- readers() do
      assert {^name, {:error, %Error{reason: :io_error, details: details} = error}} = {name, read.(path)}
      assert {name, details} == {name, %{kind: kind, path: path}}
      assert Exception.message(error) =~ to_string(:file.format_error(kind))
    end
  end

  # Returns this VM's open files, by the path that they were opened by.
  defp open?(path), do: open_count(path) > 0

  defp open_count(path) do
    Enum.count(File.ls!("/proc/self/fd"), &(File.read_link("/proc/self/fd/#{&1}") == {:ok, path}))
  end

  defp eventually(condition, patience \\ 5_000) do
    cond do
      condition.() ->
        true

      patience <= 0 ->
        false

      true ->
        Process.sleep(10)
        eventually(condition, patience - 10)
    end
  end

  defp fifo(folder, name \\ "fifo") do
    path = Path.join(folder, name)
    {_, 0} = System.cmd("mkfifo", [path])
    path
  end

  defp shell(script), do: Task.async(fn -> System.cmd("sh", ["-c", script], stderr_to_stdout: true) end)

  defp truncate(path, size), do: {_, 0} = System.cmd("truncate", ["-s", "#{size}", path])

  describe "a path without a readable file" do
    test "is rejected", %{tmp_dir: folder} do
      assert_refuses(Path.join(folder, "missing"), :enoent)
      assert_refuses("", :enoent)
      assert_refuses(folder, :eisdir)
      assert_refuses("/", :eisdir)
      assert_refuses(Path.join(__ENV__.file, "below"), :enotdir)
      assert_refuses(Path.join(folder, String.duplicate("a", 256)), :enametoolong)
      assert_refuses(Path.join(folder, String.duplicate("a/", 4096)), :enametoolong)
      assert_refuses(Path.join(folder, "nul\0byte"), :einval)
      assert_refuses("\0", :einval)
      assert_refuses(Path.join(folder, <<"not text ", 255>>), :enoent)
    end

    test "through symbolic links is rejected", %{tmp_dir: folder} do
      [loop, dangling, to_folder] = for name <- ["loop", "dangling", "folder"], do: Path.join(folder, name)
      File.ln_s!(loop, loop)
      File.ln_s!("missing", dangling)
      File.ln_s!(folder, to_folder)
      assert_refuses(loop, :eloop)
      assert_refuses(dangling, :enoent)
      assert_refuses(to_folder, :eisdir)
    end

    test "to a socket is rejected" do
      # Names of sockets must be short.
      path = Path.join(System.tmp_dir!(), "chunker-#{System.unique_integer([:positive])}.sock")
      on_exit(fn -> File.rm(path) end)
      {:ok, socket} = :gen_tcp.listen(0, ifaddr: {:local, path})
      assert_refuses(path, :enxio)
      :gen_tcp.close(socket)
    end

    test "that is not a valid name raises and says so" do
      for wrong <- [
            nil,
            :path,
            1,
            {:file, "x"},
            %{},
            <<1::3>>,
            ["a", :b],
            ["a" | :b],
            [-1],
            [0x110000],
            [[255, <<255>>]]
          ] do
        message = "expected the name of a file, got: " <> inspect(wrong)

        for call <- [
              &Chunker.chunk_file/1,
              &Chunker.hash_file(&1, :sha256),
              &Chunker.chunk_files([__ENV__.file, &1]),
              &Chunker.read_chunk(&1, %Chunker.Chunk{offset: 0, length: 1, hash: <<0::256>>}),
              &Chunker.Nar.hash({:file, &1}),
              &Chunker.Nar.stream/1
            ] do
          assert_raise ArgumentError, message, fn -> call.(wrong) end
        end
      end
    end
  end

  test "an unreadable file is rejected" do
    # A privileged user drops its privileges first.
    folder = Path.join(System.tmp_dir!(), "chunker-secret-#{System.unique_integer([:positive])}")
    on_exit(fn -> File.rm_rf!(folder) end)
    File.mkdir_p!(Path.join(folder, "app"))
    secret = Path.join(folder, "secret")
    File.write!(secret, "secret")

    for part <- ["ebin", "priv"] do
      # The build may be a folder of links.
      {_, 0} = System.cmd("cp", ["-rL", Path.join(Mix.Project.app_path(), part), Path.join(folder, "app")])
    end

    {_, 0} = System.cmd("chmod", ["-R", "a+rX", folder])
    File.chmod!(secret, 0)

    code = ~s"""
    Path = "#{secret}",
    {error, {io_error, \#{kind := eacces, path := <<"#{secret}">>}}} = chunker:chunk_file(Path),
    {error, {io_error, \#{kind := eacces}}} = chunker:stream({file, Path}),
    {error, {io_error, \#{kind := eacces}}} = chunker:hash_file(Path, sha256),
    io:format("refused"), halt().
    """

    erl = [
      System.find_executable("erl"),
      "-noshell",
      "-noinput",
      "-pa",
      Path.join(folder, "app/ebin"),
      "-eval",
      code
    ]

    {id, 0} = System.cmd("id", ["-u"])

    [program | arguments] =
      if id == "0\n", do: ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups" | erl], else: erl

    assert {"refused", 0} =
             System.cmd(program, arguments, stderr_to_stdout: true, cd: "/", env: [{"HOME", folder}])
  end

  describe "an ordinary file" do
    test "may be empty", %{tmp_dir: folder} do
      path = Path.join(folder, "empty")
      File.write!(path, "")
      assert_reads(path, "")
      assert Chunker.chunk_file(path) == {:ok, []}
      assert path |> Chunker.stream() |> Enum.to_list() == []
    end

    test "may have any name, and be behind a link", %{tmp_dir: folder} do
      content = :rand.bytes(10_000)

      for name <- [<<"not text ", 255, 254>>, "blank and\nnewline", "ü€😀", "-", "--help", "a\"b'c\\d"] do
        path = folder <> "/" <> name
        File.write!(path, content)
        assert_reads(path, content)
        link = folder <> "/link"
        File.ln_s!(path, link)
        assert_reads(link, content)
        File.rm!(link)
      end
    end

    test "may be named by a list of characters", %{tmp_dir: folder} do
      path = Path.join(folder, "ü€")
      File.write!(path, "content")
      {:ok, [%{hash: hash}]} = Chunker.chunk_file(path)

      for name <- [String.to_charlist(path), [folder, ?/, ~c"ü", "€"]] do
        assert {:ok, [%{hash: ^hash}]} = Chunker.chunk_file(name)
        assert {:ok, ^hash} = Chunker.hash_file(name, :blake3)
      end

      missing = String.to_charlist(path <> "missing")
      assert {:error, %Error{details: %{path: path_told}}} = Chunker.chunk_file(missing)
      assert path_told == path <> "missing"
    end

    test "may be named relative to the current folder" do
      assert Chunker.chunk_file("mix.exs") == Chunker.chunk_file(Path.expand("mix.exs"))
    end

    test "may report a size of zero or one page and have other content" do
      version = File.read!("/proc/version")
      assert File.stat!("/proc/version").size == 0
      assert_reads("/proc/version", version)

      online = "/sys/devices/system/cpu/online"
      assert File.stat!(online).size == 4096
      {content, 0} = System.cmd("cat", [online])
      assert byte_size(content) < 4096
      assert_reads(online, content)
    end
  end

  describe "a file that changes while it is streamed" do
    # Larger than the engine's read-ahead.
    @length 200 * @mib

    setup %{tmp_dir: folder} do
      path = Path.join(folder, "changing")
      File.write!(path, "")
      truncate(path, @length)
      on_exit(fn -> File.rm(path) end)
      %{path: path}
    end

    # Streams the file and calls `change` after the first chunk.
    defp stream_while(path, change) do
      path
      |> Chunker.stream()
      |> Stream.with_index()
      |> Stream.each(fn {_chunk, index} -> if index == 0, do: change.() end)
      |> Enum.map(fn {chunk, _index} -> chunk.length end)
    end

    for {name, size} <- [
          "shrinks to nothing": 0,
          "shrinks by a byte": -1,
          "grows by a byte": 1,
          doubles: @length
        ] do
      @size size
      test "and #{name} is an error", %{path: path} do
        size = if @size == 0, do: 0, else: @length + @size
        error = catch_error(stream_while(path, fn -> truncate(path, size) end))
        assert %Error{reason: :file_changed, details: %{path: ^path}} = error
        assert Exception.message(error) == path <> ": changed while it was read, or since it was chunked"
        refute open?(path)
      end

      test "and #{name} is an error in Erlang", %{path: path} do
        size = if @size == 0, do: 0, else: @length + @size
        {:ok, iterator} = :chunker.stream({:file, path})
        {:ok, _chunk, next} = :chunker.next(iterator)
        truncate(path, size)
        assert {{:error, {:file_changed, %{path: ^path}}}, last} = last(next)
        refute open?(path)
        assert {:error, {:cancelled, %{}}} = :chunker.next(last)
        assert :ok = :chunker.close(last)
      end
    end

    defp last(iterator) do
      case :chunker.next(iterator) do
        {:ok, _chunk, next} -> last(next)
        other -> {other, iterator}
      end
    end

    test "and keeps its size is no error", %{path: path} do
      assert Enum.sum(stream_while(path, fn -> System.cmd("touch", [path]) end)) == @length
    end

    test "and loses its name is no error", %{path: path} do
      assert Enum.sum(stream_while(path, fn -> File.rm!(path) end)) == @length
    end
  end

  test "a file that shrinks while it is chunked or hashed is an error", %{tmp_dir: folder} do
    path = Path.join(folder, "shrinking")

    snapshot = [on_change: :snapshot]

    for call <- [
          &Chunker.chunk_file/1,
          &Chunker.hash_file(&1, :sha256),
          &Chunker.chunk_file(&1, snapshot),
          &Chunker.chunk_file(&1, [threads: 1] ++ snapshot),
          &Chunker.hash_file(&1, :sha256, snapshot)
        ] do
      File.write!(path, "")
      # Reading that much takes many seconds.
      truncate(path, 60 * 1024 * @mib)
      task = Task.async(fn -> call.(path) end)
      assert eventually(fn -> open?(path) end)
      truncate(path, 1)
      assert {:error, %Error{reason: :file_changed, details: %{path: ^path}}} = Task.await(task)
      refute open?(path)
    end
  end

  test "a file that is empty when it is opened and grows is an error", %{tmp_dir: folder} do
    path = Path.join(folder, "growing")
    File.write!(path, "")
    {:ok, iterator} = :chunker.stream({:file, path})
    File.write!(path, "more")
    assert {:error, {:file_changed, %{path: ^path}}} = :chunker.next(iterator)
  end

  # Appends to a file until the function returns. The file grows by less than it has.
  defp while_growing(path, function) do
    task =
      Task.async(fn ->
        file = File.open!(path, [:append, :raw])

        Enum.find(1..300_000, fn _ ->
          :ok = :file.write(file, "another line in the log\n")

          receive do
            :stop -> true
          after
            0 -> false
          end
        end)
      end)

    before = File.stat!(path).size
    true = eventually(fn -> File.stat!(path).size > before end)
    result = function.()
    send(task.pid, :stop)
    Task.await(task)
    result
  end

  describe "a file that is appended to all the time" do
    setup %{tmp_dir: folder} do
      path = Path.join(folder, "log")
      File.write!(path, :rand.bytes(24 * @mib))
      %{path: path}
    end

    # Each returns how many bytes it has read and the digest of them, or the error.
    defp growing(options, threads) do
      chunking = [hash: :sha256, threads: threads] ++ options
      struct = fn chunks -> {:ok, {size(chunks), Enum.map(chunks, & &1.hash)}} end

      [
        chunk_file: fn path ->
          with {:ok, chunks} <- Chunker.chunk_file(path, chunking), do: struct.(chunks)
        end,
        chunk_files: fn path ->
          with {:ok, [result | _]} <- Chunker.chunk_files([path, path, path, path], chunking),
               {:ok, chunks} <- result,
               do: struct.(chunks)
        end,
        nar_auto: fn path ->
          with {:ok, chunks} <- Chunker.chunk_file(path, [nar: :auto] ++ chunking), do: struct.(chunks)
        end,
        stream: fn path ->
          try do
            struct.(path |> Chunker.stream(chunking) |> Enum.to_list())
          rescue
            error in Error -> {:error, error}
          end
        end,
        hash_file: fn path -> Chunker.hash_file(path, :sha256, options) end,
        nar_stream: fn path ->
          try do
            {:ok, path |> Nar.stream(options) |> Enum.join()}
          rescue
            error in Error -> {:error, error}
          end
        end,
        nar_dump: fn path -> Nar.dump(path, {:file, path <> ".nar"}, options) end,
        erlang_chunk_file: fn path ->
          with {:ok, chunks} <- to_error(:chunker.chunk_file(path, chunking)), do: struct.(chunks)
        end,
        erlang_chunk_files: fn path ->
          with {:ok, [result]} <- :chunker.chunk_files([path], Map.new(chunking)),
               {:ok, chunks} <- to_error(result),
               do: struct.(chunks)
        end,
        erlang_stream: fn path ->
          {:ok, iterator} = :chunker.stream({:file, path}, chunking)
          with {:ok, chunks} <- to_error(all(iterator, [])), do: struct.(chunks)
        end,
        erlang_hash_file: fn path -> to_error(:chunker.hash_file(path, :sha256, options)) end,
        erlang_nar_stream: fn path ->
          {:ok, iterator} = :chunker_nar.stream(path, options)
          to_error(pieces(iterator, []))
        end,
        erlang_nar_dump: fn path ->
          to_error(:chunker_nar.dump(path, {:file, path <> ".nar"}, options))
        end
      ]
    end

    defp changed?({:error, %Error{reason: :file_changed, details: details}}, path),
      do: details == %{path: path}

    defp changed?({:ok, _}, _path), do: false

    defp to_error({:error, {reason, details}}), do: {:error, Error.new(reason, details)}
    defp to_error(result), do: result

    defp all(iterator, chunks) do
      case :chunker.next(iterator) do
        {:ok, chunk, next} -> all(next, [Map.delete(chunk, :data) | chunks])
        :done -> {:ok, Enum.reverse(chunks)}
        error -> error
      end
    end

    defp pieces(iterator, pieces) do
      case :chunker_nar.next(iterator) do
        {:ok, piece, next} -> pieces(next, [pieces, piece])
        :done -> {:ok, IO.iodata_to_binary(pieces)}
        error -> error
      end
    end

    # Checks a result against what the file has by now, whose beginning is what it had at any time before.
    defp check(name, result, path, least) when name in [:nar_stream, :erlang_nar_stream] do
      {:ok, contents} = Nar.read_file(result, "")
      assert byte_size(contents) >= least
      assert String.starts_with?(File.read!(path), contents)
    end

    defp check(name, "sha256:" <> _ = hash, path, least) when name in [:nar_dump, :erlang_nar_dump] do
      assert Nar.hash({:file, path <> ".nar"}) == {:ok, hash}
      check(:nar_stream, File.read!(path <> ".nar"), path, least)
    end

    defp check(name, digest, path, least) when name in [:hash_file, :erlang_hash_file] do
      # The file grew by one line after the other.
      content = File.read!(path)
      {head, tail} = :erlang.split_binary(content, least)
      context = :crypto.hash_init(:sha256) |> :crypto.hash_update(head)

      assert Enum.reduce_while(0..div(byte_size(tail), 24), context, fn line, context ->
               if :crypto.hash_final(context) == digest,
                 do: {:halt, true},
                 else: {:cont, :crypto.hash_update(context, binary_part(content, least + 24 * line, 24))}
             end) == true
    end

    defp check(_name, {size, hashes}, path, least) do
      assert size >= least
      content = path |> File.read!() |> binary_part(0, size)
      preset = [hash: :sha256]

      assert hashes in [
               for(chunk <- Chunker.chunk_data!(content, preset), do: chunk.hash),
               for(chunk <- Chunker.chunk_data!(content, [preset: :default] ++ preset), do: chunk.hash)
             ]
    end

    for threads <- [1, 2] do
      @threads threads
      test "is read up to where it ended, with on_change: :snapshot, on #{threads} threads", %{path: path} do
        for {name, read} <- growing([on_change: :snapshot], @threads) do
          least = File.stat!(path).size
          assert {^name, {:ok, result}} = {name, while_growing(path, fn -> read.(path) end)}
          check(name, result, path, least)
        end
      end

      test "is an error without it, on #{threads} threads", %{path: path} do
        for options <- [[], [on_change: :error]], {name, read} <- growing(options, @threads) do
          # The writer may be kept from running during a read.
          assert {name, Attempts.once?(fn -> changed?(while_growing(path, fn -> read.(path) end), path) end)} ==
                   {name, true}
        end
      end
    end
  end

  test "an empty log that grows is empty, with on_change: :snapshot", %{tmp_dir: folder} do
    path = Path.join(folder, "empty")
    File.write!(path, "")
    {:ok, iterator} = :chunker.stream({:file, path}, on_change: :snapshot)
    File.write!(path, "more")
    assert :done = :chunker.next(iterator)
    assert_reads("/proc/version", File.read!("/proc/version"))
    digest = Chunker.hash(File.read!("/proc/version"), :sha256)
    assert Chunker.hash_file("/proc/version", :sha256, on_change: :snapshot) == {:ok, digest}
  end

  test "on_change must be :error or :snapshot", %{tmp_dir: folder} do
    path = Path.join(folder, "file")
    File.write!(path, "content")
    {_, 0} = System.cmd("sh", ["-c", "cp #{path} #{path}.nar"])

    for call <- [
          &Chunker.chunk_file(path, &1),
          &Chunker.chunk_files([path], &1),
          &Chunker.hash_file(path, :sha256, &1),
          &Nar.chunk({:file, path}, &1),
          &Nar.dump(path, {:file, path <> ".nar"}, &1)
        ] do
      assert {:error, %Error{reason: :invalid_options, details: details}} = call.(on_change: :ignore)
      assert details == %{option: :on_change, value: :ignore, allowed: "error, snapshot"}

      assert_raise ArgumentError, ~r/option :on_change must be an atom, not "x"/, fn ->
        call.(on_change: "x")
      end

      assert_raise ArgumentError, ~r/unknown option :on_changes/, fn -> call.(on_changes: :error) end
    end

    for call <- [&Chunker.stream(path, &1), &Nar.stream(path, &1)] do
      assert_raise Error, ~r/option :on_change is :ignore/, fn -> Enum.to_list(call.(on_change: :ignore)) end
      assert_raise ArgumentError, fn -> call.(on_change: "x") end
      assert_raise ArgumentError, fn -> call.(on_changes: :error) end
    end

    for call <- [
          &:chunker.hash_file(path, :sha256, &1),
          &:chunker_nar.dump(path, {:file, path <> ".nar"}, &1),
          &:chunker_nar.stream(path, &1)
        ] do
      assert {:error, {:invalid_options, %{option: :on_change}}} = call.(on_change: :ignore)
      assert catch_error(call.(on_change: 1)) == :badarg
    end
  end

  describe "/dev" do
    test "null is empty" do
      assert_reads("/dev/null", "")
    end

    test "zero is endless, and the work ends with the caller" do
      before = open_count("/dev/zero")

      for call <- [
            &Chunker.chunk_file/1,
            &Chunker.hash_file(&1, :blake3),
            &Enum.each(Chunker.stream(&1), fn _ -> :ok end)
          ] do
        {pid, monitor} = spawn_monitor(fn -> call.("/dev/zero") end)
        assert eventually(fn -> open_count("/dev/zero") == before + 1 end)
        Process.exit(pid, :kill)
        assert_receive {:DOWN, ^monitor, _, _, :killed}
        assert eventually(fn -> open_count("/dev/zero") == before end, 2_000)
      end

      assert [%{length: 1024}, %{offset: 1024}] = "/dev/zero" |> Chunker.stream(@small) |> Enum.take(2)
      assert open_count("/dev/zero") == before
    end
  end

  describe "a FIFO" do
    test "is read until its writer closes it", %{tmp_dir: folder} do
      path = fifo(folder)
      content = :rand.bytes(700_000)
      source = Path.join(folder, "source")
      File.write!(source, content)

      for {name, read} <- readers() do
        # In two parts, with a pause between them.
        writer = shell("exec > #{path}; head -c 300000 #{source}; sleep 0.2; tail -c +300001 #{source}")
        assert {^name, {:ok, {size, digest}}} = {name, read.(path)}
        assert (size || 700_000) == 700_000
        assert (digest || :crypto.hash(:sha256, content)) == :crypto.hash(:sha256, content)
        assert {_, 0} = Task.await(writer)
      end

      writer = shell("cat #{source} > #{path}")
      chunks = Chunker.chunk_file!(path, @small)
      assert Enum.map(chunks, &{&1.offset, &1.length}) == Chunker.Reference.chunks(content, @small)
      Task.await(writer)
    end

    test "is empty if its writer writes nothing", %{tmp_dir: folder} do
      path = fifo(folder)

      for {_name, read} <- readers() do
        writer = shell(": > #{path}")
        assert {:ok, {size, digest}} = read.(path)
        assert size in [nil, 0]
        assert digest in [nil, :crypto.hash(:sha256, "")]
        Task.await(writer)
      end
    end

    test "yields its chunks as soon as they are complete", %{tmp_dir: folder} do
      path = fifo(folder)
      # The writer stays until its own input, which is the port's, ends.
      script = "exec 3> #{path}; head -c 60000 /dev/urandom >&3 2>/dev/null; cat"
      writer = Port.open({:spawn_executable, System.find_executable("sh")}, args: ["-c", script])
      task = Task.async(fn -> path |> Chunker.stream(@small) |> Enum.take(50) end)
      assert {:ok, chunks} = Task.yield(task, 10_000)
      assert length(chunks) == 50
      Port.close(writer)
    end

    test "without a writer blocks only its caller, until the caller is killed", %{
      tmp_dir: folder
    } do
      for {{name, read}, i} <- Enum.with_index(readers()) do
        path = fifo(folder, "lonely-#{i}")
        {pid, monitor} = spawn_monitor(fn -> read.(path) end)
        assert eventually(fn -> open?(path) end), inspect(name)
        refute_receive {:DOWN, ^monitor, _, _, _}, 100

        assert {:ok, [_ | _]} = Chunker.chunk_file(__ENV__.file)
        assert {:ok, _} = Chunker.hash_file(__ENV__.file, :sha256)
        assert [_ | _] = __ENV__.file |> Chunker.stream() |> Enum.to_list()

        Process.exit(pid, :kill)
        assert_receive {:DOWN, ^monitor, _, _, :killed}
        assert eventually(fn -> not open?(path) end, 2_000), inspect(name)
      end
    end

    test "waits concurrently with others without blocking the VM", %{tmp_dir: folder} do
      # More FIFOs than dirty schedulers of either kind, which a wait must not occupy.
      count = 2 + max(:erlang.system_info(:dirty_io_schedulers), :erlang.system_info(:dirty_cpu_schedulers))
      paths = for i <- 1..count, do: fifo(folder, "waiting-#{i}")
      tasks = for path <- paths, do: Task.async(fn -> Chunker.chunk_file!(path) end)
      assert eventually(fn -> Enum.all?(paths, &open?/1) end)

      assert {:ok, [_ | _]} = Chunker.chunk_file(__ENV__.file)

      assert Attempts.once?(fn ->
               late = for _ <- 1..50, do: elem(:timer.tc(fn -> Process.sleep(1) end), 0)
               Enum.count(late, &(&1 > 100_000)) <= 2
             end)

      for path <- paths, do: Task.await(shell("printf hello > #{path}"))
      for [chunk] <- Task.await_many(tasks), do: assert(chunk.hash == Chunker.hash("hello", :blake3))
    end

    test "is closed at once when the reader ends, so the writer fails", %{tmp_dir: folder} do
      test = self()

      for {halt, i} <- Enum.with_index([:take, :raise, :kill]) do
        path = fifo(folder, "broken-#{i}")
        # The VM's child processes ignore SIGPIPE, so `cat` reports the error.
        writer = shell("LC_ALL=C cat /dev/zero > #{path}")

        {pid, monitor} =
          spawn_monitor(fn ->
            path
            |> Chunker.stream(@small)
            |> Stream.with_index()
            |> Enum.find(fn {_, index} -> index == 5 and halt(halt, test) end)
          end)

        if halt == :kill do
          # Not before the writer has opened the FIFO too, because it would wait for another reader.
          assert_receive {:reading, ^pid}, 5_000
          Process.exit(pid, :kill)
        end

        assert_receive {:DOWN, ^monitor, _, _, _}, 5_000
        assert {output, 1} = Task.await(writer)
        assert output =~ "Broken pipe"
        refute open?(path)
      end
    end

    defp halt(:take, _test), do: true
    defp halt(:raise, _test), do: exit(:shutdown)

    defp halt(:kill, test) do
      send(test, {:reading, self()})
      Process.sleep(:infinity)
    end
  end
end
