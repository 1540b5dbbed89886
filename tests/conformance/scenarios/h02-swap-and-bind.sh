# purpose: memory bound to a full node: swap takes it, other nodes stay idle
# topo: seed4
# needs: swap
P=$(memtool alloc 200M --touch --hold --node 1 --policy bind:1)
snap x
Q=$(memtool alloc $(( $(free_mb 1) + 60 ))M --touch --hold --node 1 --policy bind:1)
memtool where $Q | tr ' ' '\n' | sed 's/=.*//'
mem_d x AnonPages | sed -n '1p;3,4p'
vmstat_s x pswpout pgsteal_anon
vmstat_d x oom_kill numa_miss numa_foreign
[ $(memtool where $P | sed 's/.*N1=//') -lt 51200 ] && echo "part of P is out"
memtool exit $Q
memtool cmd $P touch 0
memtool where $P
vmstat_s x pswpin
memtool cmd $P policy bind:2
memtool cmd $P advise 0 pageout
memtool where $P
memtool cmd $P touch 0
memtool where $P
status $P VmSwap
memtool exit $P
