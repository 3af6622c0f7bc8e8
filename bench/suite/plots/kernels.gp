set title "Cut points in data in memory, one thread, by the average size"
set logscale x 2
set xtics ("8 KiB" 8192, "64 KiB" 65536, "256 KiB" 262144, "1 MiB" 1048576, "4 MiB" 4194304)
set xrange [6e3:6e6]
set yrange [0:*]
set ylabel "GB/s"
# The kernels are those of the machine.
names = system(sprintf("awk -F'\\t' '$1 == \"memory\" && $2 !~ /engine/ {print $2}' '%s/kernels.tsv' | sort -u", results))
plot for [i = 1:words(names)] rows("kernels", "memory", word(names, i)) using 1:2:3:4 with yerrorlines ls i title word(names, i)
