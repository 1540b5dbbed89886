# SPDX-License-Identifier: MIT
"""Page tables: the pages that hold an address space's page table entries.

Three levels of them are counted: a PTE page covers 512 pages, a PMD page 512 of those, a PUD page
512 of those. They are kept as stretches of neighbours that lie in one zone; `pgalloc` makes and frees them.
include/linux/mm.h:pgtable_pte_page_ctor() (v6.1).

Simplified: an address space's top-level page (PGD) is not modelled, and a table has 512 entries whatever the page size.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .memcontrol import MemCgroup
    from .mmzone import Zone

__all__ = ["COUNTED", "LEVELS", "PageTables"]

SHIFT = 9
"""Bits of a page number that one level resolves."""
LEVELS = (SHIFT, 2 * SHIFT, 3 * SHIFT)
"""Pages that one page of each level covers, as a power of two: PTE, PMD, PUD."""
COUNTED = LEVELS[:2]
"""Levels that NR_PAGE_TABLE_PAGES counts: PUD pages are plain pages in v6.1."""

Stretch = tuple[int, int, "Zone", "MemCgroup | None"]


class PageTables:
    """Page-table pages of an address space.

    For each level the stretches [first, last) of neighbours in one zone that are charged to the same group.
    """

    __slots__ = ("levels",)

    def __init__(self) -> None:
        self.levels: dict[int, list[Stretch]] = {shift: [] for shift in LEVELS}

    def missing(self, shift: int, first: int, last: int) -> list[tuple[int, int]]:
        """Stretches of the indexes [first, last) of a level for which there is no page."""
        out = []
        for a, b, _, _ in self._over(shift, first, last):
            if a > first:
                out.append((first, a))
            first = max(first, b)
        if first < last:
            out.append((first, last))
        return out

    def add(self, shift: int, first: int, last: int, zone: Zone, memcg: MemCgroup | None = None) -> None:
        """Enter pages that were missing."""
        where = zone, memcg
        stretches = self.levels[shift]
        i = bisect_left(stretches, first, key=lambda s: s[0])
        if i and stretches[i - 1][1] == first and stretches[i - 1][2:] == where:
            i -= 1
            first = stretches.pop(i)[0]
        if i < len(stretches) and stretches[i][0] == last and stretches[i][2:] == where:
            last = stretches.pop(i)[1]
        stretches.insert(i, (first, last, *where))

    def take(self, shift: int, first: int, last: int) -> list[tuple[Zone, MemCgroup | None, int]]:
        """Remove the pages with indexes [first, last) of a level; returns how many lay where, charged to whom."""
        taken = []
        for stretch in self._over(shift, first, last):
            a, b, zone, memcg = stretch
            i = self.levels[shift].index(stretch)
            left = [(x, y, zone, memcg) for x, y in ((a, first), (last, b)) if x < y]
            self.levels[shift][i : i + 1] = left
            taken.append((zone, memcg, min(b, last) - max(a, first)))
        return taken

    def pages(self) -> list[tuple[Zone, int, int]]:
        """Zone, level and number of the pages of each stretch."""
        return [(zone, shift, b - a) for shift, level in self.levels.items() for a, b, zone, _ in level]

    def _over(self, shift: int, first: int, last: int) -> list[Stretch]:
        level = self.levels[shift]
        i = bisect_left(level, first, key=lambda s: s[1] - 1)
        j = bisect_left(level, last, lo=i, key=lambda s: s[0])
        return level[i:j]
