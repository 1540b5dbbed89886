# purpose: node reclaim with an interleaving policy: is a full node reclaimed when its turn comes, or passed over
# topo: seed4
cachefill 1 24
cachefill 3 24 g1
echo 1 > $VM/zone_reclaim_mode
snap x
P=$(memtool alloc 200M --touch --hold --node 0 --policy interleave:0-3)
memtool where $P
mem_d x FilePages
vmstat_d x oom_kill pageoutrun
numastat_d x 1 2 3 | sed 's/ local_node.*//'
memtool exit $P
echo 0 > $VM/zone_reclaim_mode
memtool read $DATA/g2 --bytes 60M --node 1 > /dev/null
memtool read $DATA/g3 --bytes 60M --node 3 > /dev/null
snap y
P=$(memtool alloc 200M --touch --hold --node 0 --policy interleave:0-3)
memtool where $P --mib
mem_d y FilePages
memtool exit $P
