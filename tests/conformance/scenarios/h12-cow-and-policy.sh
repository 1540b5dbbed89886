# purpose: who copies on write pays by its own policy and place: parent and child, bound, interleaved, in another cpuset
# topo: seed4
P=$(memtool alloc 900p --touch --hold --node 0)
memtool cmd $P mbind 0 interleave:1-3
C=$(memtool cmd $P fork); [ -n "$C" ] && echo forked
memtool where $P
memtool cmd $P touch 0 0 300p
memtool where $P
maps $P | sed 's# active=[0-9]*##'
grep '^10[0-9a-f]\{10\} ' $PROC/$C/numa_maps | sed 's# active=[0-9]*##'
mkcs a 6-7 3
attach a $P
memtool cmd $P touch 0 300p 300p
memtool where $P
memtool cmd $P mbind 0 default move
memtool where $P
memtool migrate $P 0-3 2
memtool where $P
grep '^10[0-9a-f]\{10\} ' $PROC/$C/numa_maps | sed 's# active=[0-9]*##'
memtool exit $P
