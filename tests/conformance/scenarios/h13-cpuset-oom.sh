# purpose: a cpuset without swap that runs out of memory kills in itself; the others live
# topo: seed4
mkcs a 0-1 1
O=$(memtool alloc 100M --touch --hold --node 1)
P=$(memtool alloc 50M --touch --hold --node 1)
attach a $P
Q=$(memtool idle --node 1)
attach a $Q
snap x
memtool cmd $Q alloc $(( $(free_mb 1) + 100 ))M --touch 2>&1 | sed 's/by signal.*/by signal/'
[ -d $PROC/$Q ] && echo "Q lives" || echo "Q is dead"
[ -d $PROC/$P ] && echo "P lives" || echo "P is dead"
[ -d $PROC/$O ] && echo "O lives" || echo "O is dead"
vmstat_d x oom_kill
cat $CPUSET/a/tasks | wc -l
memtool exit $O $P
