# purpose: a node loses its last block: cpusets of v1 lose it for ever, policies and pages follow
# topo: seed4
mkcs a 0-7 2-3
mkcs b 0-7 3
mkdir $CPUSET/b/c; echo 0-7 > $CPUSET/b/c/cpuset.cpus; echo 3 > $CPUSET/b/c/cpuset.mems
P=$(memtool alloc 600p --touch --hold --node 3)
attach b/c $P
Q=$(memtool alloc 400p --touch --hold --node 3)
attach a $Q
memtool cmd $Q policy bind:2-3
memtool cmd $Q alloc 200p --mbind bind:3 --touch
memtool where $Q --each
off() { for m in $SYSNODE/node3/memory[0-9]*; do echo offline > $m/state || echo "$(basename $m) stays"; done; }
off
cat $SYSNODE/online $SYSNODE/has_memory $SYSNODE/has_normal_memory
for g in . a b b/c; do echo "$g $(cat $CPUSET/$g/cpuset.mems)"; done
memtool where $P --each
memtool where $Q --each
status $P Mems_allowed_list; status $Q Mems_allowed_list
cat $PROC/$P/cpuset
memtool cmd $Q getpolicy
memtool cmd $Q getpolicy 1
memtool cmd $Q alloc 100p --touch
memtool where $Q --region 2
echo 3 > $CPUSET/a/cpuset.mems
for m in $SYSDEV/memory[0-9]* $SYSNODE/node3/memory[0-9]*; do [ -e $m/state ] && grep -q offline $m/state && echo online > $m/state; done; true
cat $SYSNODE/online $SYSNODE/has_memory
for g in . a b b/c; do echo "$g $(cat $CPUSET/$g/cpuset.mems)"; done
memtool exit $P $Q
