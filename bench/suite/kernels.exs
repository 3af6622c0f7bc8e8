# Cut points: crate `fastcdc`, each scan kernel on one thread, and the engine on several.

Code.require_file("suite.exs", __DIR__)

arguments = ~w(run --quiet --release --locked --package chunker --example cut_point_speed --)
{output, 0} = System.cmd("cargo", arguments ++ [Suite.data("random"), to_string(Suite.rounds(5))])

rows =
  output
  |> String.split("\n", trim: true)
  |> Enum.map(&String.split(&1, "\t"))
  |> Enum.group_by(&Enum.take(&1, 4), &(&1 |> List.last() |> String.to_float()))
  |> Enum.sort_by(fn {[place, average, rival, _], _} -> {place, String.to_integer(average), rival} end)
  |> Enum.map(fn {[place, average, rival, bytes], seconds} ->
    seconds
    |> Suite.summary()
    |> Map.merge(%{
      table: place,
      row: rival,
      x: average,
      bytes: String.to_integer(bytes),
      command: "cargo run --release -p chunker --example cut_point_speed -- random 5"
    })
  end)

Suite.keep("kernels", rows)
