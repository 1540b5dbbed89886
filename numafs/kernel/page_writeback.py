# SPDX-License-Identifier: MIT
"""Dirty pages and their way to the disk: mm/page-writeback.c, fs/fs-writeback.c (v6.1).

The flusher is an event of the clock: it wakes `dirty_writeback_centisecs` after the first page became
dirty, or at once when there are too many, writes in pieces at the speed of the disk, and sleeps when
nothing is old enough.

Simplified: one flusher and one bandwidth for all disks; a throttled writer waits for the disk, not by the
control line of balance_dirty_pages().
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from . import page_alloc
from .backing_dev import WritebackIo
from .mm_inline import add_to_tail, change, del_from_list
from .page import PG, Kind
from .vmstat import NodeStat, VmEvent, mod_node_page_state

if TYPE_CHECKING:
    from .filemap import Inode
    from .kernel import Kernel
    from .mmzone import Pgdat
    from .page import Run
    from .page_alloc import Placement

__all__ = [
    "WRITE_STRETCH", "balance_dirty_pages", "dirty_batch", "dirty_pages", "global_dirty_limits", "node_dirty_ok",
    "read_io", "sync", "wait_on_writeback", "wakeup_flusher_threads", "wb_start_background_writeback",
    "write_inode_now", "write_stretch",
]

WRITE_STRETCH = 256
"""Pages that a writer dirties before it looks at the limits again, when it is near them."""
LONG_STRETCH = 8192
MIN_WRITEBACK_PAGES = 1024
CENTISEC = 10_000_000
PAUSE_NS = 10_000_000
MOST_PAUSES = 20_000


# ---------------------------------------------------------------- limits


def _ratio(kernel: Kernel, percent: int, total: int) -> int:
    """A share of `total`, with the rounding of domain_dirty_limits()."""
    size = kernel.machine.page_size
    return percent * size // 100 * total // size


def global_dirty_limits(kernel: Kernel) -> tuple[int, int]:
    """(background threshold, threshold) in pages: mm/page-writeback.c:domain_dirty_limits() (v6.1)."""
    vm, size = kernel.vm, kernel.machine.page_size
    total = page_alloc.global_dirtyable_memory(kernel)
    limit = -(-vm.dirty_bytes // size) if vm.dirty_bytes else _ratio(kernel, vm.dirty_ratio, total)
    background = (
        -(-vm.dirty_background_bytes // size)
        if vm.dirty_background_bytes
        else _ratio(kernel, vm.dirty_background_ratio, total)
    )
    return (limit // 2 if background >= limit else background), limit


def node_dirtyable_memory(pgdat: Pgdat) -> int:
    """Pages of a node that could hold dirty page cache."""
    free = pgdat.free
    free -= min(free, pgdat.totalreserve_pages)
    return free + pgdat.stat[NodeStat.NR_INACTIVE_FILE] + pgdat.stat[NodeStat.NR_ACTIVE_FILE]


def node_dirty_limit(kernel: Kernel, pgdat: Pgdat) -> int:
    """Most dirty pages that a node should hold: its share of the limit."""
    vm = kernel.vm
    memory = node_dirtyable_memory(pgdat)
    if vm.dirty_bytes:
        total = page_alloc.global_dirtyable_memory(kernel) or 1
        return -(-vm.dirty_bytes // kernel.machine.page_size) * memory // total
    return vm.dirty_ratio * memory // 100


def _node_dirty(pgdat: Pgdat) -> int:
    return pgdat.stat[NodeStat.NR_DIRTY] + pgdat.stat[NodeStat.NR_WRITEBACK]


def node_dirty_ok(kernel: Kernel, pgdat: Pgdat) -> bool:
    """May a page that will be dirtied go to this node? mm/page-writeback.c:node_dirty_ok() (v6.1)."""
    return _node_dirty(pgdat) <= node_dirty_limit(kernel, pgdat)


def dirty_batch(kernel: Kernel, where: Placement, want: int) -> int:
    """How many of `want` pages to write may be allocated before the node's limit must be looked at again."""
    pgdat = kernel.nodes[where.nid]
    return max(1, min(want, max(WRITE_STRETCH, node_dirty_limit(kernel, pgdat) - _node_dirty(pgdat))))


def write_stretch(kernel: Kernel) -> int:
    """How many pages may be dirtied before the machine's limits must be looked at again."""
    room = global_dirty_limits(kernel)[0] - _sum(kernel, NodeStat.NR_DIRTY)
    return max(WRITE_STRETCH, min(LONG_STRETCH, room // 16))


def _sum(kernel: Kernel, item: NodeStat) -> int:
    return sum(pgdat.stat[item] for pgdat in kernel.nodes)


# ---------------------------------------------------------------- becoming dirty


def dirty_pages(kernel: Kernel, run: Run) -> None:
    """Pages of a file become dirty: mm/page-writeback.c:folio_account_dirtied() (v6.1)."""
    if run.flags & PG.DIRTY:
        return
    change(run, set=PG.DIRTY)
    if run.space.kind != Kind.FILE:
        return
    mod_node_page_state(run.zone.pgdat, NodeStat.NR_DIRTIED, run.n)
    inode = run.space.inode
    if inode is None:
        return
    if inode not in kernel.dirty_inodes:
        inode.dirtied_when = kernel.clock.now
        kernel.dirty_inodes[inode] = None
    _arm(kernel)


def _arm(kernel: Kernel) -> None:
    """wb_wakeup_delayed(): the flusher looks again after dirty_writeback_centisecs; with 0 it never does."""
    wb, interval = kernel.writeback, kernel.vm.dirty_writeback_centisecs * CENTISEC
    if wb.timer is None and interval:
        wb.timer = kernel.clock.after(interval, "flusher", partial(_wb_workfn, kernel))


def wakeup_flusher_threads(kernel: Kernel) -> None:
    """Reclaim found nothing but dirty pages: let the flusher write every one (fs/fs-writeback.c, v6.1)."""
    if not kernel.writeback.start_all:
        kernel.writeback.start_all = True
        _wake(kernel)


def wb_start_background_writeback(kernel: Kernel) -> None:
    """Let the flusher look at once, if it does not already write."""
    if not kernel.writeback.ios:
        _wake(kernel)


def _wake(kernel: Kernel) -> None:
    wb = kernel.writeback
    if wb.timer is not None:
        if wb.timer.due <= kernel.clock.now:
            return
        wb.timer.cancel()
    wb.timer = kernel.clock.after(0, "flusher", partial(_wb_workfn, kernel))


# ---------------------------------------------------------------- the flusher


def _wb_workfn(kernel: Kernel) -> None:
    """fs/fs-writeback.c:wb_workfn() (v6.1): write what is old, and as long as there is too much."""
    wb = kernel.writeback
    wb.timer = None
    expired = kernel.clock.now - kernel.vm.dirty_expire_centisecs * CENTISEC
    everything, wb.start_all = wb.start_all, False
    for inode in [i for i in kernel.dirty_inodes if everything or i.dirtied_when <= expired]:
        _start_writeback(kernel, inode, inode.space.nrpages)
    if not wb.ios and over_bground_thresh(kernel):
        for inode in list(kernel.dirty_inodes):
            if _start_writeback(kernel, inode, writeback_chunk_size(kernel)):
                break
    if kernel.dirty_inodes and not wb.ios:
        _arm(kernel)


def writeback_chunk_size(kernel: Kernel) -> int:
    """Pages that the flusher gives to the disk at once: an eighth of the dirty limit (fs/fs-writeback.c, v6.1)."""
    pages = global_dirty_limits(kernel)[1] // 8 + MIN_WRITEBACK_PAGES
    return pages // MIN_WRITEBACK_PAGES * MIN_WRITEBACK_PAGES


def over_bground_thresh(kernel: Kernel) -> bool:
    """Are there more dirty pages than the flusher lets be?"""
    return _sum(kernel, NodeStat.NR_DIRTY) > global_dirty_limits(kernel)[0]


def _start_writeback(kernel: Kernel, inode: Inode, most: int) -> int:
    """Give the disk up to `most` dirty pages of a file, lowest first; they are under writeback until it has them."""
    n, ios = 0, []
    for run in sorted((r for r in inode.space.runs() if r.flags & PG.DIRTY and r.resident), key=_first_page):
        if n >= most:
            break
        part = run.indexes()[: most - n]
        for piece in inode.space.pieces(part):
            n += piece.n
            change(piece, clear=PG.DIRTY, set=PG.WRITEBACK)
        ios.append(WritebackIo(inode, part.start, part[-1] + 1))
    _forget_clean(kernel, inode)
    kernel.events.inc(VmEvent.PGPGOUT, n * kernel.machine.page_size // 1024)
    if not n:
        return 0
    wb, clock = kernel.writeback, kernel.clock
    wb.busy_until = max(wb.busy_until, clock.now) + _write_ns(kernel, n)
    for io in ios:
        wb.ios[io] = None
        io.done = clock.after(wb.busy_until - clock.now, "writeback", partial(_io_done, kernel, io))
    return n


def _first_page(run: Run) -> int:
    return run.indexes().start


def _forget_clean(kernel: Kernel, inode: Inode) -> None:
    if not any(r.flags & PG.DIRTY for r in inode.space.runs()):
        kernel.dirty_inodes.pop(inode, None)


def _io_done(kernel: Kernel, io: WritebackIo) -> None:
    _end_writeback(kernel, io)
    if not kernel.writeback.ios:
        _wb_workfn(kernel)


def _end_writeback(kernel: Kernel, io: WritebackIo) -> None:
    """folio_end_writeback(): the disk has the pages; those that reclaim waits for go to the old end of their list."""
    if kernel.writeback.ios.pop(io, 0) == 0:
        return
    if io.done is not None:
        io.done.cancel()
    for run in io.inode.space.cut(io.start, io.stop):
        if not run.resident or not run.flags & PG.WRITEBACK:
            continue
        mod_node_page_state(run.zone.pgdat, NodeStat.NR_WRITTEN, run.n)
        rotate = run.flags & PG.RECLAIM
        change(run, clear=PG.WRITEBACK | PG.RECLAIM)
        if rotate:
            lru = run.lru
            del_from_list(run)
            add_to_tail(run, lru)
            kernel.events.inc(VmEvent.PGROTATED, run.n)


# ---------------------------------------------------------------- writers wait


def balance_dirty_pages(kernel: Kernel, written: int) -> None:
    """A writer has dirtied `written` pages: wake the flusher over the background threshold, wait over the limit.

    mm/page-writeback.c:balance_dirty_pages() (v6.1).
    """
    latency = kernel.machine.latency
    kernel.clock.advance(written * (latency.fault_ns + latency.copy_page_ns))
    for _ in range(MOST_PAUSES):
        background, limit = global_dirty_limits(kernel)
        dirty = _sum(kernel, NodeStat.NR_DIRTY)
        if dirty > background:
            wb_start_background_writeback(kernel)
        dirty += _sum(kernel, NodeStat.NR_WRITEBACK)
        if dirty <= (background + limit) // 2:
            return
        if dirty <= limit:
            kernel.clock.advance(_write_ns(kernel, written))
            return
        before = kernel.clock.now
        kernel.clock.advance(PAUSE_NS)
        if kernel.clock.now == before or not kernel.writeback.ios:
            return


def _write_ns(kernel: Kernel, n: int) -> int:
    disks = kernel.machine.disks
    mb_s = disks[0].write_mb_s if disks else 1000
    latency = disks[0].latency_ns if disks else 0
    return n * kernel.machine.page_size * 1000 // mb_s + latency


def read_io(kernel: Kernel, n: int) -> None:
    """`n` pages were read from a disk: it took its time."""
    if not n:
        return
    disks = kernel.machine.disks
    kernel.events.inc(VmEvent.PGPGIN, n * kernel.machine.page_size // 1024)
    mb_s = disks[0].read_mb_s if disks else 2000
    latency = disks[0].latency_ns if disks else 0
    kernel.clock.advance(n * kernel.machine.page_size * 1000 // mb_s + latency)


# ---------------------------------------------------------------- sync


def write_inode_now(kernel: Kernel, inode: Inode) -> None:
    """Write all dirty pages of a file and wait until the disk has them."""
    n = _start_writeback(kernel, inode, inode.space.nrpages)
    if n:
        kernel.clock.advance(max(0, kernel.writeback.busy_until - kernel.clock.now))
    for io in [io for io in kernel.writeback.ios if io.inode is inode]:
        _end_writeback(kernel, io)


def wait_on_writeback(kernel: Kernel, inode: Inode, start: int, stop: int) -> None:
    """Wait for pages of [start, stop) that are on their way to the disk."""
    for io in [io for io in kernel.writeback.ios if io.inode is inode and io.start < stop and io.stop > start]:
        if io.done is not None:
            kernel.clock.advance(max(0, io.done.due - kernel.clock.now))
        _end_writeback(kernel, io)


def sync(kernel: Kernel) -> None:
    """sync(2): every file."""
    for inode in [*kernel.dirty_inodes, *(io.inode for io in kernel.writeback.ios)]:
        write_inode_now(kernel, inode)
