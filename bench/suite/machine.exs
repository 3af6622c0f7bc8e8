# The machine, and the versions of all software involved.

Code.require_file("suite.exs", __DIR__)

first_line = fn [program | arguments] ->
  if System.find_executable(program) do
    {output, _} = System.cmd(program, arguments, stderr_to_stdout: true)

    output
    |> String.split("\n", trim: true)
    |> Enum.find("", &(&1 =~ ~r/\d/))
    |> String.trim(" *")
    |> String.trim()
  end
end

from_file = fn path, pattern ->
  with {:ok, text} <- File.read(path),
       [_, found] <- Regex.run(pattern, text),
       do: String.trim(found),
       else: (_ -> nil)
end

info = Chunker.info()
{commit, _} = System.cmd("git", ["describe", "--always", "--dirty"], stderr_to_stdout: true)
otp = Path.join([:code.root_dir(), "releases", System.otp_release(), "OTP_VERSION"])

gigabytes =
  case from_file.("/proc/meminfo", ~r/^MemTotal:\s+(\d+) kB/m) do
    nil -> nil
    kib -> "#{Float.round(String.to_integer(kib) / 1_048_576, 1)} GiB"
  end

facts =
  [
    {"date", Date.to_iso8601(Date.utc_today())},
    {"commit", String.trim(commit)},
    {"processor", from_file.("/proc/cpuinfo", ~r/^model name\s*:\s*(.*)$/m)},
    {"cores", System.schedulers_online()},
    {"instruction sets", Enum.join(info.cpu_features, " ")},
    {"third-level cache", from_file.("/sys/devices/system/cpu/cpu0/cache/index3/size", ~r/(.*)/)},
    {"memory", gigabytes},
    {"system", from_file.("/etc/os-release", ~r/^PRETTY_NAME="(.*)"$/m)},
    {"kernel", first_line.(~w(uname -srm))},
    {"Elixir, OTP", "#{System.version()}, #{otp |> File.read!() |> String.trim()}"},
    {"Rust", first_line.(~w(rustc --version))},
    {"Chunker", "#{info.version}; #{inspect(Map.take(info, [:hashes, :threads]))}"},
    {"scan kernel", info.kernels.scan},
    {"crate fastcdc", from_file.("Cargo.lock", ~r/name = "fastcdc"\nversion = "(5[^"]*)"/)},
    {":crypto", :crypto.info_lib() |> hd() |> elem(2)}
  ] ++
    for {program, arguments} <- [
          {"sha256sum", ["--version"]},
          {"b3sum", ["--version"]},
          {"openssl", ["version"]},
          {"zstd", ["--version"]},
          {"lz4", ["--version"]},
          {"xz", ["--version"]},
          {"bzip2", ["--help"]},
          {"gzip", ["--version"]},
          {"brotli", ["--version"]},
          {"casync", ["--version"]},
          {"borg", ["--version"]},
          {"restic", ["version"]}
        ],
        do: {program, first_line.([program | arguments]) || "not installed"}

Suite.write("machine", ["fact\tvalue" | for({name, value} <- facts, value, do: "#{name}\t#{value}")])
