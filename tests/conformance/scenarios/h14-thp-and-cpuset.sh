# purpose: transparent huge pages under policies, moved whole: interleave, bind, cpuset migration, fork
# topo: seed4
P=$(memtool alloc 16M --thp --touch --hold --node 0 --policy interleave:0-3)
memtool where $P
maps $P | sed 's# active=[0-9]*##'
grep AnonHugePages $SYSNODE/node*/meminfo | sed "s#.*Node#Node#"
snap x
memtool migrate $P 0-3 1
memtool where $P
vmstat_d x thp_migration_success thp_migration_fail thp_split_page
memtool cmd $P mbind 0 bind:2 move
memtool where $P
mkcs a 0-7 3
echo 1 > $CPUSET/a/cpuset.memory_migrate
attach a $P
memtool where $P
grep AnonHugePages $SYSNODE/node*/meminfo | sed "s#.*Node#Node#"
memtool movepages $P 0 0 1 2
memtool movepages $P 0 0 1 3
memtool where $P
memtool exit $P
