# purpose: interleaving in a cpuset that shrinks and grows again: policies of the task and of a region, static and relative
# topo: seed4
mkcs a 0-7 0-3
P=$(memtool idle --node 0 --policy interleave:0-3)
attach a $P
memtool cmd $P alloc 400p --touch
memtool cmd $P alloc 400p --mbind interleave=static:1-3 --touch
memtool cmd $P alloc 400p --mbind interleave=relative:0-2 --touch
memtool where $P --each
show() { memtool cmd $P getpolicy; memtool cmd $P getpolicy 1; memtool cmd $P getpolicy 2; maps $P | sed 's/ anon.*//'; }
show
echo 1-2 > $CPUSET/a/cpuset.mems
show
memtool cmd $P alloc 300p --touch
memtool where $P --region 3
echo 0 > $CPUSET/a/cpuset.mems
show
memtool cmd $P alloc 300p --touch
memtool where $P --region 4
echo 0-3 > $CPUSET/a/cpuset.mems
show
memtool cmd $P alloc 300p --touch
memtool where $P --each
echo 1 > $CPUSET/a/cpuset.memory_migrate
echo 2-3 > $CPUSET/a/cpuset.mems
memtool where $P --each
show
echo 0-1 > $CPUSET/a/cpuset.mems
memtool where $P --each
show
memtool exit $P
