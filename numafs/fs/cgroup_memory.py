# SPDX-License-Identifier: MIT
"""Files of the memory controller of cgroup v2.

mm/memcontrol.c:memory_files[], memory_stats[] (v6.1). In the root only what all together have is shown.

Simplified: memory.low, memory.min, those of swap and of pressure are left out; memory.stat has no events, and
neither it nor memory.numa_stat has rows for what is not charged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from numafs.kernel import memcontrol
from numafs.kernel.errors import EINVAL
from numafs.kernel.kernel import Kernel
from numafs.kernel.memcontrol import PAGE_COUNTER_MAX, MemCgroup
from numafs.kernel.nodemask import members
from numafs.kernel.vmstat import NodeStat

from .attr import Attr, Caller
from .numbers import kstrtol

__all__ = ["Memory", "memory_files"]

_BLANKS = b" \t\n\v\f\r\xa0"
_SIZE = re.compile(rb"(0[xX][0-9a-fA-F]+|[0-9]+)([kKmMgGtTpPeE]?)")
_UNITS = b"kmgtpe"


class Memory(NamedTuple):
    """The object of every row: a group's memory, and the kernel it is of; None is the root's."""

    kernel: Kernel
    memcg: MemCgroup | None


def memparse(data: bytes) -> int:
    """A size in bytes, with K, M, G, ..., as page_counter_memparse() reads it."""
    match = _SIZE.fullmatch(data)
    if not match:
        raise EINVAL(f"{data!r} is no size")
    digits = match[1]
    try:
        value = int(digits, 16 if digits[:2].lower() == b"0x" else 8 if digits[:1] == b"0" else 10)
    except ValueError:
        raise EINVAL(f"{digits!r} is no octal number") from None
    return value << 10 * (_UNITS.index(match[2].lower()) + 1) if match[2] else value


# ---------------------------------------------------------------- statistics

_PAGES: tuple[tuple[str, NodeStat], ...] = (
    ("anon", NodeStat.NR_ANON_PAGES),
    ("file", NodeStat.NR_FILE_PAGES),
    ("pagetables", NodeStat.NR_PAGE_TABLE_PAGES),
    ("shmem", NodeStat.NR_SHMEM),
    ("file_mapped", NodeStat.NR_MAPPED),
    ("file_dirty", NodeStat.NR_DIRTY),
    ("file_writeback", NodeStat.NR_WRITEBACK),
    ("swapcached", NodeStat.NR_SWAPCACHED),
    ("anon_thp", NodeStat.NR_ANON_TRANSPARENT_HUGEPAGES),
    ("file_thp", NodeStat.NR_FILE_HUGEPAGES),
    ("shmem_thp", NodeStat.NR_SHMEM_HUGEPAGES),
    ("inactive_anon", NodeStat.NR_INACTIVE_ANON),
    ("active_anon", NodeStat.NR_ACTIVE_ANON),
    ("inactive_file", NodeStat.NR_INACTIVE_FILE),
    ("active_file", NodeStat.NR_ACTIVE_FILE),
    ("unevictable", NodeStat.NR_UNEVICTABLE),
)
"""Rows that count pages, in bytes."""
_EVENTS = tuple(
    (f"workingset_{what}_{kind}", NodeStat[f"WORKINGSET_{what}_{kind}".upper()])
    for what in ("refault", "activate", "restore") for kind in ("anon", "file")
) + (("workingset_nodereclaim", NodeStat.WORKINGSET_NODERECLAIM),)
"""Rows that count what happened."""


def rows(memory: Memory) -> Iterator[tuple[str, dict[int, int]]]:
    """Each counter with its values by node, for the nodes with memory."""
    kernel, memcg = memory
    nodes = list(members(kernel.node_states_memory))
    stat = {nid: memcg.stat[nid] if memcg else kernel.nodes[nid].stat for nid in nodes}
    for name, item in _PAGES:
        yield name, {nid: stat[nid][item] * kernel.machine.page_size for nid in nodes}
    for name, event in _EVENTS:
        yield name, {nid: stat[nid][event] for nid in nodes}


def numa_stat_show(memory: Memory) -> str:
    """memory_numa_stat_show()."""
    return "".join(
        f"{name} {' '.join(f'N{nid}={value}' for nid, value in by_node.items())}\n" for name, by_node in rows(memory)
    )


def stat_show(memory: Memory) -> str:
    """memory_stat_show()."""
    return "".join(f"{name} {sum(by_node.values())}\n" for name, by_node in rows(memory))


# ---------------------------------------------------------------- limits


def _of(memory: Memory) -> MemCgroup:
    assert memory.memcg is not None
    return memory.memcg


def _bytes(get: Callable[[MemCgroup], int]) -> Callable[[Memory], str]:
    """Pages as bytes, or `max`."""

    def show(memory: Memory) -> str:
        pages = get(_of(memory))
        return "max\n" if pages == PAGE_COUNTER_MAX else f"{pages * memory.kernel.machine.page_size}\n"

    return show


def _limit(memory: Memory, data: bytes) -> int:
    """Pages of what is written: a size, or `max` (page_counter_memparse)."""
    text = data.split(b"\0", 1)[0].strip(_BLANKS)
    return PAGE_COUNTER_MAX if text == b"max" else min(memparse(text) // memory.kernel.machine.page_size,
                                                       PAGE_COUNTER_MAX)


def max_store(memory: Memory, data: bytes, caller: Caller) -> None:
    """memory_max_write()."""
    memcontrol.memory_max_write(memory.kernel, _of(memory), _limit(memory, data))


def high_store(memory: Memory, data: bytes, caller: Caller) -> None:
    """memory_high_write()."""
    memcontrol.memory_high_write(memory.kernel, _of(memory), _limit(memory, data))


def reclaim_store(memory: Memory, data: bytes, caller: Caller) -> None:
    """memory_reclaim()."""
    text = data.split(b"\0", 1)[0].strip(_BLANKS)
    memcontrol.memory_reclaim(memory.kernel, memory.memcg, memparse(text) // memory.kernel.machine.page_size)


def oom_group_store(memory: Memory, data: bytes, caller: Caller) -> None:
    """memory_oom_group_write()."""
    value = kstrtol(data.split(b"\0", 1)[0].strip(_BLANKS), 0, 2**31 - 1)
    if value not in (0, 1):
        raise EINVAL(f"{value} is neither 0 nor 1")
    _of(memory).oom_group = bool(value)


def _events(get: Callable[[MemCgroup], dict[str, int]]) -> Callable[[Memory], str]:
    return lambda memory: "".join(f"{name} {get(_of(memory))[name]}\n" for name in memcontrol.EVENTS)


COMMON: tuple[Attr[Memory], ...] = (
    Attr("memory.stat", 0o444, stat_show),
    Attr("memory.numa_stat", 0o444, numa_stat_show),
    Attr("memory.reclaim", 0o200, None, reclaim_store),
)
"""Those that the root has too."""

LIMITS: tuple[Attr[Memory], ...] = (
    Attr("memory.current", 0o444, _bytes(lambda memcg: memcg.usage)),
    Attr("memory.peak", 0o444, _bytes(lambda memcg: memcg.peak)),
    Attr("memory.high", 0o644, _bytes(lambda memcg: memcg.high), high_store),
    Attr("memory.max", 0o644, _bytes(lambda memcg: memcg.max), max_store),
    Attr("memory.events", 0o444, _events(lambda memcg: memcg.events)),
    Attr("memory.events.local", 0o444, _events(lambda memcg: memcg.local_events)),
    Attr("memory.oom.group", 0o644, lambda memory: f"{_of(memory).oom_group:d}\n", oom_group_store),
)


def memory_files(*, root: bool) -> tuple[Attr[Memory], ...]:
    """memory_files[] of the root, or of a group that has the controller."""
    return COMMON if root else (*LIMITS, *COMMON)
