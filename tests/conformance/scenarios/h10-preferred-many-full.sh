# purpose: preferred, preferred-many and local when the nodes they want are full: by distance, with page cache there and with anon
# topo: seed4
fill 1 40
A=$FILLPID
for p in preferred:1 preferred-many:1 preferred-many:1,3 bind:1,3 local; do echo "$p $(memtool alloc 100M --touch --node 0 --policy $p --mib)"; done
fill 3 40
for p in preferred:3 preferred-many:1,3 preferred-many=static:0,3; do echo "$p $(memtool alloc 100M --touch --node 0 --policy $p --mib)"; done
memtool exit $A $FILLPID
cachefill 1 24
for p in preferred:1 preferred-many:1 bind:1; do echo "$p $(memtool alloc 50M --touch --node 0 --policy $p --mib)"; done
