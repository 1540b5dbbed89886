# purpose: clone_children, nested cpusets and their limits, renames, removal with tasks and children
# topo: seed4
mkcs a 0-5 0-2
echo 1 > $CPUSET/a/cgroup.clone_children
mkdir $CPUSET/a/x
cat $CPUSET/a/x/cpuset.cpus $CPUSET/a/x/cpuset.mems $CPUSET/a/x/cgroup.clone_children
echo 1 > $CPUSET/a/x/cpuset.mem_exclusive
echo 1 > $CPUSET/a/cpuset.mem_exclusive
echo 1 > $CPUSET/a/x/cpuset.mem_exclusive
mkdir $CPUSET/a/y
cat $CPUSET/a/y/cpuset.mems
echo 2 > $CPUSET/a/y/cpuset.mems
echo 0-1 > $CPUSET/a/x/cpuset.mems
echo 2 > $CPUSET/a/y/cpuset.mems
echo 0-1 > $CPUSET/a/cpuset.mems
P=$(memtool idle --node 0); attach a/x $P
rmdir $CPUSET/a/x
rmdir $CPUSET/a
mv $CPUSET/a/x $CPUSET/a/z
cat $PROC/$P/cpuset
mv $CPUSET/a/z $CPUSET/z
echo > $CPUSET/a/z/cpuset.mems
echo 1 > $CPUSET/a/z/cpuset.mems
status $P Mems_allowed_list
memtool exit $P
rmdir $CPUSET/a/z $CPUSET/a/y $CPUSET/a
ls $CPUSET | grep -c '^a$'
