# purpose: memory_spread_page against the policies of the reader: which wins, for reads, writes and shared memory
# topo: seed4
mkcs a 0-7 0-2
echo 1 > $CPUSET/a/cpuset.memory_spread_page
P=$(memtool idle --node 0 --policy bind:1)
attach a $P
memtool cmd $P read $DATA/f10 0 10M
memtool wherefile $DATA/f10 | tr ' ' '\n' | sed 's/=\(.*\)/ ~\1/'
memtool cmd $P alloc 300p --touch
memtool cmd $P alloc 300p --shared --touch
memtool where $P --each
memtool cmd $P write $DATA/new 3M
memtool wherefile $DATA/new | tr ' ' '\n' | sed 's/=\(.*\)/ ~\1/'
echo 0 > $CPUSET/a/cpuset.memory_spread_page
memtool cmd $P read $DATA/f50 0 10M
memtool wherefile $DATA/f50 | tr ' ' '\n' | sed 's/=\(.*\)/ ~\1/'
memtool cmd $P policy interleave:0-2
memtool cmd $P write $DATA/new2 3M
memtool wherefile $DATA/new2 | tr ' ' '\n' | sed 's/=\(.*\)/ ~\1/'
memtool exit $P
