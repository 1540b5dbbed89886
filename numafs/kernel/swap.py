# SPDX-License-Identifier: MIT
"""Swap areas, and how pages move between LRU lists on a caller's word.

mm/swapfile.c and mm/swap.c (v6.1).

Simplified: an area counts its slots, it does not say which page is in which slot; clusters, discard,
and the per-node preference of areas of one priority do not exist.
Simplified: pages move between lists at once; the batches of 15 of each CPU do not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import EBUSY, EINVAL
from .mm_inline import change, move_to_list
from .mmzone import Lru
from .page import PG, Kind, Run
from .vmstat import VmEvent
from .workingset import workingset_age_nonresident

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = [
    "SwapArea", "deactivate_page", "folio_activate", "folio_mark_accessed", "get_swap_pages", "mark_page_lazyfree",
    "nr_swap_pages", "swap_free", "swapoff", "swapon", "total_swap_pages", "vm_swap_full",
]


class SwapArea:
    """A partition or file that pages are swapped to (struct swap_info_struct)."""

    def __init__(self, path: str, pages: int, priority: int | None = None, partition: bool = True) -> None:
        self.path = path
        self.pages = pages
        """Slots, without the header page."""
        self.priority = -1 if priority is None else priority
        self.asked = priority
        """The priority that somebody chose for it; None lets the kernel choose a negative one."""
        self.partition = partition
        self.used = 0

    @property
    def free(self) -> int:
        """Slots that hold nothing."""
        return self.pages - self.used

    def __repr__(self) -> str:
        return f"<swap {self.path} {self.used}/{self.pages}>"


def swapon(kernel: Kernel, area: SwapArea) -> None:
    """Use an area; without a priority it comes after all others (mm/swapfile.c:swapon(), v6.1)."""
    if any(other.path == area.path for other in kernel.swap_areas):
        raise EBUSY(f"{area.path} is a swap area already")
    if area.asked is None:
        area.priority = min([-1, *(other.priority for other in kernel.swap_areas)]) - 1
    kernel.swap_areas.append(area)


def swapoff(kernel: Kernel, path: str) -> None:
    """Stop using an empty area.

    Simplified: swapoff(2) reads the pages of an area back first; here it is refused while it holds any.
    """
    for area in kernel.swap_areas:
        if area.path == path:
            if area.used:
                raise EBUSY(f"{path} holds {area.used} pages")
            kernel.swap_areas.remove(area)
            return
    raise EINVAL(f"{path} is not a swap area")


def total_swap_pages(kernel: Kernel) -> int:
    """Slots of all areas."""
    return sum(area.pages for area in kernel.swap_areas)


def nr_swap_pages(kernel: Kernel) -> int:
    """Free slots of all areas."""
    return sum(area.free for area in kernel.swap_areas)


def vm_swap_full(kernel: Kernel) -> bool:
    """Is more than half of the swap space used, so that copies of resident pages should go?"""
    return nr_swap_pages(kernel) * 2 < total_swap_pages(kernel)


def get_swap_pages(kernel: Kernel, n: int) -> tuple[SwapArea, int] | None:
    """Take 1..n slots of the area with the highest priority that has any; areas of equal priority take turns.

    mm/swapfile.c:get_swap_pages() (v6.1).
    """
    usable = [area for area in kernel.swap_areas if area.free]
    if not usable:
        return None
    area = max(usable, key=lambda a: a.priority)
    if any(a.priority == area.priority for a in usable if a is not area):
        kernel.swap_areas.remove(area)
        kernel.swap_areas.append(area)
    count = min(n, area.free)
    area.used += count
    return area, count


def swap_free(kernel: Kernel, area: SwapArea, n: int) -> None:
    """Give `n` slots back."""
    area.used -= n


# ---------------------------------------------------------------- mm/swap.c


def folio_mark_accessed(kernel: Kernel, run: Run) -> Run:
    """Somebody read or wrote the pages: unreferenced -> referenced -> active. Returns what they are part of.

    mm/swap.c:folio_mark_accessed() (v6.1).
    """
    if not run.flags & PG.REFERENCED:
        change(run, set=PG.REFERENCED)
        return run
    if run.lru not in (Lru.INACTIVE_ANON, Lru.INACTIVE_FILE):
        return run
    change(run, clear=PG.REFERENCED)
    workingset_age_nonresident(run.zone.pgdat, run.n)
    return folio_activate(kernel, run)


def folio_activate(kernel: Kernel, run: Run) -> Run:
    """Pages of an inactive list become the youngest of the active one (mm/swap.c:folio_activate(), v6.1)."""
    if run.lru not in (Lru.INACTIVE_ANON, Lru.INACTIVE_FILE):
        return run
    kernel.events.inc(VmEvent.PGACTIVATE, run.n)
    return move_to_list(run, run.lru + 1)


def deactivate_page(kernel: Kernel, run: Run) -> Run:
    """Active pages become the youngest inactive ones, unreferenced: MADV_COLD (mm/swap.c:lru_deactivate_fn(), v6.1)."""
    if run.lru not in (Lru.ACTIVE_ANON, Lru.ACTIVE_FILE):
        return run
    kernel.events.inc(VmEvent.PGDEACTIVATE, run.n)
    change(run, clear=PG.REFERENCED)
    return move_to_list(run, run.lru - 1)


def mark_page_lazyfree(kernel: Kernel, run: Run) -> Run:
    """Clean anonymous pages go to the inactive file list, from where they are dropped: MADV_FREE.

    mm/swap.c:lru_lazyfree_fn() (v6.1).
    """
    if run.space.kind != Kind.ANON or run.swap is not None or run.lru not in (Lru.INACTIVE_ANON, Lru.ACTIVE_ANON):
        return run
    kernel.events.inc(VmEvent.PGLAZYFREE, run.n)
    change(run, set=PG.SWAPBACKED_CLEAN, clear=PG.REFERENCED)
    return move_to_list(run, Lru.INACTIVE_FILE)
