# SPDX-License-Identifier: MIT
"""khugepaged: huge pages are made of small ones behind a task's back. mm/khugepaged.c (v6.1).

Simplified: what has pages in swap is left alone; pages of files and of shared memory are never collapsed. The
thread's own time costs nobody any.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import TYPE_CHECKING

from . import huge_memory, memcontrol, memory, page_alloc
from .gfp import GFP_TRANSHUGE, GFP_TRANSHUGE_LIGHT, Gfp
from .page import HPAGE_PMD_NR, HPAGE_PMD_ORDER, PG, Kind
from .page_alloc import Placement, init_per_zone_wmark_min, nr_free_buffer_pages, setup_per_zone_wmarks
from .printk import Level
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .clock import Event
    from .kernel import Kernel
    from .mm import Mm, Vma

__all__ = [
    "Khugepaged", "ScanResult", "collapse_huge_page", "khugepaged_enter_vma", "set_recommended_min_free_kbytes",
    "start_stop_khugepaged",
]

PAGEBLOCK_NR_PAGES = 512
MIGRATE_PCPTYPES = 3
NODE_RECLAIM_DISTANCE = 30
MSEC = 1_000_000
WAKE_LATENCY_NS = 20_000
SCAN_NS = 10_000_000
"""What a scan takes, at least, if it is not to sleep between them."""


class ScanResult(Enum):
    """What became of a piece of 2 MiB (enum scan_result)."""

    SUCCEED = 0
    PMD_MAPPED = 1
    """It is a huge page already."""
    UNSUITABLE = 2
    ALLOC_FAIL = 3
    CGROUP_CHARGE_FAIL = 4


class Khugepaged:
    """The thread: what it has to scan, how far it is, and its settings, which have the names of their files."""

    def __init__(self) -> None:
        self.scan_sleep_millisecs = 10000
        self.alloc_sleep_millisecs = 60000
        self.pages_to_scan = 8 * HPAGE_PMD_NR
        self.max_ptes_none = HPAGE_PMD_NR - 1
        self.max_ptes_swap = HPAGE_PMD_NR // 8
        self.max_ptes_shared = HPAGE_PMD_NR // 2
        self.defrag = 1
        self.pages_collapsed = 0
        self.full_scans = 0
        self.slots: list[Mm] = []
        """Address spaces to scan, in the order in which they came."""
        self.at = 0
        """Which of them is at hand."""
        self.address = 0
        """Where the scan of it goes on."""
        self.sleeping: Event | None = None

    # ------------------------------------------------------------ when

    def wake(self, kernel: Kernel, delay_ns: int = WAKE_LATENCY_NS) -> None:
        """It will scan next at that time, whatever it waited for."""
        if self.sleeping is not None:
            self.sleeping.cancel()
            self.sleeping = None
        if self.slots and kernel.thp_enabled != "never":
            self.sleeping = kernel.clock.after(delay_ns, "khugepaged", lambda: self.do_scan(kernel))

    def do_scan(self, kernel: Kernel) -> None:
        """Scan `pages_to_scan` pages, or everything once, and sleep (khugepaged_do_scan, khugepaged_wait_work)."""
        self.sleeping = None
        left, ends = self.pages_to_scan, int(not self.at and not self.address)
        while left > 0 and ends < 2 and self.slots:
            vma = self._next_vma(kernel)
            if vma is None:
                ends += self._next_slot()
                continue
            left -= HPAGE_PMD_NR
            block, self.address = self.address, self.address + HPAGE_PMD_NR
            result = collapse_huge_page(kernel, vma, block, limits=self)
            if result == ScanResult.SUCCEED:
                self.pages_collapsed += 1
            if result == ScanResult.ALLOC_FAIL:
                self.wake(kernel, self.alloc_sleep_millisecs * MSEC)
                return
        self.wake(kernel, max(self.scan_sleep_millisecs * MSEC, SCAN_NS))

    # ------------------------------------------------------------ where

    def _next_vma(self, kernel: Kernel) -> Vma | None:
        """The mapping that the next whole piece of 2 MiB lies in; `address` is where that begins."""
        mm = self.slots[self.at]
        for vma in mm.overlapping(self.address, 1 << 60):
            start = -(-max(vma.start, self.address) // HPAGE_PMD_NR) * HPAGE_PMD_NR
            if start + HPAGE_PMD_NR <= vma.stop and vma.segments and huge_memory.hugepage_vma_check(kernel, vma):
                self.address = start
                return vma
        return None

    def _next_slot(self) -> bool:
        """The address space at hand was scanned to its end; was it the last?"""
        self.at, self.address = self.at + 1, 0
        if self.at < len(self.slots):
            return False
        self.at = 0
        self.full_scans += 1
        return True

    def leave(self, mm: Mm) -> None:
        """An address space ends (khugepaged_exit)."""
        if not mm.khugepaged:
            return
        mm.khugepaged = False
        i = self.slots.index(mm)
        del self.slots[i]
        if i < self.at:
            self.at -= 1
        elif i == self.at:
            self.address = 0
            self.at %= max(len(self.slots), 1)


def khugepaged_enter_vma(kernel: Kernel, vma: Vma) -> None:
    """The mapping may have huge pages: from now on its address space is scanned (v6.1)."""
    daemon, mm = kernel.khugepaged, vma.mm
    if mm.khugepaged or not huge_memory.hugepage_vma_check(kernel, vma):
        return
    mm.khugepaged = True
    daemon.slots.append(mm)
    if len(daemon.slots) == 1:
        daemon.wake(kernel)


# ---------------------------------------------------------------- collapsing


def collapse_huge_page(kernel: Kernel, vma: Vma, start: int, limits: Khugepaged | None) -> ScanResult:
    """Make a huge page of the small ones at [start, start + 512), if they are worth it.

    `limits` None: somebody asks for it by madvise(2), so that it need not be worth it.
    mm/khugepaged.c:hpage_collapse_scan_pmd(), collapse_huge_page() (v6.1).
    """
    result, nid = _scan_pmd(kernel, vma, start, limits)
    if nid is None:
        return result
    gfp = GFP_TRANSHUGE if limits is None or limits.defrag else GFP_TRANSHUGE_LIGHT
    try:
        zone, _ = page_alloc.alloc_pages(kernel, None, gfp | Gfp.THISNODE, Placement(nid), 1, HPAGE_PMD_ORDER)
    except OSError:
        kernel.events.inc(VmEvent.THP_COLLAPSE_ALLOC_FAILED)
        return ScanResult.ALLOC_FAIL
    kernel.events.inc(VmEvent.THP_COLLAPSE_ALLOC)
    memcg, room = memcontrol.try_charge(kernel, vma.mm.users[0], HPAGE_PMD_NR, oom=False)
    if room < HPAGE_PMD_NR:
        page_alloc.free_pages(kernel, zone, 1, HPAGE_PMD_ORDER)
        return ScanResult.CGROUP_CHARGE_FAIL
    if _scan_pmd(kernel, vma, start, limits)[1] is None:  # reclaim for the huge page took some of it
        page_alloc.free_pages(kernel, zone, 1, HPAGE_PMD_ORDER)
        return ScanResult.UNSUITABLE
    memory.zap_page_range(kernel, vma, start, start + HPAGE_PMD_NR, accessed=False)
    huge_memory.map_huge_page(kernel, vma, zone, start, start + HPAGE_PMD_NR, memcg)
    return ScanResult.SUCCEED


def _scan_pmd(kernel: Kernel, vma: Vma, start: int, limits: Khugepaged | None) -> tuple[ScanResult, int | None]:
    """Is it worth it? If so, the node that most of the pages are on."""
    nodes: Counter[int] = Counter()
    shared = 0
    young = writable = False
    for segment, a, b in vma.present(start, start + HPAGE_PMD_NR):
        for run, first, last in segment.space.find(a - segment.delta, b - segment.delta):
            if run.flags & PG.THP and run.resident:
                return ScanResult.PMD_MAPPED, None
            if not run.resident or not run.mapcount or segment.space.kind != Kind.ANON:
                return ScanResult.UNSUITABLE, None
            nodes[run.zone.pgdat.nid] += last - first
            shared += last - first if run.mapcount > 1 else 0
            young = young or bool(run.flags & (PG.YOUNG | PG.REFERENCED))
            writable = writable or run.mapcount == 1
    if not writable or not vma.write:
        return ScanResult.UNSUITABLE, None
    if limits is not None:
        none = HPAGE_PMD_NR - nodes.total()
        if none > limits.max_ptes_none or shared > limits.max_ptes_shared or not young or _too_far(kernel, nodes):
            return ScanResult.UNSUITABLE, None
    return ScanResult.SUCCEED, max(sorted(nodes), key=lambda nid: nodes[nid])


def _too_far(kernel: Kernel, nodes: Counter[int]) -> bool:
    """With node reclaim, pages of nodes that are far apart are not thrown together (hpage_collapse_scan_abort)."""
    if not kernel.vm.zone_reclaim_mode & 7:
        return False
    return any(kernel.nodes[a].distance[b] > NODE_RECLAIM_DISTANCE for a in nodes for b in nodes)


# ---------------------------------------------------------------- starting and stopping


def start_stop_khugepaged(kernel: Kernel) -> None:
    """Called at boot and when transparent huge pages are switched. mm/khugepaged.c:start_stop_khugepaged() (v6.1)."""
    kernel.khugepaged.wake(kernel)
    set_recommended_min_free_kbytes(kernel)


def set_recommended_min_free_kbytes(kernel: Kernel) -> None:
    """Raise min_free_kbytes so that pageblocks of each migrate type can stay apart.

    mm/khugepaged.c:set_recommended_min_free_kbytes() (v6.1).
    """
    if kernel.thp_enabled == "never":
        init_per_zone_wmark_min(kernel)
        return
    highest = kernel.machine.zone_types.index("Normal")
    nr_zones = sum(zone.index <= highest for zone in kernel.zones())
    recommended = PAGEBLOCK_NR_PAGES * nr_zones * (2 + MIGRATE_PCPTYPES * MIGRATE_PCPTYPES)
    recommended = min(recommended, nr_free_buffer_pages(kernel) // 20)
    recommended_kbytes = recommended * (kernel.machine.page_size // 1024)
    if recommended_kbytes > kernel.vm.min_free_kbytes:
        if kernel.vm.user_min_free_kbytes >= 0:
            kernel.printk(
                f"khugepaged: raising min_free_kbytes from {kernel.vm.min_free_kbytes} to {recommended_kbytes} "
                "to help transparent hugepage allocations", Level.INFO
            )
        kernel.vm.min_free_kbytes = recommended_kbytes
    setup_per_zone_wmarks(kernel)
