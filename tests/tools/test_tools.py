# SPDX-License-Identifier: MIT
"""The table of docs/tools.md: programs of Debian, unmodified, say what they must of ring4.

Each row is a command for a shell inside the machine, and patterns that its output must have, in this order. Nodes 0-3
have two CPUs each and 458, 503, 503, 501 MB; they are 14 from their neighbours and 20 from the node across.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import numafs
from numafs.doors.mounting import mounted
from numafs.doors.namespace import why_refused
from numafs.doors.options import parse_options

ROOT = Path(numafs.__file__).parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "TERM": "xterm"}
PATHS = "/usr/sbin:/usr/bin:/sbin:/bin"

pytestmark = [
    pytest.mark.usefixtures("fuse"),
    pytest.mark.skipif(bool(why_refused()), reason=why_refused()),
]


class Row(NamedTuple):
    """A command, and what its output must have; the program it is about is the first word that `needs` names."""

    command: str
    patterns: tuple[str, ...]
    needs: str = ""
    root: bool = False
    """Does it ask for root itself?"""

    @property
    def tool(self) -> str:
        """The program that must be there."""
        return self.needs or self.command.split()[0]


SHOW = "numactl --show"
IN_BACKGROUND = ">/dev/null & p=$!; until grep -q anon=102 /proc/$p/numa_maps; do :; done;"
LONG_LIVED = f"memhog -r99999999 40m membind 0 {IN_BACKGROUND} "
"""A program that holds 40 MiB of node 0."""

ROWS = (
    Row(
        "numactl -H",
        (
            r"available: 4 nodes \(0-3\)",
            r"node 0 cpus: 0 1$",
            r"node 0 size: 458 MB",
            r"node 3 size: 501 MB",
            r"^  1:  14  10  14  20",
        ),
    ),
    Row(
        "numactl -s", ("policy: default", "physcpubind: 0 1 2 3 4 5 6 7 $", "nodebind: 0 1 2 3 $", "membind: 0 1 2 3 $")
    ),
    Row(f"numactl --interleave=all {SHOW}", ("policy: interleave", "interleavemask: 0 1 2 3 $")),
    Row(f"numactl --interleave=1,3 {SHOW}", ("policy: interleave", "interleavemask: 1 3 $")),
    Row(f"numactl --preferred=2 {SHOW}", ("policy: preferred", "preferred node: 2")),
    Row(f"numactl --preferred-many=1,2 {SHOW}", ("preferred: 1 2 $",)),
    Row(f"numactl --membind=2,3 {SHOW}", ("policy: bind", "membind: 2 3 $")),
    Row(f"numactl --cpunodebind=1 {SHOW}", ("physcpubind: 2 3 $", "cpubind: 1 $")),
    Row(f"numactl -C 3 {SHOW}", ("physcpubind: 3 $", "nodebind: 1 $")),
    Row(f"numactl --localalloc {SHOW}", ("policy: local",)),
    Row("numactl --membind=9 true 2>&1", ("node argument 9 is out of range", "<9> is invalid")),
    Row("numastat", ("node0 +node1 +node2 +node3$", r"^numa_hit( +\d+){4}$", r"^other_node( +\d+){4}$")),
    Row("numastat -n", ("Node 0 +Node 1 +Node 2 +Node 3 +Total", r"^Local_Node( +[\d.]+){5}$")),
    Row("numastat -m", (r"^MemTotal +458\.12 +503\.34 +503\.34 +501\.16 +1965\.97$",)),
    Row("numastat -c", (r"^ +Node 0 Node 1 Node 2 Node 3 Total$", r"^Numa_Hit( +\d+){5}$")),
    Row(
        f"{LONG_LIVED} numastat -c -p $p; kill $p", (r"PID \d+ \(memhog\)", r"^Private +4\d +0 +0 +0 +4\d$"), "numastat"
    ),
    Row(f"{LONG_LIVED} numastat -c memhog; kill $p", (r"memhog", r"4\d +0 +0 +0 +4\d$"), "numastat"),
    Row(
        f"{LONG_LIVED} migratepages $p 0 2; numastat -c -p $p; kill $p",
        (r"^Private +0 +0 +4\d +0 +4\d$",),
        "migratepages",
    ),
    Row("migspeed -p 100 0 3", ("N0=100", "N3=100", "Mbyte migrated")),
    Row(
        f"memhog -r99999999 40m interleave 0-3 {IN_BACKGROUND} grep interleave /proc/$p/numa_maps; kill $p",
        (r" interleave:0-3 anon=10240 .* N0=2560 N1=2560 N2=2560 N3=2560 ",),
        "memhog",
    ),
    Row("lscpu", (r"^CPU\(s\): +8$", r"^Socket\(s\): +4$", r"^NUMA node\(s\): +4$", r"^NUMA node3 CPU\(s\): +6,7$")),
    Row("lscpu -e=CPU,NODE,SOCKET,ONLINE", (r"^  0    0      0    yes$", r"^  7    3      3    yes$")),
    Row("lscpu -p=CPU,NODE", (r"^0,0$", r"^5,2$", r"^7,3$")),
    Row("lscpu -J", (r'"field": "NUMA node\(s\):",\s+"data": "4"',)),
    Row("lsmem", (r"2G +online +yes +0-15", r"Memory block size: +128M", r"Total online memory: +2G")),
    Row(
        "lstopo-no-graphics --of console --no-io",
        ("NUMANode L#0 \\(P#0 458MB\\)", "NUMANode L#3 \\(P#3 501MB\\)", "PU L#7 \\(P#7\\)"),
    ),
    Row("lstopo-no-graphics --of console --distances", (r"NUMALatency|latency", r"0 +1 +2 +3", r"10 +14 +20 +14")),
    Row("hwloc-info", ("1 Machine", "4 Package", "8 Core", "4 NUMANode")),
    Row("hwloc-bind --cpubind node:1 -- hwloc-bind --get", ("^0x0000000c$",)),
    Row("hwloc-bind --membind node:2 -- hwloc-bind --get --membind", (r"^0x00000030 \(bind\)$",)),
    Row("taskset -c 3 sleep 60 & sleep 0.2; hwloc-ps; kill $!", (r"Core:3\s+sleep",), "hwloc-ps"),
    Row("numad -w 2:256", (r"^[0-3]",), root=True),
    Row("cset set -c 2-3 -m 1 -s tool && cset set -l; cset set -d tool", (r"tool +2-3 n +1 n +0 +0 /tool",), root=True),
    Row(
        "cset shield -c 1 && cset shield; cset shield -r",
        (
            r'"system" cpuset of CPUSPEC\(0,2-7\)',
            r'"user" cpuset of CPUSPEC\(1\)',
            'deleting "/user" and "/system" sets',
        ),
        root=True,
    ),
    Row(
        "cset set -c 4 -m 2 -s tool; cset proc -e -s tool -- cat /proc/self/cpuset; cset set -d tool",
        (r"^/tool$",),
        root=True,
    ),
    Row(
        "cgcreate -g cpuset:tool && cgset -r cpuset.cpus=2-3 -r cpuset.mems=1 tool && cgget -r cpuset.mems tool; "
        "cgexec -g cpuset:tool sh -c 'cat /proc/self/cpuset; nproc'; lscgroup cpuset:/; cgdelete cpuset:tool",
        (r"^cpuset.mems: 1$", r"^/tool$", "^2$", r"^cpuset:/tool$"),
        root=True,
    ),
    Row(
        "cgcreate -g cpuset:tool && cgset -r cpuset.cpus=0-7 -r cpuset.mems=0-3 tool; cgclassify -g cpuset:tool $$; "
        "cat /proc/$$/cpuset; cgclassify -g cpuset:/ $$; cgdelete cpuset:tool",
        (r"^/tool$",),
        "cgclassify",
        root=True,
    ),
    Row(
        "irqbalance --oneshot --debug --foreground",
        ("Package 0: +numa_node 0 cpu mask is 00000003", "CPU number 7 +numa_node is 3"),
        root=True,
    ),
    Row(
        "likwid-topology", (r"Sockets:\s+4", r"NUMA domains:\s+4", r"Distances:\s+10 14 20 14", r"Total memory:\s+458")
    ),
    Row("stress-ng --numa 1 --numa-ops 2 2>&1", ("system has 4 of a maximum", "successful run completed")),
    Row("taskset -c 5 taskset -pc $$; taskset -c 5 nproc", (r"affinity list: 0-7$", "^1$")),
    Row("nproc; nproc --all", ("^8$", "^8$"), "nproc"),
    Row("free -m", (r"^Mem: +196[56] ",)),
    Row("vmstat -s", (r"201\d+ K total memory",)),
    Row("slabtop -o", ("Active / Total Objects", "dentry|inode_cache")),
    Row("top -b -n1", (r"MiB Mem : +196[56]\.\d total",)),
    Row("timeout 2 htop -C -d 5 < /dev/null", ("8", "Quit"), "htop"),
    Row("mpstat -N ALL", (r"\(8 CPU\)", r" 0 +0\.00", r" 3 +0\.00")),
    Row(
        "prometheus-node-exporter --web.listen-address=127.0.0.1:19117 --collector.disable-defaults "
        "--collector.meminfo_numa "
        "--collector.zoneinfo --collector.vmstat 2>/dev/null & for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2; "
        "curl -s http://127.0.0.1:19117/metrics && break; done; kill $!",
        (
            r'node_memory_numa_MemTotal\{node="0"\} 4\.80370688e\+08',
            r'node_scrape_collector_success\{collector="vmstat"\} 1',
            r'node_zoneinfo_managed_pages\{node="3"',
        ),
        "prometheus-node-exporter",
    ),
    Row(
        "java -XX:+UseNUMA -XX:+UseParallelGC -Xms64m -Xmx64m '-Xlog:os*=info:stdout:none' -version 2>&1",
        ("NUMA memory nodes: 0 1 2 3",),
    ),
    Row(
        'python3 -c \'import ctypes, os; n = ctypes.CDLL("libnuma.so.1"); '
        "print(n.numa_available(), n.numa_max_node(), n.numa_distance(0, 2), os.cpu_count(), "
        "len(os.sched_getaffinity(0)))'",
        ("^0 3 20 8 8$",),
    ),
)


@pytest.fixture(scope="module")
def machine(fuse: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mounted ring4 that the tools share."""
    with mounted("ring4", tmp_path_factory.mktemp("ring4"), parse_options(["strict"])) as root:
        yield root


@pytest.fixture(scope="module")
def inside(machine: Path) -> Callable[[str], str]:
    """Runs a shell command inside the machine; what it said."""

    def run(command: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "numafs", "run", "--at", str(machine), "--", "bash", "-c", command],
            check=False,
            env={**ENVIRONMENT, "PATH": f"{PATHS}:{os.environ['PATH']}"},
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            text=True,
            timeout=60,
        ).stdout

    return run


@pytest.mark.parametrize("row", ROWS, ids=[re.sub(r"\W+", "-", row.command)[:50] for row in ROWS])
def test_tools_say_what_they_must(row: Row, inside: Callable[[str], str]) -> None:
    if shutil.which(row.tool, path=f"{PATHS}:{os.environ['PATH']}") is None:
        pytest.skip(f"{row.tool} is not installed")
    if row.root and os.geteuid() != 0:
        pytest.skip(f"{row.tool} asks for root")
    said, at = inside(row.command), 0
    for pattern in row.patterns:
        found = re.compile(pattern, re.MULTILINE).search(said, at)
        assert found, f"no {pattern!r} in what it said:\n{said}"
        at = found.end()


def test_the_document_has_every_tool_of_the_table() -> None:
    text = (ROOT / "docs" / "tools.md").read_text()
    assert [row.tool for row in ROWS if f"`{row.tool}" not in text] == []
