# purpose: hardwalls and exclusive cpusets: what tasks inside and outside may move where
# topo: seed4
mkcs a 0-1 0
mkcs b 4-5 2-3
echo 1 > $CPUSET/b/cpuset.mem_exclusive
P=$(memtool alloc 100p --touch --hold --node 0)
attach a $P
Q=$(memtool alloc 100p --touch --hold --node 2)
attach b $Q
memtool migrate $P 0 2
memtool where $P
memtool movepages $P 0 0 10 3
memtool where $P
memtool cmd $P mbind 0 bind:0-1 move
memtool where $P
memtool cmd $P mbind 0 bind:1 move
memtool cmd $P movepages 0 0 10 1
memtool cmd $Q movepages 0 0 10 3
memtool where $Q
memtool migrate $Q 2-3 0
memtool where $Q
mkcs c 0-7 1-2
echo 1 > $CPUSET/c/cpuset.mem_exclusive
echo 0-1 > $CPUSET/c/cpuset.mems
echo 0 > $CPUSET/b/cpuset.mem_exclusive
echo 1-2 > $CPUSET/c/cpuset.mems
cat $CPUSET/c/cpuset.mems
memtool exit $P $Q
