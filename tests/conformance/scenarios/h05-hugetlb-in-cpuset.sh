# purpose: hugetlb pages of a task in a cpuset: pools outside its nodes, policies, migration
# topo: seed4
H=hugepages/hugepages-2048kB
for n in 0 1 2 3; do echo 4 > $SYSNODE/node$n/$H/nr_hugepages; done
pool() { for n in 0 1 2 3; do echo "node$n $(cat $SYSNODE/node$n/$H/nr_hugepages) $(cat $SYSNODE/node$n/$H/free_hugepages)"; done; }
mkcs a 0-3 0-1
P=$(memtool idle --node 0)
attach a $P
memtool cmd $P alloc 12M --huge --touch
memtool where $P --each
pool
memtool cmd $P alloc 4M --huge --touch
memtool where $P --each
memtool cmd $P alloc 2M --huge
memtool cmd $P free 0
memtool cmd $P policy bind:1
memtool cmd $P alloc 6M --huge --touch
memtool where $P --each
pool
echo 1 > $CPUSET/a/cpuset.memory_migrate
echo 2-3 > $CPUSET/a/cpuset.mems
memtool where $P --each
pool
echo 2 > $SYSNODE/node2/$H/nr_hugepages
pool
memtool exit $P
pool
echo 0 > $VM/nr_hugepages
pool
