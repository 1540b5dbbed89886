# SPDX-License-Identifier: MIT
"""What is written to files to see if they can bear it: well-formed, nearly well-formed and random bytes."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

__all__ = ["KINDS", "choose", "kind_of", "text"]

NUMBERS = (
    "0", "1", "2", "3", "4", "5", "7", "8", "10", "60", "100", "101", "200", "255", "1000", "1024", "32768", "65536",
    "67584", "2147483647", "2147483648", "4294967295", "4294967296", "4294967297", "9223372036854775807",
    "9223372036854775808", "18446744073709551615", "18446744073709551616", "99999999999999999999999999", "-1", "-0",
    "-2", "-2147483648", "-9223372036854775808", "+1", "+0", "00", "01", "010", "08", "0x", "0x1", "0X1f", "0xg", "1.0",
    "1e3", "--1", "- 1", "1-", "0b1", "1_0", "y", "n", "Y", "on", "off", "true", "",
)
LISTS = (
    "0", "1", "0-1", "0-3", "1-0", "0,1", "1,0", "0,", ",0", ",", ",,", "0,,1", "0-", "-1", "-", "0--1", "0-1-2", "all",
    "All", "ALL", "N", "n", "0-N", "N-N", "none", "0-3:1/2", "0-3:2/1", "0-3:0/0", "0-3:1/0", "0-3:1", "0-3:/2",
    "0-3:1/", "all:1/2", "0:1/2", "0 1", " 0", "0 ", "0\t", "0\n1", "0\n", "\n", "0x1", "0x0-0x1", "00", "007",
    "0-18446744073709551615", "4294967296", "4294967295", "1023", "1024", "0-1023", "64", "0,64", "\x00", "0\x001",
    "0-1,3", "2-3", "3", "0;1", "0/1", "a", "0a", "0-1a", "１",
)
PIDS = (
    "0", "-1", "4194303999", "2147483647", "2147483648", "-2147483648", "", " 0 ", "0\n", "0x0", "00", "x", "0 0", "9x",
)
WORDS = (
    "online", "offline", "online_kernel", "online_movable", "online movable", "kernel", "always", "madvise", "never",
    "defer", "defer+madvise", "default", "Node", "node", "auto", "advise", "within_size", "deny", "force", "threaded",
    "domain", "member", "root", "isolated", "max", "+cpuset", "-cpuset", "+memory", "+cpuset -memory", "+nonsense", "+",
    "low", "/bin/true", "/sbin/agent", "a" * 300, "1M", "1G swappiness=5", "swappiness=max",
    "alloc 1M --touch", "idle",
    "alloc 64K --touch --node 1 --hold",
    "policy bind:0-1", "policy bind:9", "touch 0", "free 0", "exit", "migrate 0 0 1", "movepages 0 0 1 0",
    "mbind 0 bind:1 move strict", "read /data/f", "write /data/x 8K", "fork", "kill 1", "help",
    "alloc", "alloc x", "alloc -1",
    "alloc 1M 'unclosed", "kmalloc 64 3", "alloc_pages 11", "vmalloc 64K", "blocks",
)
BYTES = bytes(range(256))
BLANKS = ("", "", "", "\n", " ", "\t", "\0", "\n\n", " \n", "\x0b", "\xa0")

KINDS = {"number": NUMBERS, "list": LISTS, "pid": PIDS, "word": WORDS}


def kind_of(path: str) -> str:
    """What a file of this name takes, roughly."""
    name = path.rpartition("/")[2]
    if name in ("tasks", "cgroup.procs", "cgroup.threads"):
        return "pid"
    if name.split(".")[-1] in ("cpus", "mems") or name.endswith(("_list", "mempolicy")):
        return "list"
    if name in ("ctl", "create", "run", "state", "enabled", "defrag", "release_agent", "cgroup.subtree_control",
                "cgroup.type", "cpuset.cpus.partition", "memory.reclaim", "shmem_enabled"):
        return "word"
    return "number"


def choose(random: Random, paths: Iterable[str]) -> str:
    """One of many files, any name as often as any other."""
    by_name: dict[str, list[str]] = {}
    for path in paths:
        by_name.setdefault(path.rpartition("/")[2], []).append(path)
    return random.choice(by_name[random.choice(sorted(by_name))])


def text(random: Random, kind: str) -> bytes:
    """One thing to write."""
    way = random.randrange(100)
    if way < 4:
        return bytes(random.choices(BYTES, k=random.choice((1, 2, 3, 8, 40, 300, 5000))))
    if way < 8:
        kind = random.choice(sorted(KINDS))
    chosen = random.choice(KINDS[kind])
    if kind == "number" and way < 30:
        chosen = str(random.randrange(-3, 300))
    data = (random.choice(BLANKS) + chosen + random.choice(BLANKS)).encode("utf-8", "surrogateescape")
    if way < 16:
        data = _mutated(random, data)
    if way < 18:
        data *= random.choice((2, 3, 2000))
    return data


def _mutated(random: Random, data: bytes) -> bytes:
    at = random.randrange(len(data) + 1)
    change = random.choice(("insert", "drop", "flip"))
    if change == "insert" or not data:
        return data[:at] + bytes([random.choice(b"0123456789,-:/x \n\0+\xff")]) + data[at:]
    at = min(at, len(data) - 1)
    if change == "drop":
        return data[:at] + data[at + 1 :]
    return data[:at] + bytes([random.randrange(256)]) + data[at + 1 :]
