# purpose: locked memory moves like any other, keeps its lock, and refuses to be thrown away
# topo: seed4
P=$(memtool alloc 500p --touch --lock --hold --node 0)
memtool cmd $P alloc 300p --touch
memtool cmd $P mlock 1
mem Mlocked Unevictable
snap x
memtool migrate $P 0 1
memtool where $P --each
memtool movepages $P 0 0 100 2
memtool where $P --each
memtool cmd $P mbind 0 bind:3 move strict
memtool where $P --each
memtool cmd $P advise 0 dontneed
memtool cmd $P advise 0 pageout
memtool cmd $P advise 0 cold
memtool where $P --each
status $P 'VmLck|VmRSS' | sed 's/VmRSS.*//'
mkcs a 0-7 2
echo 1 > $CPUSET/a/cpuset.memory_migrate
attach a $P
memtool where $P --each
echo 1 > $CPUSET/a/cpuset.mems
memtool where $P --each
mem_d x Mlocked Unevictable
memtool cmd $P munlock 0
memtool cmd $P advise 0 dontneed
memtool where $P --each
vmstat_d x unevictable_pgs_cleared unevictable_pgs_stranded unevictable_pgs_mlocked unevictable_pgs_munlocked
vmstat_a x unevictable_pgs_culled
memtool exit $P
