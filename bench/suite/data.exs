# Creates a file of pseudorandom bytes that are the same on every machine: an AES key stream.
#
#     mix run bench/suite/data.exs FILE BYTES

[path, bytes] = System.argv()
piece = 10_000_000
cipher = :crypto.crypto_init(:aes_128_ctr, <<0::128>>, <<0::128>>, true)

File.open!(path, [:write, :raw], fn file ->
  bytes
  |> String.to_integer()
  |> Stream.unfold(fn
    0 -> nil
    left -> {min(left, piece), left - min(left, piece)}
  end)
  |> Enum.each(&(:ok = :file.write(file, :crypto.crypto_update(cipher, <<0::size(&1)-unit(8)>>))))
end)
