# purpose: page cache held by mappings and locks on two nodes through node reclaim and drop_caches
# topo: seed4
M=$(memtool idle --node 1)
memtool cmd $M mmapfile $DATA/f100 100M --shared --read
memtool read $DATA/f200 --node 1 > /dev/null
memtool read $DATA/f300 --bytes 100M --node 1 > /dev/null
mem FilePages Mapped | sed -n 2p
echo 1 > $VM/zone_reclaim_mode
snap x
P=$(memtool alloc $(( $(free_mb 1) + 100 ))M --touch --hold --node 1)
memtool where $P --mib
memtool cached $DATA/f100 --mib
mem_d x FilePages Mapped | sed -n 2p
memtool exit $P
echo 2 > $VM/drop_caches
memtool cached $DATA/f100 --mib
echo 1 > $VM/drop_caches
memtool cached $DATA/f100 --mib
memtool cached $DATA/f200 --mib
memtool exit $M
echo 1 > $VM/drop_caches
memtool cached $DATA/f100
