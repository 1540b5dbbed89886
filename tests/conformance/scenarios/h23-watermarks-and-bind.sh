# purpose: raised watermarks move the point where a bound and an unbound task leave a node
# topo: seed4
for k in 32768 131072; do echo $k > $VM/min_free_kbytes; wm 1 | sed 's/[0-9]*$//'; fill 1 $(( k / 1024 / 4 + 30 )); P=$(memtool alloc 60M --touch --hold --node 1); memtool where $P --mib; memtool exit $P $FILLPID; done
echo 32768 > $VM/min_free_kbytes
echo 500 > $VM/watermark_scale_factor
wm 1 | sed 's/[0-9]*$//'
fill 1 40
P=$(memtool alloc 30M --touch --hold --node 1)
memtool where $P --mib
memtool exit $P $FILLPID
echo 10 > $VM/watermark_scale_factor
wm 1 | sed 's/[0-9]*$//'
