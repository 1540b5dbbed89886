# purpose: cgroup v2: pages follow changes of mems in the group, above it, and moves between groups; policies follow too
# topo: seed4
# needs: v2
echo +cpuset > $CG2/cgroup.subtree_control
mkdir $CG2/a
echo +cpuset > $CG2/a/cgroup.subtree_control
mkdir $CG2/a/x $CG2/a/y
echo 0-1 > $CG2/a/cpuset.mems
P=$(memtool alloc 400p --touch --hold --node 0)
memtool cmd $P alloc 400p --mbind interleave:0-3 --touch
memtool cmd $P policy bind=relative:0
memtool where $P --each
echo $P > $CG2/a/x/cgroup.procs
memtool where $P --each
memtool cmd $P getpolicy; memtool cmd $P getpolicy 1
echo 2-3 > $CG2/a/cpuset.mems
memtool where $P --each
cat $CG2/a/x/cpuset.mems.effective $CG2/a/y/cpuset.mems.effective
memtool cmd $P getpolicy; memtool cmd $P getpolicy 1
echo 3 > $CG2/a/y/cpuset.mems
echo $P > $CG2/a/y/cgroup.procs
memtool where $P --each
echo 0-1 > $CG2/a/cpuset.mems
cat $CG2/a/y/cpuset.mems.effective
memtool where $P --each
status $P Mems_allowed_list
echo 2-3 > $CG2/a/cpuset.mems
cat $CG2/a/y/cpuset.mems.effective
memtool where $P --each
memtool cmd $P alloc 100p --touch
memtool where $P --region 2
echo $P > $CG2/cgroup.procs
memtool where $P --each
memtool exit $P
