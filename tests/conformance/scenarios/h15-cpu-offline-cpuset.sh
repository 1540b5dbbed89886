# purpose: a node loses its CPUs: tasks of cpusets on them, their memory, and what comes back
# topo: seed4
mkcs a 2-3 1
mkcs b 2-5 1-2
P=$(memtool alloc 100p --touch --hold --node 1)
attach a $P
Q=$(memtool alloc 100p --touch --hold --node 1)
attach b $Q
echo 0 > $SYSCPU/cpu2/online
for g in . a b; do echo "$g $(cat $CPUSET/$g/cpuset.cpus)"; done
echo 0 > $SYSCPU/cpu3/online
for g in . a b; do echo "$g $(cat $CPUSET/$g/cpuset.cpus)"; done
cat $PROC/$P/cpuset
status $P Cpus_allowed_list; status $Q Cpus_allowed_list
status $P Mems_allowed_list
cat $SYSNODE/has_cpu
memtool cmd $P node 1
echo 1 > $SYSCPU/cpu2/online
echo 1 > $SYSCPU/cpu3/online
for g in . a b; do echo "$g $(cat $CPUSET/$g/cpuset.cpus)"; done
status $P Cpus_allowed_list; status $Q Cpus_allowed_list
memtool exit $P $Q
