# purpose: cgroup v2 partitions whose CPUs go off line: invalid and valid again, tasks inside, siblings and parents
# topo: seed4
# needs: v2
echo +cpuset > $CG2/cgroup.subtree_control
say() { for g in a a/x b; do [ -d $CG2/$g ] && echo "$g $(cat $CG2/$g/cpuset.cpus.partition): $(cat $CG2/$g/cpuset.cpus) -> $(cat $CG2/$g/cpuset.cpus.effective)"; done; echo "root $(cat $CG2/cpuset.cpus.effective)"; }
mkdir $CG2/a $CG2/b
echo 2-3 > $CG2/a/cpuset.cpus
echo 1 > $CG2/a/cpuset.mems
echo root > $CG2/a/cpuset.cpus.partition
say
P=$(memtool alloc 100p --touch --hold --node 0)
echo $P > $CG2/a/cgroup.procs
status $P 'Cpus_allowed_list|Mems_allowed_list'
memtool where $P
echo 0 > $SYSCPU/cpu2/online
say
echo 0 > $SYSCPU/cpu3/online
say
status $P Cpus_allowed_list
echo 1 > $SYSCPU/cpu2/online
say
echo 1 > $SYSCPU/cpu3/online
say
status $P Cpus_allowed_list
echo 4-5 > $CG2/b/cpuset.cpus
echo isolated > $CG2/b/cpuset.cpus.partition
say
echo 3-4 > $CG2/a/cpuset.cpus
say
echo 2-3 > $CG2/a/cpuset.cpus
say
echo $P > $CG2/cgroup.procs
echo +cpuset > $CG2/a/cgroup.subtree_control
mkdir $CG2/a/x
echo 3 > $CG2/a/x/cpuset.cpus
echo root > $CG2/a/x/cpuset.cpus.partition
say
echo 0 > $SYSCPU/cpu3/online
say
echo 1 > $SYSCPU/cpu3/online
say
echo member > $CG2/a/cpuset.cpus.partition
say
echo 4-7 > $CG2/a/cpuset.cpus
say
memtool exit $P
rmdir $CG2/a/x $CG2/a $CG2/b
cat $CG2/cpuset.cpus.effective
