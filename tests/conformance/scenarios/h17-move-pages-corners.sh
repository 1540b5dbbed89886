# purpose: move_pages on what is not plain: never touched, shared, locked, unmapped, twice the same, another's, nodes it may not have
# topo: seed4
P=$(memtool alloc 100p --hold --node 0)
memtool cmd $P touch 0 0 50p
memtool cmd $P load 0 50p 25p
memtool cmd $P movepages 0 0 100 1
memtool cmd $P movepages 0 0 100 query
memtool cmd $P alloc 40p --shared --touch
C=$(memtool cmd $P fork); [ -n "$C" ] && echo forked
memtool cmd $P movepages 0 0 50 2
memtool movepages $P 0 0 50 2
memtool movepages $P 0 0 50 2 --all
memtool movepages $P 1 0 40 2
memtool movepages $P 1 0 40 2 --all
memtool movepages $P 0 0 10 3 --all --stride 0
memtool movepages $P 0 90 20 1
memtool movepages $P 5 0 3 1
memtool movepages $P 0 0 5 4
memtool movepages $P 0 0 5 -1
memtool movepages $P 0 0 5 1 --flags 1
memtool movepages $P 0 0 0 1
mkcs a 0-7 0-1
attach a $P
memtool movepages $P 0 0 5 2 --all
memtool movepages $P 0 0 5 1 --all
memtool where $P --each
memtool exit $P
memtool movepages 1 0 0 1 query
