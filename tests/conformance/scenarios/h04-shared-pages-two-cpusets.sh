# purpose: two tasks share pages and are in different cpusets that migrate: whose nodes win, and what each may still touch
# topo: seed4
mkcs a 0-1 0
mkcs b 4-5 2
echo 1 > $CPUSET/a/cpuset.memory_migrate
echo 1 > $CPUSET/b/cpuset.memory_migrate
P=$(memtool alloc 1000p --touch --hold --node 1)
memtool cmd $P alloc 500p --shared --touch
C=$(memtool cmd $P fork); [ -n "$C" ] && echo forked
attach a $P
memtool where $P --each
grep '^10[0-9a-f]\{10\} ' $PROC/$C/numa_maps | sed 's# file=[^ ]*##; s# active=[0-9]*##'
attach b $C
memtool where $P --each
grep '^10[0-9a-f]\{10\} ' $PROC/$C/numa_maps | sed 's# file=[^ ]*##; s# active=[0-9]*##'
echo 1 > $CPUSET/a/cpuset.mems
memtool where $P --each
memtool cmd $P touch 0 0 100p
memtool where $P --each
grep '^10[0-9a-f]\{10\} ' $PROC/$C/numa_maps | sed 's# file=[^ ]*##; s# active=[0-9]*##'
echo 3 > $CPUSET/b/cpuset.mems
memtool where $P --each
attach a $C
memtool where $P --each
memtool exit $P
