set title "One input by the number of threads"
set xtics 1
set autoscale xfix
set offsets 0.2, 0.2, 0, 0
set yrange [0:*]
set xlabel "threads"
set ylabel "GB/s"
names = "'chunk_file, blake3' 'chunk_file, sha256' 'stream, blake3' 'stream, sha256'"
plot for [i = 1:4] rows("threads", "threads", word(names, i)) using 1:2:3:4 with yerrorlines ls i title word(names, i) noenhanced
