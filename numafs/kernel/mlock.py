# SPDX-License-Identifier: MIT
"""Locked memory: mm/mlock.c (v6.1).

Simplified: RLIMIT_MEMLOCK is not enforced, as for root.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from . import memory, mmap, rmap
from .errors import ENOMEM
from .mm_inline import change, move_to_list
from .mmzone import Lru
from .page import PG, Kind, Run
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Mm, Task, Vma

__all__ = [
    "clear_page_mlock", "mlock", "mlock_new_folio", "mlock_pages", "munlock", "munlock_vma_page", "populate_vma_range",
]


def mlock(kernel: Kernel, task: Task, start: int, stop: int) -> None:
    """mlock(2): the mappings of [start, stop) become locked and are faulted in. ENOMEM if there is a hole."""
    for vma in _vmas(_mm(task), start, stop):
        if not vma.special and not vma.hugetlb and not vma.locked:
            a, b = max(start, vma.start), min(stop, vma.stop)
            part = mmap.vma_modify(kernel, vma.mm, vma, a, b, locked=True)
            mlock_pages(kernel, part, a, b)
    for vma in _mm(task).overlapping(start, stop):
        if vma.locked:
            populate_vma_range(kernel, task, vma, max(start, vma.start), min(stop, vma.stop))


def munlock(kernel: Kernel, task: Task, start: int, stop: int) -> None:
    """munlock(2): the mappings of [start, stop) are locked no longer."""
    for vma in _vmas(_mm(task), start, stop):
        if vma.locked:
            a, b = max(start, vma.start), min(stop, vma.stop)
            part = mmap.vma_modify(kernel, vma.mm, vma, a, b, locked=False)
            for run in _mapped_runs(part, a, b):
                _munlock(kernel, run)


def _mm(task: Task) -> Mm:
    if task.mm is None:
        raise ENOMEM(f"task {task.pid} has no address space in the model")
    return task.mm


def _vmas(mm: Mm, start: int, stop: int) -> Iterator[Vma]:
    """The mappings of [start, stop), one by one; ENOMEM at the first hole (apply_vma_lock_flags)."""
    for vma in mmap.vmas_in(mm, start, stop):
        if vma.start > start:
            break
        start = vma.stop
        yield vma
    if start < stop:
        raise ENOMEM(f"no mapping at page {start:#x}")


def populate_vma_range(kernel: Kernel, task: Task, vma: Vma, start: int, stop: int) -> None:
    """Fault pages in as mlock does: a writable private mapping is written, which breaks copy on write ahead of time.

    mm/gup.c:populate_vma_page_range() (v6.1).
    """
    memory.touch(kernel, task, start, stop, write=vma.write and not vma.shared)


def _mapped_runs(vma: Vma, start: int, stop: int) -> list[Run]:
    """The runs that the mapping maps in [start, stop), split where it begins and ends."""
    out = []
    for segment, a, b in list(vma.present(start, stop)):
        out += [r for r in segment.space.cut(a - segment.delta, b - segment.delta) if r.resident and r.mapcount]
    return out


def mlock_pages(kernel: Kernel, vma: Vma, start: int, stop: int) -> None:
    """The mapped pages of [start, stop) go to the unevictable list (mlock_vma_page)."""
    for run in _mapped_runs(vma, start, stop):
        if run.flags & PG.MLOCKED or run.lru == Lru.UNLISTED:
            continue
        change(run, set=PG.MLOCKED)
        kernel.events.inc(VmEvent.UNEVICTABLE_PGS_MLOCKED, run.n)
        if run.lru != Lru.UNEVICTABLE:
            kernel.events.inc(VmEvent.UNEVICTABLE_PGS_CULLED, run.n)
            move_to_list(run, Lru.UNEVICTABLE)


def mlock_new_folio(kernel: Kernel, n: int) -> None:
    """New pages were entered as locked ones."""
    kernel.events.inc(VmEvent.UNEVICTABLE_PGS_MLOCKED, n)


def munlock_vma_page(kernel: Kernel, run: Run) -> Run:
    """A locked mapping no longer maps `run`: it is evictable again, unless another locks it."""
    if run.flags & PG.MLOCKED and not rmap.vm_flags(run).locked:
        return _munlock(kernel, run)
    return run


def _munlock(kernel: Kernel, run: Run) -> Run:
    if not run.flags & PG.MLOCKED or rmap.vm_flags(run).locked:
        return run
    change(run, clear=PG.MLOCKED)
    kernel.events.inc(VmEvent.UNEVICTABLE_PGS_MUNLOCKED, run.n)
    kernel.events.inc(VmEvent.UNEVICTABLE_PGS_RESCUED, run.n)
    file = run.space.kind == Kind.FILE or run.flags & PG.SWAPBACKED_CLEAN
    return move_to_list(run, Lru.INACTIVE_FILE if file else Lru.INACTIVE_ANON)


def clear_page_mlock(kernel: Kernel, run: Run) -> None:
    """A locked page is freed."""
    if run.flags & PG.MLOCKED:
        kernel.events.inc(VmEvent.UNEVICTABLE_PGS_CLEARED, run.n)
