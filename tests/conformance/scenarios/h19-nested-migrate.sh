# purpose: memory_migrate in nested cpusets and across them: old nodes are those of the cpuset left, whatever the task had
# topo: seed4
mkcs a 0-7 0-3
mkcs a/b 0-7 0-1
mkcs a/c 0-7 2-3
echo 1 > $CPUSET/a/b/cpuset.memory_migrate
echo 1 > $CPUSET/a/c/cpuset.memory_migrate
P=$(memtool idle --node 0)
attach a/b $P
for n in 0 1; do memtool cmd $P alloc $(( (n + 1) * 100 ))p --mbind bind:$n --touch; done
memtool where $P --each
attach a/c $P
memtool where $P --each
memtool cmd $P getpolicy 0; memtool cmd $P getpolicy 1
attach a $P
memtool where $P --each
attach a/b $P
memtool where $P --each
echo 1 > $CPUSET/a/b/cpuset.mems
memtool where $P --each
echo 0-1 > $CPUSET/a/b/cpuset.mems
memtool where $P --each
attach a/c $P
memtool where $P --each
echo 0-1 > $CPUSET/a/cpuset.mems
rmdir $CPUSET/a/b
echo 2-3 > $CPUSET/a/cpuset.mems
memtool cmd $P getpolicy 0; memtool cmd $P getpolicy 1
memtool exit $P
