set title "Lengths of chunks of random bytes, by normalization"
set xlabel "length over the average size"
set ylabel "% of all chunks, in steps of a sixteenth of the average"
set yrange [0:*]
set xrange [0:4]
file = results . "/distribution.tsv"
plot for [i = 0:3] file every ::1 using ($1 + 0.03125):(column(i + 2)) with lines ls i + 1 title sprintf("normalization %d", i)
