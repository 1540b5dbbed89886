# SPDX-License-Identifier: MIT
"""What the kernel says of its memory when there is none: Mem-Info, and the report of a failed allocation.

mm/page_alloc.c:{show_free_areas,warn_alloc}() and lib/{show_mem,dump_stack}.c (v6.1); mm/show_mem.c in newer kernels.

Simplified: no call trace and no registers; free blocks are all shown as movable ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import swap
from .gfp import Gfp, show_gfp_flags
from .mmzone import PageUse
from .nodemask import Mask, list_text
from .vmstat import NodeStat, ZoneStat
from .watermarks import free_blocks

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task
    from .mmzone import Pgdat, Zone

__all__ = ["comm_of", "cpuset_print_current_mems_allowed", "dump_stack", "mems_of", "show_mem", "warn_alloc"]

MAX_RECLAIM_RETRIES = 16
KWORKER = "kworker/u{cpus}:0"
"""Who works for the kernel where no task does."""

TOTALS = (
    "active_anon:{NR_ACTIVE_ANON} inactive_anon:{NR_INACTIVE_ANON} isolated_anon:{NR_ISOLATED_ANON}\n"
    " active_file:{NR_ACTIVE_FILE} inactive_file:{NR_INACTIVE_FILE} isolated_file:{NR_ISOLATED_FILE}\n"
    " unevictable:{NR_UNEVICTABLE} dirty:{NR_DIRTY} writeback:{NR_WRITEBACK}\n"
    " slab_reclaimable:{NR_SLAB_RECLAIMABLE} slab_unreclaimable:{NR_SLAB_UNRECLAIMABLE}\n"
    " mapped:{NR_MAPPED} shmem:{NR_SHMEM} pagetables:{NR_PAGE_TABLE_PAGES}\n"
    " sec_pagetables:{NR_SEC_PAGE_TABLE_PAGES} bounce:{NR_BOUNCE}\n"
    " kernel_misc_reclaimable:{NR_KERNEL_MISC_RECLAIMABLE}\n"
    " free:{NR_FREE_PAGES} free_pcp:{free_pcp} free_cma:{NR_FREE_CMA}"
)
"""In pages, of the whole machine but for free_pcp."""
NODE = (
    "Node {nid} active_anon:{NR_ACTIVE_ANON}kB inactive_anon:{NR_INACTIVE_ANON}kB active_file:{NR_ACTIVE_FILE}kB"
    " inactive_file:{NR_INACTIVE_FILE}kB unevictable:{NR_UNEVICTABLE}kB isolated(anon):{NR_ISOLATED_ANON}kB"
    " isolated(file):{NR_ISOLATED_FILE}kB mapped:{NR_MAPPED}kB dirty:{NR_DIRTY}kB writeback:{NR_WRITEBACK}kB"
    " shmem:{NR_SHMEM}kB shmem_thp: {NR_SHMEM_HUGEPAGES}kB shmem_pmdmapped: {NR_SHMEM_PMDMAPPED}kB"
    " anon_thp: {NR_ANON_TRANSPARENT_HUGEPAGES}kB writeback_tmp:{NR_WRITEBACK_TEMP}kB"
    " kernel_stack:{kernel_stack}kB pagetables:{NR_PAGE_TABLE_PAGES}kB"
    " sec_pagetables:{NR_SEC_PAGE_TABLE_PAGES}kB all_unreclaimable? {hopeless}"
)
ZONE = (
    "Node {nid} {type} free:{NR_FREE_PAGES}kB boost:{boost}kB min:{min}kB low:{low}kB high:{high}kB"
    " reserved_highatomic:0KB active_anon:{NR_ZONE_ACTIVE_ANON}kB inactive_anon:{NR_ZONE_INACTIVE_ANON}kB"
    " active_file:{NR_ZONE_ACTIVE_FILE}kB inactive_file:{NR_ZONE_INACTIVE_FILE}kB"
    " unevictable:{NR_ZONE_UNEVICTABLE}kB writepending:{NR_ZONE_WRITE_PENDING}kB present:{present}kB"
    " managed:{managed}kB mlocked:{NR_MLOCK}kB bounce:{NR_BOUNCE}kB free_pcp:{free_pcp}kB"
    " local_pcp:{free_pcp}kB free_cma:{NR_FREE_CMA}kB"
)


def show_mem(kernel: Kernel, nodes: Mask) -> None:
    """Mem-Info of `nodes`, and what the machine has in all (lib/show_mem.c, v6.1)."""
    kernel.printk("Mem-Info:")
    for text in show_free_areas(kernel, nodes):
        kernel.printk(text)
    zones = kernel.zones()
    highmem = sum(zone.present for zone in zones if zone.type == kernel.machine.highmem)
    kernel.printk(f"{sum(zone.present for zone in zones)} pages RAM")
    kernel.printk(f"{highmem} pages HighMem/MovableOnly")
    kernel.printk(f"{sum(zone.present - zone.managed for zone in zones)} pages reserved")
    kernel.printk("0 pages hwpoisoned")


def show_free_areas(kernel: Kernel, nodes: Mask) -> Iterator[str]:
    """The lines of Mem-Info, of the nodes that are of interest (mm/page_alloc.c, v6.1)."""
    shown = [pgdat for pgdat in kernel.online_nodes if nodes >> pgdat.nid & 1]
    zones = [zone for pgdat in shown for zone in pgdat.populated_zones]
    yield _totals(kernel, sum(zone.used[PageUse.PCP] for zone in zones))
    yield from (_node(kernel, pgdat) for pgdat in shown if pgdat.managed)
    for zone in zones:
        yield _zone(kernel, zone)
        yield "lowmem_reserve[]:" + "".join(f" {pages}" for pages in zone.lowmem_reserve)
    yield from (_blocks(kernel, zone) for zone in zones)
    for pgdat in shown:
        yield from _hugetlb_show_meminfo_node(kernel, pgdat)
    yield from _show_swap_cache_info(kernel)


def _profiled(kernel: Kernel, text: str) -> str:
    """A line as the kernel of this profile has it."""
    if kernel.has("no_bounce"):
        text = text.replace(" bounce:{NR_BOUNCE}kB", "").replace(" bounce:{NR_BOUNCE}", "")
    if kernel.has("no_writeback_temp"):
        text = text.replace(" writeback_tmp:{NR_WRITEBACK_TEMP}kB", "")
    return text


def _totals(kernel: Kernel, free_pcp: int) -> str:
    pages = {item.name: sum(pgdat.stat[item] for pgdat in kernel.online_nodes) for item in NodeStat}
    pages.update((item.name, sum(zone.stat[item] for zone in kernel.zones())) for item in ZoneStat)
    return _profiled(kernel, TOTALS).format_map({**pages, "free_pcp": free_pcp})


def _node(kernel: Kernel, pgdat: Pgdat) -> str:
    kb = kernel.machine.page_size // 1024
    counts = {item.name: pgdat.stat[item] * kb for item in NodeStat}
    hopeless = "yes" if pgdat.kswapd_failures >= MAX_RECLAIM_RETRIES else "no"
    text = _profiled(kernel, NODE) + (" Balloon:{NR_BALLOON_PAGES}kB" if kernel.has("balloon_pages") else "")
    return text.format_map(
        {**counts, "nid": pgdat.nid, "kernel_stack": pgdat.stat[NodeStat.NR_KERNEL_STACK], "hopeless": hopeless}
    )


def _zone(kernel: Kernel, zone: Zone) -> str:
    kb = kernel.machine.page_size // 1024
    boost = zone.watermark_boost
    low, mid, high, _ = zone.watermark
    pages = {
        "boost": boost, "min": low + boost, "low": mid + boost, "high": high + boost, "present": zone.present,
        "managed": zone.managed, "free_pcp": zone.used[PageUse.PCP],
        **{item.name: zone.stat[item] for item in ZoneStat},
    }
    return _profiled(kernel, ZONE).format_map(
        {"nid": zone.pgdat.nid, "type": zone.type, **{name: n * kb for name, n in pages.items()}}
    )


def _blocks(kernel: Kernel, zone: Zone) -> str:
    """Free blocks by size, as in /proc/buddyinfo."""
    kb = kernel.machine.page_size // 1024
    blocks = free_blocks(kernel, zone)
    counts = "".join(f"{n}*{kb << order}kB {'(M) ' if n else ''}" for order, n in enumerate(blocks))
    return f"Node {zone.pgdat.nid} {zone.type}: {counts}= {zone.free * kb}kB"


def _hugetlb_show_meminfo_node(kernel: Kernel, pgdat: Pgdat) -> Iterator[str]:
    """mm/hugetlb.c:hugetlb_show_meminfo_node() (v6.1): the largest pages were registered first."""
    kb = kernel.machine.page_size // 1024
    for size, pool in sorted(pgdat.hugepages.items(), reverse=True):
        yield (
            f"Node {pgdat.nid} hugepages_total={pool.total} hugepages_free={pool.free} hugepages_surp={pool.surplus}"
            f" hugepages_size={size * kb}kB"
        )


def _show_swap_cache_info(kernel: Kernel) -> Iterator[str]:
    kb = kernel.machine.page_size // 1024
    stat = [sum(column) for column in zip(*(pgdat.stat for pgdat in kernel.online_nodes), strict=True)]
    yield f"{stat[NodeStat.NR_FILE_PAGES]} total pagecache pages"
    yield f"{stat[NodeStat.NR_SWAPCACHED]} pages in swap cache"
    yield f"Free swap  = {swap.nr_swap_pages(kernel) * kb}kB"
    yield f"Total swap = {swap.total_swap_pages(kernel) * kb}kB"


# ---------------------------------------------------------------- who was at it


def cpuset_print_current_mems_allowed(kernel: Kernel, task: Task | None) -> str:
    """`cpuset=a,mems_allowed=2` of who allocates (kernel/cgroup/cpuset.c, v6.1)."""
    group = task.cpuset.name if task else ""
    return f"cpuset={group or '/'},mems_allowed={list_text(mems_of(kernel, task))}"


def mems_of(kernel: Kernel, task: Task | None) -> Mask:
    """cpuset_current_mems_allowed: kernel threads are in the root."""
    return task.mems_allowed if task else kernel.node_states_memory


def comm_of(kernel: Kernel, task: Task | None) -> str:
    """The name of who allocates: without a task a kernel thread does."""
    return task.comm if task else KWORKER.format(cpus=2 * kernel.cpu_online.bit_count())


def dump_stack(kernel: Kernel, task: Task | None, workqueue: str = "") -> None:
    """Who it was, on what machine, and for which workqueue (lib/dump_stack.c:dump_stack_print_info(), v6.1)."""
    cpu, pid, uid = (task.cpu, task.pid, task.uid) if task else (0, 0, 0)
    owner = f"UID: {uid} " if kernel.has("dump_stack_uid") else ""
    kernel.printk(
        f"CPU: {cpu} {owner}PID: {pid} Comm: {comm_of(kernel, task)} Not tainted {kernel.machine.kernel_release} #1"
    )
    kernel.printk(f"Hardware name: numafs {kernel.machine.name}")
    if workqueue:
        kernel.printk(f"Workqueue: {workqueue}")


def warn_alloc(kernel: Kernel, task: Task | None, gfp: Gfp, nodemask: Mask | None, order: int) -> None:
    """A request failed that should have been met: say so, once in ten seconds (mm/page_alloc.c, v6.1).

    Without a task, it is the worker that migrates for cpusets who wants pages of one node and no other.
    """
    if gfp & Gfp.NOWARN or not kernel.nopage_ratelimit.permits(kernel.clock.now):
        return
    kernel.printk(
        f"{comm_of(kernel, task)}: page allocation failure: order:{order}, mode:{show_gfp_flags(gfp)},"
        f" nodemask={'(null)' if nodemask is None else list_text(nodemask)},"
        f"{cpuset_print_current_mems_allowed(kernel, task)}"
    )
    migrating = task is None and gfp & Gfp.THISNODE
    dump_stack(kernel, task, "cpuset_migrate_mm cpuset_migrate_mm_workfn" if migrating else "")
    show_mem(kernel, mems_of(kernel, task) if nodemask is None else nodemask)
