set title "Codecs at their default levels, one thread, against the official programs"
set logscale y
set ylabel "MB/s of content"
set style data histograms
set style histogram clustered gap 1.5
set style fill solid 0.9 noborder
set xrange [-0.6:3.6]
set xtics scale 0
bars(table, row) = rows("codecs", table, row)
plot bars("compress", "Chunker") using ($2 * 1000):xtic(1) ls 1 title "compress", \
     bars("compress", "program") using ($2 * 1000) lc rgb "#99c2e8" title "compress, program", \
     bars("decompress", "Chunker") using ($2 * 1000) ls 2 title "decompress", \
     bars("decompress", "program") using ($2 * 1000) lc rgb "#f5c99b" title "decompress, program"
