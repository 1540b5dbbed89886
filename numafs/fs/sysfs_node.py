# SPDX-License-Identifier: MIT
"""/sys/devices/system/node: the nodes, and what lies in each.

drivers/base/node.c and mm/hugetlb.c (v6.1). Reading nodeN/meminfo is what tools do most, so
its labels are put together once for each node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from enum import IntEnum
from operator import itemgetter
from typing import TYPE_CHECKING

from numafs.kernel import compaction, hugetlb
from numafs.kernel.errors import EAGAIN, EINVAL
from numafs.kernel.nodemask import Mask, hex_mask, list_text, mask_of, members
from numafs.kernel.proactive_reclaim import user_proactive_reclaim
from numafs.kernel.vmscan import SWAPPINESS_ANON_ONLY
from numafs.kernel.vmstat import NodeStat

from .attr import Attr, Caller
from .counters import counters_of
from .numbers import kstrtoul, memparse, sysfs_word
from .sysfs_access import add_access
from .sysfs_device import UEVENT, add_power
from .tree import SYSFS, Dir, Following, Link, Node

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mmzone import HugePool, Pgdat

__all__ = ["node_dir", "nr_cpu_ids"]


class Derived(IntEnum):
    """What nodeN/meminfo prints beside the node's counters; numbered on from these."""

    TOTAL = len(NodeStat)
    FREE = TOTAL + 1
    USED = TOTAL + 2
    ACTIVE = TOTAL + 3
    INACTIVE = TOTAL + 4
    MLOCKED = TOTAL + 5
    BOUNCE = TOTAL + 6
    SLAB = TOTAL + 7
    RECLAIMABLE = TOTAL + 8
    NOTHING = TOTAL + 9


MEMINFO: tuple[tuple[str, int], ...] = (
    ("MemTotal:       ", Derived.TOTAL),
    ("MemFree:        ", Derived.FREE),
    ("MemUsed:        ", Derived.USED),
    ("SwapCached:     ", NodeStat.NR_SWAPCACHED),
    ("Active:         ", Derived.ACTIVE),
    ("Inactive:       ", Derived.INACTIVE),
    ("Active(anon):   ", NodeStat.NR_ACTIVE_ANON),
    ("Inactive(anon): ", NodeStat.NR_INACTIVE_ANON),
    ("Active(file):   ", NodeStat.NR_ACTIVE_FILE),
    ("Inactive(file): ", NodeStat.NR_INACTIVE_FILE),
    ("Unevictable:    ", NodeStat.NR_UNEVICTABLE),
    ("Mlocked:        ", Derived.MLOCKED),
    ("Dirty:          ", NodeStat.NR_DIRTY),
    ("Writeback:      ", NodeStat.NR_WRITEBACK),
    ("FilePages:      ", NodeStat.NR_FILE_PAGES),
    ("Mapped:         ", NodeStat.NR_MAPPED),
    ("AnonPages:      ", NodeStat.NR_ANON_PAGES),
    ("Shmem:          ", NodeStat.NR_SHMEM),
    ("KernelStack:    ", NodeStat.NR_KERNEL_STACK),
    ("PageTables:     ", NodeStat.NR_PAGE_TABLE_PAGES),
    ("SecPageTables:  ", NodeStat.NR_SEC_PAGE_TABLE_PAGES),
    ("NFS_Unstable:   ", Derived.NOTHING),
    ("Bounce:         ", Derived.BOUNCE),
    ("WritebackTmp:   ", NodeStat.NR_WRITEBACK_TEMP),
    ("KReclaimable:   ", Derived.RECLAIMABLE),
    ("Slab:           ", Derived.SLAB),
    ("SReclaimable:   ", NodeStat.NR_SLAB_RECLAIMABLE),
    ("SUnreclaim:     ", NodeStat.NR_SLAB_UNRECLAIMABLE),
    ("AnonHugePages:  ", NodeStat.NR_ANON_TRANSPARENT_HUGEPAGES),
    ("ShmemHugePages: ", NodeStat.NR_SHMEM_HUGEPAGES),
    ("ShmemPmdMapped: ", NodeStat.NR_SHMEM_PMDMAPPED),
    ("FileHugePages: ", NodeStat.NR_FILE_HUGEPAGES),
    ("FilePmdMapped: ", NodeStat.NR_FILE_PMDMAPPED),
)
"""Labels with their padding, and what each shows; the last two are a column short (not with node_meminfo_aligned)."""

meminfo_values = itemgetter(*(int(what) for _, what in MEMINFO))
"""Picks what the labels show, in their order."""

MEMINFO_HUGE = ("HugePages_Total:", "HugePages_Free: ", "HugePages_Surp: ")

NUMASTAT = "numa_hit %d\nnuma_miss %d\nnuma_foreign %d\ninterleave_hit %d\nlocal_node %d\nother_node %d\n"

def nr_cpu_ids(kernel: Kernel) -> int:
    """Width of a CPU mask."""
    return len(kernel.cpu_to_node)


class NodeDevice:
    """A node as its files see it: the node, and the text that never changes."""

    def __init__(self, kernel: Kernel, pgdat: Pgdat) -> None:
        self.kernel = kernel
        self.pgdat = pgdat
        self.kb = kernel.machine.page_size // 1024
        """A page in KiB."""
        self.huge = kernel.machine.page_size // 8
        self.counters = counters_of(kernel)
        nid = pgdat.nid
        even = kernel.has("node_meminfo_aligned")
        labels = [f"{label:<16}" if even else label for label, _ in MEMINFO]
        self.meminfo = "".join(f"Node {nid} {label}%8d kB\n" for label in labels) + "".join(
            f"Node {nid} {label} %5d\n" for label in MEMINFO_HUGE
        )
        self.meminfo_counted: tuple[object, ...] = ()
        self.meminfo_text = ""

    @property
    def cpus(self) -> Mask:
        """Its CPUs that are on line."""
        return self.pgdat.cpus_present & self.kernel.cpu_online

    @property
    def pool(self) -> HugePool | None:
        """Its huge pages of the default size."""
        return self.pgdat.hugepages.get(self.huge)


def meminfo_show(node: NodeDevice) -> str:
    """drivers/base/node.c:node_read_meminfo() (v6.1).

    Who polls this file mostly finds nothing changed: the text is kept with the counts that it was made of.
    """
    pgdat = node.pgdat
    total = free = mlocked = bounce = 0
    for zone in pgdat.zones:
        if zone.present:
            counts = zone.stat
            total += zone.managed
            free += counts[0]
            mlocked += counts[7]
            bounce += counts[8]
    pool = node.pool
    huge = (pool.total, pool.free, pool.surplus) if pool else (0, 0, 0)
    counted = (*pgdat.stat, total, free, mlocked, bounce, huge)
    if counted != node.meminfo_counted:
        values = _meminfo_kb(node.kb, pgdat.stat, total, free, mlocked, bounce)
        node.meminfo_counted = counted
        node.meminfo_text = node.meminfo % (meminfo_values(values) + huge)
    return node.meminfo_text


def _meminfo_kb(kb: int, stat: list[int], total: int, free: int, mlocked: int, bounce: int) -> list[int]:
    """The node's counters and what `Derived` names, in KiB."""
    values = [n * kb for n in stat]
    values[NodeStat.NR_KERNEL_STACK] = stat[NodeStat.NR_KERNEL_STACK]
    reclaimable = values[NodeStat.NR_SLAB_RECLAIMABLE]
    values += (
        total * kb, free * kb, (total - free) * kb,
        values[NodeStat.NR_ACTIVE_ANON] + values[NodeStat.NR_ACTIVE_FILE],
        values[NodeStat.NR_INACTIVE_ANON] + values[NodeStat.NR_INACTIVE_FILE], mlocked * kb, bounce * kb,
        reclaimable + values[NodeStat.NR_SLAB_UNRECLAIMABLE],
        reclaimable + values[NodeStat.NR_KERNEL_MISC_RECLAIMABLE], 0,
    )
    return values


def numastat_show(node: NodeDevice) -> str:
    """drivers/base/node.c:node_read_numastat() (v6.1)."""
    return NUMASTAT % tuple(map(sum, zip(*(zone.numa for zone in node.pgdat.zones), strict=True)))


def vmstat_show(node: NodeDevice) -> str:
    """drivers/base/node.c:node_read_vmstat() (v6.1)."""
    counters = node.counters
    return counters.text % (*counters.of_zones(node.pgdat.zones), *counters.of_nodes((node.pgdat,)))


def distance_show(node: NodeDevice) -> str:
    """To each node on line; the separator goes before every node but node 0, even if that is off line."""
    return "".join(
        f"{' ' if other else ''}{node.pgdat.distance[other]}" for other in members(node.kernel.node_online)
    ) + "\n"


def cpumap_show(node: NodeDevice) -> str:
    """CPUs on line, as a mask of nr_cpu_ids bits."""
    return hex_mask(node.cpus, nr_cpu_ids(node.kernel)) + "\n"


def cpulist_show(node: NodeDevice) -> str:
    """CPUs on line, as a list."""
    return list_text(node.cpus) + "\n"


def compact_store(node: NodeDevice, data: bytes, caller: Caller) -> None:
    """Any write compacts the node. mm/compaction.c:compact_store() (v6.1)."""
    compaction.compact_node(node.kernel, node.pgdat)


NODE: tuple[Attr[NodeDevice], ...] = (
    Attr("compact", 0o200, store=compact_store, size=4096),
    Attr("cpulist", 0o444, cpulist_show, size=28672),
    Attr("cpumap", 0o444, cpumap_show, size=4096),
    Attr("distance", 0o444, distance_show, size=4096),
    Attr("meminfo", 0o444, meminfo_show, size=4096, steady=True),
    Attr("numastat", 0o444, numastat_show, size=4096),
    Attr("vmstat", 0o444, vmstat_show, size=4096),
    UEVENT,
)


def reclaim_store(node: NodeDevice, data: bytes, caller: Caller) -> None:
    """`SIZE [swappiness=N|max]`: whatever is wrong, with the text or with the memory, is EAGAIN.

    mm/vmscan.c:reclaim_store() (v6.18).
    """
    try:
        pages, swappiness = _reclaim_request(data, node.kernel.machine.page_size)
        user_proactive_reclaim(
            node.kernel, node.kernel.tasks.get(caller.pid), node.pgdat, pages, swappiness
        )
    except OSError as error:
        raise EAGAIN(str(error.strerror)) from None


def _reclaim_request(data: bytes, page_size: int) -> tuple[int, int | None]:
    """Pages and swappiness. mm/vmscan.c:user_proactive_reclaim() (v6.18)."""
    size, rest = memparse(data.split(b"\0", 1)[0].decode("latin-1").strip())
    swappiness = None
    for word in rest.strip().split(" "):
        if word == "swappiness=max":
            swappiness = SWAPPINESS_ANON_ONLY
        elif match := re.fullmatch(r"swappiness=(-?\d+)", word):
            swappiness = int(match[1])
            if not 0 <= swappiness <= MAX_SWAPPINESS:
                raise EINVAL(f"a swappiness of {swappiness}")
        elif word:
            raise EINVAL(f"{word!r} is no option")
    return size // page_size, swappiness


RECLAIM: Attr[NodeDevice] = Attr("reclaim", 0o200, store=reclaim_store, size=4096)
"""With the feature proactive_node_reclaim."""
MAX_SWAPPINESS = 200


class NodePool:
    """The huge pages of one size on one node, as hugepages/hugepages-NkB/ sees them."""

    def __init__(self, kernel: Kernel, pgdat: Pgdat, pages: int) -> None:
        self.kernel = kernel
        self.pgdat = pgdat
        self.pages = pages

    @property
    def pool(self) -> HugePool:
        """Their counts."""
        return self.pgdat.hugepages[self.pages]


def nr_hugepages_store(node: NodePool, data: bytes, caller: Caller) -> None:
    """As many of the wanted pages as this node has room for. mm/hugetlb.c:__nr_hugepages_store_common() (v6.1)."""
    hugetlb.set_max_huge_pages(node.kernel, node.pages, kstrtoul(data), node.pgdat.nid, None)


NODE_HUGEPAGES: tuple[Attr[NodePool], ...] = (
    Attr("free_hugepages", 0o444, lambda node: f"{node.pool.free}\n", size=4096),
    Attr("nr_hugepages", 0o644, lambda node: f"{node.pool.total}\n", nr_hugepages_store, size=4096),
    Attr("surplus_hugepages", 0o444, lambda node: f"{node.pool.surplus}\n", size=4096),
)


def demote_store(node: NodePool, data: bytes, caller: Caller) -> None:
    """Split up to so many free pages into pages of the smaller size. mm/hugetlb.c:demote_store() (v6.1)."""
    hugetlb.demote_pool_huge_page(node.kernel, node.pgdat, node.pages, kstrtoul(data))


def demote_size_store(node: NodePool, data: bytes, caller: Caller) -> None:
    """Only the one smaller size will do."""
    if sysfs_word(data).lower() not in ("2048kb", "2m", "2048k", "2097152"):
        raise EINVAL("no smaller huge page of that size")


DEMOTE: tuple[Attr[NodePool], ...] = (
    Attr("demote", 0o200, store=demote_store, size=4096),
    Attr("demote_size", 0o644, lambda node: "2048kB\n", demote_size_store, size=4096),
)


def online_show(kernel: Kernel) -> str:
    """N_ONLINE."""
    return list_text(kernel.node_online) + "\n"


def possible_show(kernel: Kernel) -> str:
    """N_POSSIBLE."""
    return list_text(kernel.node_possible) + "\n"


def has_cpu_show(kernel: Kernel) -> str:
    """N_CPU: nodes with a CPU on line."""
    return list_text(mask_of(kernel.cpu_to_node[cpu] for cpu in members(kernel.cpu_online))) + "\n"


def has_memory_show(kernel: Kernel) -> str:
    """N_MEMORY."""
    return list_text(kernel.node_states_memory) + "\n"


def has_normal_memory_show(kernel: Kernel) -> str:
    """N_NORMAL_MEMORY: nodes with a zone that kernel allocations can use."""
    return list_text(_nodes_with_zones_up_to(kernel, "Normal")) + "\n"


def has_high_memory_show(kernel: Kernel) -> str:
    """N_HIGH_MEMORY: nodes with a zone below Movable."""
    return list_text(_nodes_with_zones_up_to(kernel, kernel.machine.highmem or "Normal")) + "\n"


def _nodes_with_zones_up_to(kernel: Kernel, type_: str) -> Mask:
    highest = kernel.machine.zone_types.index(type_)
    return mask_of(
        pgdat.nid for pgdat in kernel.nodes if any(zone.present for zone in pgdat.zones[: highest + 1])
    )


TOP: tuple[Attr[Kernel], ...] = (
    Attr("has_cpu", 0o444, has_cpu_show, size=4096),
    Attr("has_generic_initiator", 0o444, lambda kernel: "\n", size=4096),
    Attr("has_memory", 0o444, has_memory_show, size=4096),
    Attr("has_normal_memory", 0o444, has_normal_memory_show, size=4096),
    Attr("online", 0o444, online_show, size=4096),
    Attr("possible", 0o444, possible_show, size=4096),
    UEVENT,
)
HIGHMEM: Attr[Kernel] = Attr("has_high_memory", 0o444, has_high_memory_show, size=4096)


class Contents:
    """The links of a node's directory: its present CPUs and its memory blocks, which may be plugged in and out."""

    def __init__(self, pgdat: Pgdat) -> None:
        self.cpus = Following(
            "cpu", lambda: members(pgdat.cpus_present), lambda cpu: bool(pgdat.cpus_present >> cpu & 1),
            lambda cpu: Link(f"../../cpu/cpu{cpu}"),
        )
        self.memory = Following(
            "memory", lambda: pgdat.memory_blocks, lambda block: block in pgdat.memory_blocks,
            lambda block: Link(f"../../memory/memory{block}"),
        )

    def find(self, name: str) -> Node | None:
        """The link of that name."""
        return self.cpus.find(name) or self.memory.find(name)

    def names(self) -> Iterator[str]:
        """Names of the links."""
        yield from self.cpus.names()
        yield from self.memory.names()


def _one_node(kernel: Kernel, pgdat: Pgdat) -> Dir:
    contents = Contents(pgdat)
    node = Dir(SYSFS, 0o755, find=contents.find, more=contents.names)
    node.alive = lambda: pgdat.online
    device = NodeDevice(kernel, pgdat)
    node.add_files(NODE, device)
    if kernel.has("proactive_node_reclaim"):
        node.add_files((RECLAIM,), device)
    add_power(node)
    node.dir("x86")
    add_access(node, kernel, pgdat.nid)
    node.add("subsystem", Link("../../../../bus/node"))
    _add_hugepages(node.dir("hugepages"), kernel, pgdat, sorted(pgdat.hugepages))
    return node


def _add_hugepages(home: Dir, kernel: Kernel, pgdat: Pgdat, sizes: Iterable[int]) -> None:
    kb = kernel.machine.page_size // 1024
    smallest = None
    for pages in sizes:
        at = home.dir(f"hugepages-{pages * kb}kB")
        device = NodePool(kernel, pgdat, pages)
        at.add_files(NODE_HUGEPAGES, device)
        if smallest is not None:
            at.add_files(DEMOTE, device)
        smallest = smallest or pages


def node_dir(kernel: Kernel) -> Dir:
    """The directory /sys/devices/system/node."""
    nodes = Following(
        "node", lambda: members(kernel.node_online), lambda nid: bool(kernel.node_online >> nid & 1),
        lambda nid: _one_node(kernel, kernel.nodes[nid]),
    )
    top = Dir(SYSFS, 0o755, find=nodes.find, more=nodes.names)
    top.add_files(TOP, kernel)
    if kernel.machine.highmem:
        top.add_files((HIGHMEM,), kernel)
    add_power(top)
    return top
