# purpose: policies whose nodes the cpuset takes away one by one: what each mode falls back to, and where pages go
# topo: seed4
mkcs a 0-7 0-3
go() { P=$(memtool idle --node 0); attach a $P; memtool cmd $P policy $1; for m in 0-3 1-3 2-3 0 0-3; do echo $m > $CPUSET/a/cpuset.mems; r=$(memtool cmd $P alloc 60p --touch); echo "$1 in $m: $(memtool cmd $P getpolicy) $(memtool where $P --region ${r#r})"; done; memtool exit $P; }
go bind:1
go bind:0-1
go bind=static:1
go bind=static:0-1
go bind=relative:1
go bind=relative:2-3
go preferred:1
go preferred=static:1
go preferred=relative:1
go preferred-many:0-1
go preferred-many=static:0-1
go preferred-many=relative:0-1
go interleave:0-1
go interleave=static:0-1
go interleave=relative:1-2
go local
