# SPDX-License-Identifier: MIT
"""From pages to the page tables that map them: mm/rmap.c (v6.1).

Simplified: a page has one accessed bit, not one in each page table that maps it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .mm_inline import change
from .page import PG, Kind, stretches

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Vma
    from .page import Run, Space

__all__ = ["VmFlags", "cut_at_mappers", "folio_referenced", "mappings", "ptes_covering", "try_to_unmap", "vm_flags"]


@dataclass(frozen=True, slots=True)
class VmFlags:
    """What the mappings of a page say together."""

    locked: bool
    exec_: bool


def mappings(space: Space, start: int, stop: int) -> Iterator[tuple[Vma, int, int]]:
    """Mappings of the pages [start, stop) of `space`: VMA, and the stretch of its addresses."""
    for vma in tuple(space.mappers):
        delta = vma.delta_of(space)
        for segment, a, b in vma.present(start + delta, stop + delta):
            if segment.space is space:
                yield vma, a, b


def _bounds(run: Run) -> tuple[int, int]:
    pages = run.indexes()
    return pages.start, pages[-1] + 1


def vm_flags(run: Run) -> VmFlags:
    """Is it mapped by a locked VMA, by an executable one (the vm_flags of folio_referenced())?"""
    start, stop = _bounds(run)
    vmas = [vma for vma, _, _ in mappings(run.space, start, stop)]
    return VmFlags(any(v.locked for v in vmas), any(v.exec_ for v in vmas))


def folio_referenced(run: Run) -> int:
    """Page table entries that say accessed; the answer clears them."""
    if not run.flags & PG.YOUNG:
        return 0
    change(run, clear=PG.YOUNG)
    return 1


def ptes_covering(space: Space, start: int, stop: int) -> int:
    """How many page tables have entries for the pages [start, stop), present or swapped, where all have the same."""
    return sum(1 for _ in mappings(space, start, stop))


def cut_at_mappers(space: Space, start: int, stop: int) -> None:
    """Split the runs of [start, stop) where a mapping of them begins or ends."""
    for vma, a, b in mappings(space, start, stop):
        delta = vma.delta_of(space)
        for edge in (a - delta, b - delta):
            if start < edge < stop:
                space.split_at(edge)


def try_to_unmap(kernel: Kernel, run: Run) -> None:
    """No page table maps the pages of `run` any more.

    The entries of anonymous pages stay and stand for the swap entry that the caller makes of the run;
    lazily freed and file pages leave none behind. mm/rmap.c:try_to_unmap_one() (v6.1).
    """
    leaves_entry = run.space.kind == Kind.ANON and not (run.flags & PG.SWAPBACKED_CLEAN and not run.flags & PG.DIRTY)
    if not leaves_entry:
        start, stop = _bounds(run)
        for a, b in stretches([run.indexes()], start, stop):
            for vma, x, y in list(mappings(run.space, a, b)):
                vma.unmap(x, y)
    change(run, clear=PG.YOUNG | PG.EXEC | PG.PROT_NONE, mapcount=0)
