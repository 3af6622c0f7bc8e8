# What all plots look like. `results` is the folder of results, `target` the file that is written.
set terminal svg size 800,480 dynamic enhanced font "sans-serif,14" background "white"
set output target
set datafile separator "\t"
set border 3 lc rgb "#666666"
set tics nomirror textcolor rgb "#333333"
set grid ytics lc rgb "#dddddd"
set key outside right top
set style line 1 lc rgb "#0060ad" lw 2 pt 7 ps 0.7
set style line 2 lc rgb "#dd6e00" lw 2 pt 5 ps 0.7
set style line 3 lc rgb "#5a9e3c" lw 2 pt 9 ps 0.8
set style line 4 lc rgb "#8a5aa8" lw 2 pt 11 ps 0.8
# Rows of a part: those of a table and a series, as x, median, slowest and fastest in GB/s.
rows(part, table, series) = sprintf("< awk -F'\\t' -v OFS='\\t' '$1 == \"%s\" && $2 == \"%s\" {b = $4 / 1e9; print $3, b / $5, b / $7, b / $6}' '%s/%s.tsv'", table, series, results, part)
