# SPDX-License-Identifier: MIT
"""The checker: does the whole model agree with itself?

It walks every run, list, page table and slab, recomputes what counters say, and reports all that is
wrong at once. Nothing in the kernel corresponds to it, mm/debug.c apart; tests call it after each step.
It takes time in proportion to the runs of the machine.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from . import page_alloc
from .check_memcg import check_memory_cgroups
from .check_pages import check_spaces, shadow_counters, spaces_of
from .check_tasks import check_cpusets, check_page_tables, check_segments
from .mmzone import Lru, PageUse, Zone
from .page import PG, Kind, Run, Space, find_run
from .vmstat import NodeStat, NumaStat, ZoneStat

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = ["Inconsistent", "check", "findings"]


class Inconsistent(Exception):
    """The model disagrees with itself: a bug. `findings` are all the sentences."""

    def __init__(self, findings: list[str]) -> None:
        super().__init__("\n".join(findings))
        self.findings = findings


def check(kernel: Kernel) -> None:
    """Raise `Inconsistent` if anything is wrong with the model's state."""
    found = findings(kernel)
    if found:
        raise Inconsistent(found)


def findings(kernel: Kernel) -> list[str]:
    """Every disagreement, as sentences."""
    spaces = spaces_of(kernel)
    found = check_spaces(spaces)
    found += check_lists(kernel, spaces)
    found += check_page_counters(kernel, spaces)
    found += check_zones(kernel, spaces)
    found += check_numa_events(kernel)
    found += check_slabs(kernel)
    found += check_hugetlb(kernel, spaces)
    found += check_swap(kernel, spaces)
    found += check_segments(kernel, spaces)
    found += check_page_tables(kernel)
    found += check_cpusets(kernel)
    found += check_memory_cgroups(kernel, spaces)
    return found


def check_lists(kernel: Kernel, spaces: list[Space]) -> list[str]:
    """LRU lists: links, sizes, what belongs on which, and that every resident run is on one."""
    found: list[str] = []
    listed: set[int] = set()
    for pgdat in kernel.nodes:
        for lru, lru_list in zip(range(len(pgdat.lru)), pgdat.lru, strict=True):
            pages = 0
            for run in lru_list:
                listed.add(id(run))
                pages += run.n
                found += check_listed(run, lru, f"{pgdat} {Lru(lru).name}")
                if run.zone.pgdat is not pgdat:
                    found.append(f"{pgdat} {Lru(lru).name}: {run} is of another node")
            if pages != lru_list.size:
                found.append(f"{pgdat} {Lru(lru).name}: size says {lru_list.size}, it has {pages} pages")
    for space in spaces:
        found += [f"{run} is on no list" for run in space.runs()
                  if run.lru not in (Lru.NONE, Lru.UNLISTED) and id(run) not in listed]
    reachable = {id(space) for space in spaces}
    for pgdat in kernel.nodes:
        found += [f"{run} is of a mapping that nobody has" for lru_list in pgdat.lru for run in lru_list
                  if id(run.space) not in reachable]
    return found


def check_listed(run: Run, lru: int, where: str) -> list[str]:
    """One run of a list."""
    found = []
    if run.lru != lru:
        found.append(f"{where}: {run} thinks it is elsewhere")
    if run.next.prev is not run or run.prev.next is not run:
        found.append(f"{where}: links of {run} are broken")
    if find_run(run.lane, run.a) is not run:
        found.append(f"{where}: {run} is not in its mapping")
    file_list = lru in (Lru.INACTIVE_FILE, Lru.ACTIVE_FILE)
    belongs_to_file = run.space.kind == Kind.FILE or bool(run.flags & PG.SWAPBACKED_CLEAN)
    if lru != Lru.UNEVICTABLE and file_list != belongs_to_file:
        found.append(f"{where}: {run} of a {run.space.kind.name} mapping")
    return found


PAGE_COUNTERS = (
    NodeStat.NR_INACTIVE_ANON, NodeStat.NR_ACTIVE_ANON, NodeStat.NR_INACTIVE_FILE, NodeStat.NR_ACTIVE_FILE,
    NodeStat.NR_UNEVICTABLE, NodeStat.NR_ANON_PAGES, NodeStat.NR_MAPPED, NodeStat.NR_FILE_PAGES, NodeStat.NR_DIRTY,
    NodeStat.NR_WRITEBACK, NodeStat.NR_SHMEM, NodeStat.NR_ANON_TRANSPARENT_HUGEPAGES, NodeStat.NR_SWAPCACHED,
)
ZONE_COUNTERS = (
    ZoneStat.NR_ZONE_INACTIVE_ANON, ZoneStat.NR_ZONE_ACTIVE_ANON, ZoneStat.NR_ZONE_INACTIVE_FILE,
    ZoneStat.NR_ZONE_ACTIVE_FILE, ZoneStat.NR_ZONE_UNEVICTABLE, ZoneStat.NR_ZONE_WRITE_PENDING, ZoneStat.NR_MLOCK,
)


def check_page_counters(kernel: Kernel, spaces: list[Space]) -> list[str]:
    """Every counter of pages in mappings, recomputed from all mappings."""
    node_stat, zone_stat = shadow_counters(kernel, spaces)
    found = []
    for pgdat in kernel.nodes:
        for item in PAGE_COUNTERS:
            says, has = pgdat.stat[item], node_stat[pgdat.nid][item]
            if says != has:
                found.append(f"{pgdat} {item.name.lower()} says {says}, mappings have {has}")
        for zone in pgdat.zones:
            for zone_item in ZONE_COUNTERS:
                says, has = zone.stat[zone_item], zone_stat[zone][zone_item]
                if says != has:
                    found.append(f"{zone} {zone_item.name.lower()} says {says}, mappings have {has}")
    return found


def check_zones(kernel: Kernel, spaces: list[Space]) -> list[str]:
    """No page is lost, none is counted twice: managed = free + in mappings + used otherwise."""
    resident: Counter[Zone] = Counter()
    for space in spaces:
        if space.kind != Kind.HUGETLB:
            for run in space.runs():
                if run.resident:
                    resident[run.zone] += run.n
    found = []
    for pgdat in kernel.nodes:
        for zone in pgdat.zones:
            total = zone.free + resident[zone] + zone.used.total()
            if total != zone.managed:
                found.append(f"{zone}: {zone.free} free + {resident[zone]} in mappings + {dict(zone.used)} is {total}, "
                             f"not the {zone.managed} managed")
            found += [f"{zone}: {use.name} uses {n} pages" for use, n in zone.used.items() if n < 0]
            found += [f"{zone} {item.name.lower()} is {zone.stat[item]}" for item in ZoneStat if zone.stat[item] < 0]
            blocks = sum(count << order for order, count in enumerate(page_alloc.free_blocks(kernel, zone)))
            if blocks != zone.free:
                found.append(f"{zone}: free blocks hold {blocks} pages, {zone.free} are free")
        found += [f"{pgdat} {item.name.lower()} is {pgdat.stat[item]}" for item in NodeStat if pgdat.stat[item] < 0]
    return found


def check_numa_events(kernel: Kernel) -> list[str]:
    """hit + miss = local + other on every node; what one node misses is foreign to another."""
    found = []
    for pgdat in kernel.nodes:
        hit, miss, local, other = (pgdat.numa_stat(item) for item in (
            NumaStat.NUMA_HIT, NumaStat.NUMA_MISS, NumaStat.NUMA_LOCAL, NumaStat.NUMA_OTHER))
        if hit + miss != local + other:
            found.append(f"{pgdat}: numa hit {hit} + miss {miss} is not local {local} + other {other}")
    misses = sum(pgdat.numa_stat(NumaStat.NUMA_MISS) for pgdat in kernel.nodes)
    foreign = sum(pgdat.numa_stat(NumaStat.NUMA_FOREIGN) for pgdat in kernel.nodes)
    if misses != foreign:
        found.append(f"numa_miss of all nodes is {misses}, numa_foreign {foreign}")
    return found


def check_slabs(kernel: Kernel) -> list[str]:
    """Slab pages by zone and by counter, objects by cache, and what is on which list."""
    found: list[str] = []
    pages: Counter[Zone] = Counter()
    counted: Counter[tuple[int, NodeStat]] = Counter()
    for cache in kernel.slab.caches.values():
        for zone, n in cache.slabs.items():
            pages[zone] += n * cache.pages_per_slab
            counted[zone.pgdat.nid, cache.stat] += n * cache.pages_per_slab
        for nid, partial in cache.partial.items():
            found += [f"{cache} has {slab} among the partial ones of node {nid}" for slab in partial
                      if not slab.free or slab.nid != nid or slab in cache.cpu_slab.values() or slab.inuse < 0]
        for pgdat in kernel.nodes:
            room = cache.slabs_of(pgdat) * cache.objects_per_slab
            unused = sum(slab.free for slab in [*cache.partial.get(pgdat.nid, ()), *cache.cpu_slab.values()]
                         if slab.nid == pgdat.nid)
            if cache.inuse[pgdat.nid] != room - unused:
                found.append(f"{cache} says {cache.inuse[pgdat.nid]} objects on {pgdat}, slabs have {room - unused}")
    for pgdat in kernel.nodes:
        found += [f"{zone}: {zone.used[PageUse.SLAB]} pages used as slabs, caches have {pages[zone]}"
                  for zone in pgdat.zones if zone.used[PageUse.SLAB] != pages[zone]]
        found += [f"{pgdat} {item.name.lower()} says {pgdat.stat[item]}, caches have {counted[pgdat.nid, item]}"
                  for item in (NodeStat.NR_SLAB_RECLAIMABLE, NodeStat.NR_SLAB_UNRECLAIMABLE)
                  if pgdat.stat[item] != counted[pgdat.nid, item]]
    return found


def check_hugetlb(kernel: Kernel, spaces: list[Space]) -> list[str]:
    """Pools and their pages: those in mappings are not free, and all are charged to the node."""
    found = []
    mapped: Counter[int] = Counter()
    for space in spaces:
        if space.kind == Kind.HUGETLB:
            for run in space.runs():
                if run.resident:
                    mapped[run.zone.pgdat.nid] += run.n
    for pgdat in kernel.nodes:
        pooled = sum(pool.total * size for size, pool in pgdat.hugepages.items())
        in_use = sum((pool.total - pool.free) * size for size, pool in pgdat.hugepages.items())
        charged = sum(zone.used[PageUse.HUGETLB] for zone in pgdat.zones)
        if pooled != charged:
            found.append(f"{pgdat}: hugetlb pools hold {pooled} pages, {charged} are charged")
        if in_use != mapped[pgdat.nid]:
            found.append(f"{pgdat}: {in_use} hugetlb pages in use, mappings have {mapped[pgdat.nid]}")
    return found


def check_swap(kernel: Kernel, spaces: list[Space]) -> list[str]:
    """The slots in use of each swap area are those of runs that have a copy there."""
    copies: Counter[int] = Counter()
    for space in spaces:
        for run in space.runs():
            if run.swap is not None:
                copies[id(run.swap)] += run.n
    return [f"swap area {area.path}: {area.used} slots used, mappings have {copies[id(area)]}"
            for area in kernel.swap_areas if area.used != copies[id(area)]]
