# purpose: mapped files in migrations and mbind: private and shared, one mapper and two, clean and written
# topo: seed4
P=$(memtool idle --node 0)
memtool cmd $P mmapfile $DATA/f1 1M --shared --read
memtool cmd $P mmapfile $DATA/f10 1M --read
memtool where $P --each
memtool migrate $P 0 1
memtool where $P --each
memtool cmd $P mbind 0 bind:2 move
memtool cmd $P mbind 1 bind:2 move
memtool where $P --each
C=$(memtool cmd $P fork); [ -n "$C" ] && echo forked
Q=$(memtool idle --node 3)
memtool cmd $Q mmapfile $DATA/f1 1M --shared --read
memtool cmd $P mbind 0 bind:3 move
memtool cmd $P mbind 0 bind:3 move strict
memtool where $P --each
memtool cmd $P mbind 0 bind:3 moveall
memtool where $P --each
memtool cmd $P touch 1 0 50p
memtool where $P --each
memtool migrate $P 0-3 0
memtool where $P --each
memtool where $Q
memtool exit $P $Q
