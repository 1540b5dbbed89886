# purpose: page tables are charged where the task's policy or cpuset puts them
# topo: seed4
pt() { for n in 0 1 2 3; do echo "node$n ~$(( $(field PageTables $n) / 4 ))"; done; }
pt #~info
mkcs a 2-3 1
P=$(memtool idle --node 1)
attach a $P
snap x
memtool cmd $P alloc 64M --touch
mem_d x AnonPages
nvmstat_a x 1 nr_page_table_pages
nvmstat_a x 0 nr_page_table_pages
memtool exit $P
snap y
P=$(memtool alloc 200M --touch --hold --node 0 --policy bind:2)
nvmstat_a y 2 nr_page_table_pages
nvmstat_a y 0 nr_page_table_pages
memtool migrate $P 2 3
memtool where $P
nvmstat_a y 2 nr_page_table_pages
nvmstat_a y 3 nr_page_table_pages
memtool exit $P
