# SPDX-License-Identifier: MIT
"""madvise(2): mm/madvise.c (v6.1).

Simplified: MADV_MERGEABLE is accepted and does nothing: KSM does not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from . import huge_memory, khugepaged, memory, mmap, readahead, swap, swap_state, vmscan
from .errors import EBUSY, EINVAL, ENOMEM
from .khugepaged import ScanResult
from .mm_inline import change
from .page import HPAGE_PMD_NR, PG, Kind, Run

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task, Vma

__all__ = ["ADVICE", "madvise"]

Advise = Callable[["Kernel", "Task", "Vma", int, int], None]


def madvise(kernel: Kernel, task: Task, start: int, stop: int, advice: str) -> None:
    """Advise on the pages [start, stop). ENOMEM if some of them are not mapped; the others have been advised on."""
    if advice not in ADVICE:
        raise EINVAL(f"no advice {advice!r}")
    mm = task.mm
    if mm is None:
        raise ENOMEM(f"task {task.pid} has no address space in the model")
    covered = start
    gap = False
    for vma in mmap.vmas_in(mm, start, stop):
        gap = gap or vma.start > covered
        covered = vma.stop
        ADVICE[advice](kernel, task, vma, max(start, vma.start), min(stop, vma.stop))
    if gap or covered < stop:
        raise ENOMEM(f"not all of {start:#x}-{stop:#x} is mapped")


def _dontneed(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    if vma.locked:
        raise EINVAL("locked memory is needed")
    if vma.hugetlb:
        if start % vma.hugetlb:
            raise EINVAL(f"page {start:#x} does not begin a huge page")
        stop -= stop % vma.hugetlb
    memory.zap_page_range(kernel, vma, start, stop)


def _private_runs(kernel: Kernel, vma: Vma, start: int, stop: int) -> list[Run]:
    """Mapped runs of [start, stop) that no other address space shares."""
    huge_memory.split_edges(kernel, vma, start, stop)
    out: list[Run] = []
    for segment, a, b in list(vma.present(start, stop)):
        runs = segment.space.cut(a - segment.delta, b - segment.delta)
        out += [run for run in runs if run.resident and run.mapcount == 1]
    return out


def _free(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    """MADV_FREE: the pages are clean from now on, and reclaim may drop them until they are written again."""
    if vma.file is not None:
        raise EINVAL("only anonymous memory can be freed lazily")
    for run in _private_runs(kernel, vma, start, stop):
        if run.space.kind == Kind.ANON:
            if run.swap is not None:
                swap_state.free_swap_cache(kernel, run)
            change(run, clear=PG.YOUNG | PG.DIRTY)
            swap.mark_page_lazyfree(kernel, run)


def _check_lru(vma: Vma) -> None:
    """can_madv_lru_vma(): is it on lists that reclaim looks at?"""
    if vma.locked or vma.hugetlb or vma.special:
        raise EINVAL("locked memory and huge pages are never reclaimed")


def _cold(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    _check_lru(vma)
    for run in _private_runs(kernel, vma, start, stop):
        change(run, clear=PG.YOUNG | PG.REFERENCED)
        swap.deactivate_page(kernel, run)


def _pageout(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    _check_lru(vma)
    runs = _private_runs(kernel, vma, start, stop)
    for run in runs:
        huge_memory.split_folio(kernel, run)
        change(run, clear=PG.YOUNG | PG.REFERENCED)
    vmscan.reclaim_runs(kernel, runs)


def _willneed(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    if vma.file is not None and vma.file.space.kind == Kind.FILE:
        delta = vma.start - vma.pgoff
        readahead.force_page_cache_ra(kernel, task, vma.file, start - delta, stop - delta)
        return
    for segment, a, b in list(vma.present(start, stop)):
        if segment.space.kind == Kind.ANON:
            swap_state.swapin(kernel, task, vma, segment.space, a, b, write=False)


def _populate_read(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    memory.touch(kernel, task, start, stop, write=False)


def _populate_write(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    memory.touch(kernel, task, start, stop, write=True)


def _hugepage(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    _set_thp(kernel, vma, start, stop, True)


def _nohugepage(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    _set_thp(kernel, vma, start, stop, False)


def _set_thp(kernel: Kernel, vma: Vma, start: int, stop: int, on: bool) -> None:
    mm = vma.mm
    if vma.thp is not on:
        mmap.vma_modify(kernel, mm, vma, start, stop, thp=on)
    found = mm.find_vma(start)
    if on and found is not None and found.segments:
        khugepaged.khugepaged_enter_vma(kernel, found)


def _collapse(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    """MADV_COLLAPSE: huge pages now, whatever khugepaged would think. mm/khugepaged.c:madvise_collapse() (v6.1)."""
    if vma.file is not None or vma.special or vma.thp is False:
        raise EINVAL("the mapping has no huge pages")
    first = -(-start // HPAGE_PMD_NR) * HPAGE_PMD_NR
    last = None
    for block in range(first, stop - HPAGE_PMD_NR + 1, HPAGE_PMD_NR):
        result = khugepaged.collapse_huge_page(kernel, vma, block, limits=None)
        if result not in (ScanResult.SUCCEED, ScanResult.PMD_MAPPED):
            last = result
    if last == ScanResult.ALLOC_FAIL:
        raise ENOMEM("no huge page is free")
    if last == ScanResult.CGROUP_CHARGE_FAIL:
        raise EBUSY("the group has no room for a huge page")
    if last is not None:
        raise EINVAL("not all of it can become huge pages")


def _nothing(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    """Advice that changes nothing in the model."""


ADVICE: dict[str, Advise] = {
    "dontneed": _dontneed, "free": _free, "hugepage": _hugepage, "nohugepage": _nohugepage, "cold": _cold,
    "pageout": _pageout, "willneed": _willneed, "populate_read": _populate_read, "populate_write": _populate_write,
    "collapse": _collapse, "mergeable": _nothing, "unmergeable": _nothing, "normal": _nothing, "random": _nothing,
    "sequential": _nothing,
}
