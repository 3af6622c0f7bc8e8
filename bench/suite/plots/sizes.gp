set title "chunk\\_file by the size of the file"
set logscale x
set format x "%.0s %cB"
set xrange [5e5:*]
set yrange [0:*]
set ylabel "GB/s"
plot for [i = 1:2] rows("sizes", "sizes", word("blake3 sha256", i)) using 1:2:3:4 with yerrorlines ls i title word("BLAKE3 SHA-256", i)
