# SPDX-License-Identifier: MIT
"""/proc/{meminfo,vmstat,slabinfo,swaps}: the whole machine's memory.

fs/proc/meminfo.c, mm/{vmstat,slab_common,swapfile}.c (v6.1).

Simplified: Committed_AS counts private writable mappings and shared memory, nothing else; per-CPU memory is a constant
a CPU; nothing is in zswap; the kernel's direct map is made of 2 MiB pages wherever it can be.
"""

from __future__ import annotations

from enum import IntEnum
from operator import itemgetter
from typing import TYPE_CHECKING

from numafs.kernel import page_alloc, page_writeback, swap
from numafs.kernel.mmzone import PageUse
from numafs.kernel.slab import get_slabinfo
from numafs.kernel.vmstat import NodeStat, ZoneStat

from .attr import Attr
from .counters import counters_of
from .seq import seq_escape

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mmzone import HugePool

__all__ = ["MM"]


class Derived(IntEnum):
    """What /proc/meminfo prints beside the nodes' counters; numbered on from these. In KiB once they are printed."""

    TOTAL = len(NodeStat)
    FREE = TOTAL + 1
    AVAILABLE = TOTAL + 2
    BUFFERS = TOTAL + 3
    CACHED = TOTAL + 4
    ACTIVE = TOTAL + 5
    INACTIVE = TOTAL + 6
    MLOCKED = TOTAL + 7
    SWAP_TOTAL = TOTAL + 8
    SWAP_FREE = TOTAL + 9
    RECLAIMABLE = TOTAL + 10
    SLAB = TOTAL + 11
    BOUNCE = TOTAL + 12
    COMMIT_LIMIT = TOTAL + 13
    COMMITTED = TOTAL + 14
    VMALLOC_USED = TOTAL + 15
    NOTHING = TOTAL + 16


MEMINFO: tuple[tuple[str, int], ...] = (
    ("MemTotal", Derived.TOTAL),
    ("MemFree", Derived.FREE),
    ("MemAvailable", Derived.AVAILABLE),
    ("Buffers", Derived.BUFFERS),
    ("Cached", Derived.CACHED),
    ("SwapCached", NodeStat.NR_SWAPCACHED),
    ("Active", Derived.ACTIVE),
    ("Inactive", Derived.INACTIVE),
    ("Active(anon)", NodeStat.NR_ACTIVE_ANON),
    ("Inactive(anon)", NodeStat.NR_INACTIVE_ANON),
    ("Active(file)", NodeStat.NR_ACTIVE_FILE),
    ("Inactive(file)", NodeStat.NR_INACTIVE_FILE),
    ("Unevictable", NodeStat.NR_UNEVICTABLE),
    ("Mlocked", Derived.MLOCKED),
    ("SwapTotal", Derived.SWAP_TOTAL),
    ("SwapFree", Derived.SWAP_FREE),
    ("Zswap", Derived.NOTHING),
    ("Zswapped", Derived.NOTHING),
    ("Dirty", NodeStat.NR_DIRTY),
    ("Writeback", NodeStat.NR_WRITEBACK),
    ("AnonPages", NodeStat.NR_ANON_PAGES),
    ("Mapped", NodeStat.NR_MAPPED),
    ("Shmem", NodeStat.NR_SHMEM),
    ("KReclaimable", Derived.RECLAIMABLE),
    ("Slab", Derived.SLAB),
    ("SReclaimable", NodeStat.NR_SLAB_RECLAIMABLE),
    ("SUnreclaim", NodeStat.NR_SLAB_UNRECLAIMABLE),
    ("KernelStack", NodeStat.NR_KERNEL_STACK),
    ("PageTables", NodeStat.NR_PAGE_TABLE_PAGES),
    ("SecPageTables", NodeStat.NR_SEC_PAGE_TABLE_PAGES),
    ("NFS_Unstable", Derived.NOTHING),
    ("Bounce", Derived.BOUNCE),
    ("WritebackTmp", NodeStat.NR_WRITEBACK_TEMP),
    ("CommitLimit", Derived.COMMIT_LIMIT),
    ("Committed_AS", Derived.COMMITTED),
)
"""Label of a line and what it shows."""

MEMINFO_THP: tuple[tuple[str, int], ...] = (
    ("AnonHugePages", NodeStat.NR_ANON_TRANSPARENT_HUGEPAGES),
    ("ShmemHugePages", NodeStat.NR_SHMEM_HUGEPAGES),
    ("ShmemPmdMapped", NodeStat.NR_SHMEM_PMDMAPPED),
    ("FileHugePages", NodeStat.NR_FILE_HUGEPAGES),
    ("FilePmdMapped", NodeStat.NR_FILE_PMDMAPPED),
)

MEMINFO_TEXT = (
    "".join(f"{label + ':':<16}%8d kB\n" for label, _ in MEMINFO)
    + "VmallocTotal:   13743895347199 kB\nVmallocUsed:    %8d kB\nVmallocChunk:          0 kB\nPercpu:         %8d kB\n"
    + "HardwareCorrupted:     0 kB\n"
    + "".join(f"{label + ':':<16}%8d kB\n" for label, _ in MEMINFO_THP)
    + "HugePages_Total:   %5d\nHugePages_Free:    %5d\nHugePages_Rsvd:    %5d\nHugePages_Surp:    %5d\n"
    + "Hugepagesize:   %8d kB\nHugetlb:        %8d kB\n"
    + "DirectMap4k:    %8d kB\nDirectMap2M:    %8d kB\nDirectMap1G:    %8d kB\n"
)
first_values = itemgetter(*(int(what) for _, what in MEMINFO))
thp_values = itemgetter(*(int(what) for _, what in MEMINFO_THP))
SECTION_BYTES = 128 << 20
PAGE_STRUCT_BYTES = 64
PERCPU_KB = 272
"""What a CPU's copy of the kernel's per-CPU data takes."""


def node_sums(kernel: Kernel) -> list[int]:
    """Every node counter, summed over the nodes on line."""
    return list(map(sum, zip(*(pgdat.stat for pgdat in kernel.online_nodes), strict=True)))


def meminfo_show(kernel: Kernel) -> str:
    """fs/proc/meminfo.c:meminfo_proc_show() (v6.1)."""
    kb = kernel.machine.page_size // 1024
    stat = node_sums(kernel)
    values = [n * kb for n in stat + derived(kernel, stat)]
    values[NodeStat.NR_KERNEL_STACK] = stat[NodeStat.NR_KERNEL_STACK]
    text = MEMINFO_TEXT
    if kernel.has("balloon_pages"):
        text = text.replace("HugePages_Total:", f"{'Balloon:':<16}{0:8d} kB\nHugePages_Total:")
    return text % (
        *first_values(values), values[Derived.VMALLOC_USED], PERCPU_KB * kernel.cpu_present.bit_count(),
        *thp_values(values), *hugetlb_counts(kernel), *direct_map_kb(kernel),
    )


def derived(kernel: Kernel, stat: list[int]) -> list[int]:
    """The values that `Derived` names, in pages."""
    total = free = mlocked = bounce = 0
    for zone in kernel.zones():
        total += zone.managed
        free += zone.stat[ZoneStat.NR_FREE_PAGES]
        mlocked += zone.stat[ZoneStat.NR_MLOCK]
        bounce += zone.stat[ZoneStat.NR_BOUNCE]
    buffers = kernel.bdev.space.nrpages
    cached = max(stat[NodeStat.NR_FILE_PAGES] - stat[NodeStat.NR_SWAPCACHED] - buffers, 0)
    reclaimable = stat[NodeStat.NR_SLAB_RECLAIMABLE]
    return [
        total, free, page_alloc.si_mem_available(kernel), buffers, cached,
        stat[NodeStat.NR_ACTIVE_ANON] + stat[NodeStat.NR_ACTIVE_FILE],
        stat[NodeStat.NR_INACTIVE_ANON] + stat[NodeStat.NR_INACTIVE_FILE], mlocked,
        swap.total_swap_pages(kernel), swap.nr_swap_pages(kernel),
        reclaimable + stat[NodeStat.NR_KERNEL_MISC_RECLAIMABLE], reclaimable + stat[NodeStat.NR_SLAB_UNRECLAIMABLE],
        bounce, commit_limit(kernel, total), committed(kernel), vmalloc_used(kernel), 0,
    ]


def commit_limit(kernel: Kernel, total: int) -> int:
    """mm/util.c:vm_commit_limit() (v6.1), in pages."""
    if kernel.vm.overcommit_kbytes:
        allowed = kernel.vm.overcommit_kbytes // (kernel.machine.page_size // 1024)
    else:
        allowed = (total - hugetlb_total_pages(kernel)) * kernel.vm.overcommit_ratio // 100
    return allowed + swap.total_swap_pages(kernel)


def committed(kernel: Kernel) -> int:
    """vm_committed_as: pages that tasks may come to demand."""
    spaces = {id(task.mm): task.mm for task in kernel.tasks if task.mm is not None}
    return sum(
        vma.pages for mm in spaces.values() for vma in mm.vmas
        if vma.write and not vma.shared and not vma.special and not vma.hugetlb
    )


def vmalloc_used(kernel: Kernel) -> int:
    """Pages behind vmalloc addresses, which kernel stacks are too."""
    return sum(zone.used[PageUse.VMALLOC] + zone.used[PageUse.KERNEL_STACK] for zone in kernel.zones())


def pools_of(kernel: Kernel) -> Iterable[tuple[int, HugePool]]:
    """Size in pages and pool, for each size and node."""
    return [item for pgdat in kernel.nodes for item in pgdat.hugepages.items()]


def hugetlb_total_pages(kernel: Kernel) -> int:
    """Pages in hugetlb pools of all sizes."""
    return sum(size * pool.total for size, pool in pools_of(kernel))


def hugetlb_counts(kernel: Kernel) -> tuple[int, ...]:
    """mm/hugetlb.c:hugetlb_report_meminfo() (v6.1): pages of the default size, and KiB of all sizes."""
    default = kernel.machine.page_size // 8
    pools = [pool for size, pool in pools_of(kernel) if size == default]
    kb = kernel.machine.page_size // 1024
    return (
        sum(pool.total for pool in pools), sum(pool.free for pool in pools), 0,
        sum(pool.surplus for pool in pools), default * kb, hugetlb_total_pages(kernel) * kb,
    )


def direct_map_kb(kernel: Kernel) -> tuple[int, int, int]:
    """KiB mapped by pages of 4 KiB, 2 MiB and 1 GiB."""
    kb = sum(zone.present for zone in kernel.zones()) * (kernel.machine.page_size // 1024)
    return (kb % 2048, kb - kb % 2048, 0)


def memmap_boot_pages(kernel: Kernel) -> int:
    """Pages of page structs that were made at boot, 64 bytes a page, for each section of 128 MiB with memory in it."""
    machine = kernel.machine
    pages = SECTION_BYTES // machine.page_size
    sections = {
        section for node in machine.nodes for zone in node.zones if zone.present
        for section in range(zone.start_pfn // pages, -(-(zone.start_pfn + zone.spanned) // pages))
    }
    return len(sections) * pages * PAGE_STRUCT_BYTES // machine.page_size


def vmstat_show(kernel: Kernel) -> str:
    """mm/vmstat.c:vmstat_show() (v6.1)."""
    counters, events = counters_of(kernel), kernel.events
    background, dirty = page_writeback.global_dirty_limits(kernel)
    first = counters.text % (*counters.of_zones(kernel.zones()), *counters.of_nodes(kernel.online_nodes))
    first += f"nr_dirty_threshold {dirty}\nnr_dirty_background_threshold {background}\n"
    if kernel.has("memmap_pages"):
        first += f"nr_memmap_pages 0\nnr_memmap_boot_pages {memmap_boot_pages(kernel)}\n"
    return first + "".join([f"{name} {n}\n" for name, n in zip(events.names, events.values(), strict=True)])


SLABINFO_HEADER = (
    "slabinfo - version: 2.1\n"
    "# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab>"
    " : tunables <limit> <batchcount> <sharedfactor>"
    " : slabdata <active_slabs> <num_slabs> <sharedavail>\n"
)
SLABINFO = "%-17s %6d %6d %6d %4d %4d : tunables %4d %4d %4d : slabdata %6d %6d %6d\n"


def slabinfo_show(kernel: Kernel) -> str:
    """mm/slab_common.c:cache_show() (v6.1)."""
    rows = []
    for cache in kernel.slab.caches.values():
        info = get_slabinfo(cache)
        rows.append(SLABINFO % (
            cache.name, info.active_objs, info.num_objs, cache.object_size, cache.objects_per_slab,
            cache.pages_per_slab, 0, 0, 0, info.active_slabs, info.num_slabs, 0,
        ))
    return SLABINFO_HEADER + "".join(rows)


def swaps_show(kernel: Kernel) -> str:
    """mm/swapfile.c:swap_show() (v6.1)."""
    kb = kernel.machine.page_size // 1024
    rows = ["Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"]
    for area in kernel.swap_areas:
        path = seq_escape(area.path, " \t\n\\")
        size, used = area.pages * kb, area.used * kb
        rows.append(
            f"{path}{' ' * max(40 - len(path), 1)}{'partition' if area.partition else 'file' + chr(9)}\t{size}\t"
            f"{'' if size >= 10_000_000 else chr(9)}{used}\t{'' if used >= 10_000_000 else chr(9)}{area.priority}\n"
        )
    return "".join(rows)


MM: tuple[Attr[Kernel], ...] = (
    Attr("meminfo", 0o444, meminfo_show),
    Attr("slabinfo", 0o400, slabinfo_show),
    Attr("swaps", 0o444, swaps_show),
    Attr("vmstat", 0o444, vmstat_show),
)
