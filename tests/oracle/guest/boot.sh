#!/bin/busybox sh
# PID 1 of the guest, bound to CPU 0. It waits for a job (a tar archive on the third disk, with a run.sh) and lets
# it talk to the second serial line.
/bin/busybox --install -s /bin
export PATH=/oracle/bin:/bin:/usr/bin HOME=/root TERM=dumb LC_ALL=C
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for m in $(cat /oracle/modules.order); do insmod /oracle/modules/$m || echo "insmod $m failed"; done
rm -rf /oracle/modules
mkdir -p /oracle/boot /oracle/job
dmesg > /oracle/boot/dmesg
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
echo 0 > /proc/sys/kernel/printk_ratelimit 2>/dev/null
exec 8<>/dev/ttyS1
stty raw -echo <&8
# Here the machine is saved; each job starts from this moment.
echo "@READY" >&8
while read -r go <&8; do [ "$go" = go ] && break; done
tar -x -C /oracle/job -f /dev/vdc || echo "no job"
. /oracle/job/job.env
mount -t ext4 -o noatime /dev/vda /data || echo "no data disk"
mount -t tmpfs -o mpol=bind:0,size=1m cg /sys/fs/cgroup
case " $NEEDS " in
*" v2 "*) mkdir -p /sys/fs/cgroup/unified; mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified ;;
*" nocg "*) ;;
*) mkdir -p /sys/fs/cgroup/cpuset; mount -t cgroup -o cpuset cpuset /sys/fs/cgroup/cpuset ;;
esac
case " $NEEDS " in *" swap "*) swapon /dev/vdb ;; esac
export SYSNODE=/sys/devices/system/node SYSCPU=/sys/devices/system/cpu SYS=/sys VM=/proc/sys/vm KERN=/proc/sys/kernel PROC=/proc
export CPUSET=/sys/fs/cgroup/cpuset CG2=/sys/fs/cgroup/unified DATA=/data TMP=/tmp MEMTOOL_DIR=/tmp/memtool MODE=guest LIB=/oracle/job/lib.sh
sh /oracle/job/run.sh >&8 < /dev/null &
wait $!
echo "@DONE" >&8
while :; do sleep 60; done
