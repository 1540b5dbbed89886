# purpose: spread, migrate, exclusive and hardwall flags set and cleared while tasks are inside; children inherit some
# topo: seed4
mkcs a 0-3 0-1
P=$(memtool alloc 200p --touch --hold --node 1); attach a $P
for f in memory_migrate memory_spread_page memory_spread_slab mem_hardwall mem_exclusive cpu_exclusive; do echo 1 > $CPUSET/a/cpuset.$f; done
grep . $CPUSET/a/cpuset.m* | sed "s#.*/cpuset#cpuset#" | grep -v pressure
mkdir $CPUSET/a/k
grep . $CPUSET/a/k/cpuset.m* | sed "s#.*/cpuset#cpuset#" | grep -v pressure
mkcs b 2-5 2
mkcs c 4-5 1
mkcs d 4-5 2
echo 1 > $CPUSET/a/k/cpuset.mem_exclusive
echo 0 > $CPUSET/a/cpuset.mem_exclusive
echo 0 > $CPUSET/a/k/cpuset.mem_exclusive
echo 0 > $CPUSET/a/cpuset.mem_exclusive
echo 1-2 > $CPUSET/a/cpuset.mems
memtool where $P
echo 0 > $CPUSET/a/cpuset.memory_migrate
echo 0 > $CPUSET/a/cpuset.mems
memtool where $P
echo 1 > $CPUSET/a/cpuset.memory_migrate
echo 1 > $CPUSET/a/cpuset.mems
memtool where $P
memtool exit $P
