# SPDX-License-Identifier: MIT
"""Read-ahead: how much more than asked is read. mm/readahead.c, mm/filemap.c:do_sync_mmap_readahead() (v6.1).

Simplified: context read-ahead (pages before the missing one make a random read look sequential)
and congestion do not exist. Programs are taken to read in requests of one size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import filemap

if TYPE_CHECKING:
    from .filemap import Inode
    from .kernel import Kernel
    from .mm import Task

__all__ = ["FileRaState", "RA_BYTES", "force_page_cache_ra", "mmap_readahead", "page_cache_ra", "ra_pages"]

RA_BYTES = 128 << 10
"""VM_READAHEAD_PAGES, in bytes: read_ahead_kb of a disk."""


def ra_pages(kernel: Kernel) -> int:
    """Pages that one read-ahead reads at most."""
    return RA_BYTES // kernel.machine.page_size


@dataclass(slots=True)
class FileRaState:
    """Read-ahead of an open file (struct file_ra_state): the window [start, start + size)."""

    start: int = 0
    size: int = 0
    async_size: int = 0
    prev_page: int = -2
    """Page that was read last; -2 before the first, so that page 0 does not follow it."""

    def async_due(self, inode: Inode, start: int, stop: int) -> bool:
        """Will reading the cached pages [start, stop) come across a mark of read-ahead?"""
        return any(start <= mark < stop for mark in inode.ra_marks)


def page_cache_ra(
    kernel: Kernel, task: Task, inode: Inode, ra: FileRaState, start: int, stop: int, request: int
) -> None:
    """Read [start, stop) in requests of `request` pages, with the read-ahead that this causes.

    mm/readahead.c:ondemand_readahead() (v6.1).
    """
    page = start
    end = filemap.size_in_pages(kernel, inode)
    while page < stop:
        marks = [mark for mark in inode.ra_marks if page <= mark < stop]
        gap = inode.space.missing(page, stop)
        first = min([a for a, _ in gap[:1]] + marks, default=stop)
        if first >= stop:
            return
        marked = first in inode.ra_marks
        inode.ra_marks.discard(first)
        if first > page:
            ra.prev_page = first - 1
        wanted = min(request - (first - start) % request, stop - first)
        _ondemand_readahead(kernel, ra, first, wanted, marked)
        _bulk(kernel, ra, stop)
        filemap.read_pages(kernel, task, inode, first, ra.start + ra.size)
        # What was read and is gone again already is not read twice: go on behind it, or at its mark.
        page = ra.start + ra.size
        if ra.async_size and page - ra.async_size < end:
            page -= ra.async_size
            inode.ra_marks.add(page)


def _ondemand_readahead(kernel: Kernel, ra: FileRaState, page: int, wanted: int, marked: bool) -> None:
    """Choose the next window; `wanted` pages were asked for at `page`, on whose mark (or absence) we are."""
    most = ra_pages(kernel)
    expected = ra.size and page in (ra.start + ra.size - ra.async_size, ra.start + ra.size)
    if page and expected:
        ra.start += ra.size
        ra.size = _next_ra_size(ra.size, most)
        ra.async_size = ra.size
    elif marked:
        ra.start = page + 1
        ra.size = _next_ra_size(wanted, most)
        ra.async_size = ra.size
    elif page == 0 or wanted > most or page - ra.prev_page in (0, 1):
        ra.start = page
        ra.size = _init_ra_size(wanted, most)
        ra.async_size = ra.size - wanted if ra.size > wanted else ra.size
    else:
        ra.start, ra.size, ra.async_size = page, wanted, 0


def _bulk(kernel: Kernel, ra: FileRaState, stop: int) -> None:
    """A long sequential read moves whole windows on: stretch the window to the last that it will cause."""
    most = ra_pages(kernel)
    if ra.size != most or not ra.async_size:
        return
    mark = ra.start + ra.size - ra.async_size
    if mark >= stop:
        return
    behind = ra.start + ra.size
    more = (stop - 1 - behind) // most + 1 if stop > behind else 0
    ra.start = behind + more * most
    ra.size = ra.async_size = most


def _init_ra_size(wanted: int, most: int) -> int:
    """get_init_ra_size(): 4x for a small request, 2x for a middling one, else all."""
    size = 1 << (wanted - 1).bit_length()
    if size <= most // 32:
        return size * 4
    if size <= most // 4:
        return size * 2
    return most


def _next_ra_size(size: int, most: int) -> int:
    """get_next_ra_size(): 4x while small, then 2x, up to all."""
    if size < most // 16:
        return 4 * size
    return 2 * size if size <= most // 2 else most


def force_page_cache_ra(kernel: Kernel, task: Task, inode: Inode, start: int, stop: int) -> None:
    """Read [start, stop) whatever read-ahead thinks of it: fadvise and madvise WILLNEED (v6.1)."""
    filemap.read_pages(kernel, task, inode, start, stop)


def mmap_readahead(kernel: Kernel, task: Task, inode: Inode, start: int, stop: int) -> int:
    """Faults on pages [start, stop) of a mapped file, in order: read around each that is missing.

    Returns how many of them had to wait for the disk. mm/filemap.c:do_sync_mmap_readahead() (v6.1).
    """
    gap = inode.space.missing(start, stop)
    if not gap:
        return 0
    most = ra_pages(kernel)
    major = 0
    page = start
    for a, b in gap:
        page = max(page, a)
        while page < b:
            behind = _around(page, most)
            whole = behind + max(0, (b - behind - 1) // (most // 2) + 1) * (most // 2) if b > behind else behind
            major += 1 + (whole - behind) // (most // 2)
            filemap.read_pages(kernel, task, inode, max(0, page - most // 2), whole)
            page = whole
    return major


def _around(page: int, most: int) -> int:
    """Where the window around a missing page ends."""
    return max(0, page - most // 2) + most
