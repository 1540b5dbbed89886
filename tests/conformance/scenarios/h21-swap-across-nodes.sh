# purpose: what comes back from swap goes where its policy says now, not where it was; with cpusets and forks
# topo: seed4
# needs: swap
P=$(memtool alloc 600p --touch --hold --node 0)
memtool cmd $P advise 0 pageout
memtool where $P
status $P VmSwap
memtool cmd $P mbind 0 interleave:1-2
memtool cmd $P touch 0 0 300p
memtool where $P
C=$(memtool cmd $P fork); [ -n "$C" ] && echo forked
memtool cmd $P load 0
memtool where $P
maps $P | sed 's# active=[0-9]*##; s# swapcache=[0-9]*##; s# dirty=[0-9]*##'
mkcs a 6-7 3
attach a $P
memtool cmd $P advise 0 pageout
memtool where $P
memtool cmd $P touch 0
memtool where $P
status $P VmSwap
memtool exit $P
