# purpose: memory_migrate into a node that must first be emptied of page cache: with node reclaim and without, and what is dropped
# topo: seed4
mkcs a 0-1 0
mkcs b 4-5 2
echo 1 > $CPUSET/b/cpuset.memory_migrate
cachefill 2 24
echo 1 > $VM/zone_reclaim_mode
P=$(memtool alloc 150M --touch --hold --node 0)
attach a $P
snap x
attach b $P
memtool where $P --mib
mem_d x FilePages AnonPages
vmstat_s x pgmigrate_success pgsteal_kswapd
vmstat_d x zone_reclaim_failed oom_kill
memtool cached $DATA/g0 --mib
echo 0 > $VM/zone_reclaim_mode
memtool cmd $P alloc 100M --touch
memtool where $P --each --mib
mem_d x FilePages
memtool exit $P
