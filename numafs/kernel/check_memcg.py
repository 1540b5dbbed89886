# SPDX-License-Identifier: MIT
"""The checker's walk over what groups are charged. Part of `check`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from . import cgroup
from .check_tasks import address_spaces
from .mmzone import Lru
from .page import Kind
from .vmstat import NodeStat

if TYPE_CHECKING:
    from .kernel import Kernel
    from .memcontrol import MemCgroup
    from .page import Space

__all__ = ["check_memory_cgroups"]


def check_memory_cgroups(kernel: Kernel, spaces: list[Space]) -> list[str]:
    """Each group has the pages that are charged to it and to those below, on the lists on which they are."""
    if kernel.cgrp_dfl_root is None:
        return []
    usage: Counter[MemCgroup] = Counter()
    lists: Counter[tuple[MemCgroup, int, int]] = Counter()
    for space in spaces:
        for run in space.runs():
            if run.memcg is None or not run.resident:
                continue
            for memcg in run.memcg.lineage:
                usage[memcg] += run.n
                if run.lru != Lru.UNLISTED and space.kind != Kind.HUGETLB:
                    lists[memcg, run.zone.pgdat.nid, run.lru] += run.n
    for mm in address_spaces(kernel):
        for level in mm.page_tables.levels.values():
            for first, last, _, charged in level:
                for memcg in charged.lineage if charged else ():
                    usage[memcg] += last - first
    groups = [group.memcg for group in cgroup.descendants(kernel.cgrp_dfl_root.root) if group.memcg is not None]
    found = []
    for memcg in {*usage, *groups}:
        if memcg.usage != usage[memcg]:
            found.append(f"memory of group {memcg.group.name!r} says {memcg.usage} pages, there are {usage[memcg]}")
        for pgdat in kernel.nodes:
            for lru in range(len(pgdat.lru)):
                says, has = memcg.stat[pgdat.nid][NodeStat.NR_INACTIVE_ANON + lru], lists[memcg, pgdat.nid, lru]
                if says != has:
                    found.append(f"memory of group {memcg.group.name!r}: {Lru(lru).name} of node {pgdat.nid} says "
                                 f"{says}, there are {has}")
    return found
