# SPDX-License-Identifier: MIT
"""Moving pages from node to node: migrate_pages(2), move_pages(2), and what cpusets and mbind() need of them.

mm/migrate.c and mm/mempolicy.c:do_migrate_pages() (v6.1). The pages of a stretch are moved in
one go: what costs is the runs.

Simplified: hugetlb pages are not moved.
Simplified: pages are not taken off their list while they wait to be moved, so no NR_ISOLATED; a page that several
lanes of one mapping have on the source node moves with its lane, not in strict address order.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import page, page_alloc
from .errors import EACCES, EINVAL, ENODEV, EPERM, ESRCH
from .gfp import GFP_MIGRATE, GFP_TRANSHUGE, Gfp
from .mempolicy import get_nodes
from .nodemask import Mask, list_text, members, nth, position, weight
from .page import PG, Kind, Lane, Run
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Mm, Task, Vma
    from .mmzone import Zone
    from .page_alloc import Placement

__all__ = [
    "HPAGE_PMD_NR", "HPAGE_PMD_ORDER", "MPOL_MF_MOVE", "MPOL_MF_MOVE_ALL", "Piece", "do_migrate_pages", "may_read",
    "migrate_pages", "migrate_piece", "migration_pairs", "move_pages", "pieces_of", "vma_migratable",
]

MPOL_MF_MOVE = 2
MPOL_MF_MOVE_ALL = 4

HPAGE_PMD_ORDER = 9
HPAGE_PMD_NR = 512


@dataclass(frozen=True, slots=True)
class Piece:
    """The lane positions [a, b) of one mapping: what is to be moved, however its runs change meanwhile."""

    lane: Lane
    a: int
    b: int


# ---------------------------------------------------------------- from nodes to nodes


def migration_pairs(old: Mask, new: Mask, among: Mask) -> Iterator[tuple[int, int]]:
    """(source, destination) in the order in which they are emptied; only sources in `among` are of interest.

    A page on the k-th node of `old` goes to the (k mod n)-th of the n nodes of `new`; sets of unequal size leave
    alone what is in `new` already. A pair whose destination will not be emptied later goes first, so that no page
    moves twice where that can be avoided. mm/mempolicy.c:do_migrate_pages() (v6.1).
    """
    if not new:
        return
    left = old & among
    same_size = weight(old) == weight(new)
    while left:
        pair = None
        for source in members(left):
            if not same_size and new >> source & 1:
                continue
            destination = nth(new, position(old, source) % weight(new))
            if destination == source:
                continue
            pair = source, destination
            if not left >> destination & 1:
                break
        if pair is None:
            return
        left &= ~(1 << pair[0])
        yield pair


def do_migrate_pages(kernel: Kernel, caller: Task | None, mm: Mm, old: Mask, new: Mask, move_all: bool) -> int:
    """Move an address space's pages from the nodes `old` to their places in `new`.

    Returns how many could not be moved. A destination without room ends it: -ENOMEM; what was moved stays moved.
    """
    failed = 0
    for source, destination in migration_pairs(old, new, kernel.node_possible):
        try:
            failed += migrate_to_node(kernel, caller, mm, source, destination, move_all)
        except OSError as no_memory:
            if no_memory.errno != errno.ENOMEM:
                raise
            return -errno.ENOMEM
    return failed


def migrate_to_node(kernel: Kernel, caller: Task | None, mm: Mm, source: int, destination: int, move_all: bool) -> int:
    """Move what an address space has on node `source`, in the order of its addresses."""
    pieces = [
        piece
        for vma in mm.vmas
        if vma_migratable(vma)
        for piece in pieces_of(vma, vma.start, vma.stop, ~(1 << source), move_all)
    ]
    where = page_alloc.Placement(destination)
    return sum(migrate_piece(kernel, caller, piece, where, GFP_MIGRATE) for piece in pieces)


def vma_migratable(vma: Vma) -> bool:
    """Not the pages of vdso and vvar."""
    return not vma.special


def pieces_of(vma: Vma, start: int, stop: int, right: Mask, move_all: bool) -> Iterator[Piece]:
    """What page tables of [start, stop) map on nodes outside `right` and may be moved (queue_pages_range)."""
    for segment, a, b in vma.present(start, stop):
        for run, first, last in segment.space.find(a - segment.delta, b - segment.delta):
            if movable(run, move_all) and not right >> run.zone.pgdat.nid & 1:
                yield Piece(run.lane, first, last)


def movable(run: Run, move_all: bool) -> bool:
    """Is it in memory and mapped, and not by others too unless these don't matter?"""
    return run.resident and (run.mapcount == 1 or move_all and run.mapcount > 1)


# ---------------------------------------------------------------- the mover


def migrate_piece(kernel: Kernel, caller: Task | None, piece: Piece, where: Placement, gfp: Gfp) -> int:
    """Give the pages of `piece` new ones where `where` says; returns how many were not moved.

    Raises ENOMEM when no page can be had (migrate_pages in mm/migrate.c); the state of the pages stays.
    """
    if piece.lane.space.kind == Kind.HUGETLB:
        return piece.b - piece.a
    a = piece.a
    while a < piece.b:
        run = page.find_run(piece.lane, a)
        stop = min(run.b, piece.b) if run else piece.b
        if run is None or not run.resident:
            a = stop if run else _next_run(piece, a)
        elif run.flags & PG.THP:
            a = _migrate_huge(kernel, caller, Piece(piece.lane, a, stop), where)
        else:
            a = _migrate_base(kernel, caller, Piece(piece.lane, a, stop), where, gfp)
    return 0


def _next_run(piece: Piece, a: int) -> int:
    """Where behind `a` the lane has pages again."""
    gaps = page.lane_gaps(piece.lane, a, piece.b)
    return gaps[0][1]


def _migrate_base(kernel: Kernel, caller: Task | None, piece: Piece, where: Placement, gfp: Gfp) -> int:
    """Move the first pages of `piece`, as many as one zone gives; returns the position behind them."""
    try:
        zone, n = page_alloc.alloc_pages(kernel, caller, gfp, where, piece.b - piece.a)
    except OSError:
        kernel.events.inc(VmEvent.PGMIGRATE_FAIL)
        raise
    stop = piece.a + n
    moved = move_to(kernel, Piece(piece.lane, piece.a, stop), zone)
    if moved < n:
        page_alloc.free_pages(kernel, zone, n - moved)
    return stop


def move_to(kernel: Kernel, piece: Piece, zone: Zone) -> int:
    """The pages of `piece` live in `zone` now; what they had is freed. Returns how many there were."""
    moved = 0
    for run in page.cut(piece.lane, piece.a, piece.b):
        if not run.resident or run.zone is zone:
            continue
        old, n = run.zone, run.n
        page.to_zone(run, zone)
        page_alloc.free_pages(kernel, old, n)
        moved += n
        kernel.events.inc(VmEvent.PGMIGRATE_SUCCESS, n)
        _copied(kernel, old, zone, n)
    return moved


def _copied(kernel: Kernel, old: Zone, new: Zone, n: int) -> None:
    """Copying takes its time, by distance."""
    distance = old.pgdat.distance[new.pgdat.nid]
    kernel.clock.advance(n * kernel.machine.latency.copy_page_ns * distance // 10)


def _migrate_huge(kernel: Kernel, caller: Task | None, piece: Piece, where: Placement) -> int:
    """Move transparent huge pages whole; if there is none to be had, the first is split and goes on as pages."""
    start = piece.a // HPAGE_PMD_NR * HPAGE_PMD_NR
    blocks = -(-(piece.b - start) // HPAGE_PMD_NR)
    this_node = Gfp.THISNODE if where.nodemask is None and not where.interleave else Gfp(0)
    try:
        zone, n = page_alloc.alloc_pages(kernel, caller, GFP_TRANSHUGE | this_node, where, blocks, HPAGE_PMD_ORDER)
    except OSError:
        return _split_huge(kernel, piece.lane, start, piece.a)
    moved = move_to(kernel, Piece(piece.lane, start, start + n * HPAGE_PMD_NR), zone)
    kernel.events.inc(VmEvent.THP_MIGRATION_SUCCESS, moved // HPAGE_PMD_NR)
    if moved < n * HPAGE_PMD_NR:
        page_alloc.free_pages(kernel, zone, n * HPAGE_PMD_NR - moved)
    return start + n * HPAGE_PMD_NR


def _split_huge(kernel: Kernel, lane: Lane, start: int, at: int) -> int:
    """Make the huge page at `start` ordinary pages; the mover comes back to them at `at`."""
    for run in page.cut(lane, start, start + HPAGE_PMD_NR):
        if run.flags & PG.THP:
            page.change(run, clear=PG.THP)
    kernel.events.inc(VmEvent.THP_MIGRATION_SPLIT)
    kernel.events.inc(VmEvent.THP_SPLIT_PAGE)
    return at


# ---------------------------------------------------------------- migrate_pages(2)


def may_read(caller: Task, target: Task) -> bool:
    """ptrace_may_access(PTRACE_MODE_READ_REALCREDS)."""
    return caller.uid == 0 or caller.uid == target.uid


def migrate_pages(kernel: Kernel, caller: Task, pid: int, old: Mask, new: Mask, maxnode: int) -> int:
    """migrate_pages(2): returns how many pages could not be moved; raises ENOMEM if a destination was full."""
    from .cpuset import cpuset_mems_allowed

    old, new = get_nodes(kernel, old, maxnode), get_nodes(kernel, new, maxnode)
    task = find_task(kernel, caller, pid)
    if new & ~cpuset_mems_allowed(kernel, task) and caller.uid:
        raise EPERM(f"nodes {list_text(new)} are not all among those of task {task.pid}")
    new &= cpuset_mems_allowed(kernel, caller)
    if not new:
        raise EINVAL("none of the nodes is among the caller's")
    if task.mm is None:
        raise EINVAL(f"task {task.pid} has no memory of its own")
    result = do_migrate_pages(kernel, caller, task.mm, old, new, move_all=caller.uid == 0)
    if result < 0:
        raise page_out_of_memory(new)
    return result


def page_out_of_memory(new: Mask) -> OSError:
    """The destination is full."""
    from .errors import ENOMEM

    return ENOMEM(f"no room on nodes {list_text(new)}")


def find_task(kernel: Kernel, caller: Task, pid: int) -> Task:
    """The task that a system call names; 0 is the caller."""
    task = kernel.tasks.get(pid) if pid else caller
    if task is None:
        raise ESRCH(f"no task {pid}")
    if not may_read(caller, task):
        raise EPERM(f"uid {caller.uid} may not look into task {pid}")
    return task


# ---------------------------------------------------------------- move_pages(2)


def move_pages(
    kernel: Kernel, caller: Task, pid: int, vpns: Sequence[int], nodes: Sequence[int] | None, flags: int
) -> tuple[int, list[int | None]]:
    """move_pages(2): (result, status of each page); a status of None was not written.

    A result above 0 counts pages not moved; a negative one is an errno that came when some pages had moved already.
    """
    from .cpuset import cpuset_mems_allowed

    if flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL):
        raise EINVAL(f"unknown flags {flags:#x}")
    if flags & MPOL_MF_MOVE_ALL and caller.uid:
        raise EPERM("MPOL_MF_MOVE_ALL is for root")
    task = find_task(kernel, caller, pid)
    if task.mm is None:
        raise EINVAL(f"task {task.pid} has no memory of its own")
    if nodes is None:
        return 0, [page_status(task.mm, vpn) for vpn in vpns]
    mover = _PagesMover(kernel, caller, task.mm, cpuset_mems_allowed(kernel, task), bool(flags & MPOL_MF_MOVE_ALL))
    return mover.move(vpns, nodes), mover.status


def page_status(mm: Mm, vpn: int) -> int:
    """The node of a page, -EFAULT or -ENOENT (do_pages_stat)."""
    found = follow_page(mm, vpn)
    return found if isinstance(found, int) else found[0].zone.pgdat.nid


def follow_page(mm: Mm, vpn: int) -> tuple[Run, int] | int:
    """The run and lane position of the page mapped at `vpn`; -EFAULT or -ENOENT if there is none.

    In anonymous memory what was never written is -EFAULT, what was swapped out -ENOENT (FOLL_DUMP).
    """
    vma = mm.find_vma(vpn)
    if vma is None or not vma_migratable(vma):
        return -errno.EFAULT
    for segment, a, _ in vma.present(vpn, vpn + 1):
        for run, at, _ in segment.space.find(a - segment.delta, a - segment.delta + 1):
            return (run, at) if run.resident and run.mapcount else -errno.ENOENT
    return -errno.EFAULT if vma.file is None else -errno.ENOENT


class _PagesMover:
    """One call of do_pages_move(): pages for the same node, one behind the other, are moved together."""

    def __init__(self, kernel: Kernel, caller: Task, mm: Mm, allowed: Mask, move_all: bool) -> None:
        self.kernel = kernel
        self.caller = caller
        self.mm = mm
        self.allowed = allowed
        self.move_all = move_all
        self.status: list[int | None] = []
        self.batch: list[Piece] = []
        self.batch_start = 0
        self.node = -1

    def move(self, vpns: Sequence[int], nodes: Sequence[int]) -> int:
        """The loop of do_pages_move(); returns what the system call does, or raises if nothing was done."""
        self.status = [None] * len(vpns)
        for i, (vpn, node) in enumerate(zip(vpns, nodes, strict=True)):
            bad = self._bad_node(node)
            if bad is not None:
                self._flush(i, len(vpns))
                raise bad
            if node != self.node:
                if result := self._flush(i, len(vpns)):
                    return result
                self.node, self.batch_start = node, i
            if (status := self._add(vpn)) is None:
                continue
            self.status[i] = status
            if result := self._flush(i, len(vpns)):
                return result - 1 if result > 0 else result
            self.node = -1
        return self._flush(len(vpns), len(vpns))

    def _bad_node(self, node: int) -> OSError | None:
        if not 0 <= node < self.kernel.machine.max_numnodes or not self.kernel.node_states_memory >> node & 1:
            return ENODEV(f"node {node} has no memory")
        if not self.allowed >> node & 1:
            return EACCES(f"node {node} is not among the task's {list_text(self.allowed)}")
        return None

    def _add(self, vpn: int) -> int | None:
        """Queue the page at `vpn`; what its status is if it need not or cannot move (add_page_for_migration)."""
        found = follow_page(self.mm, vpn)
        if isinstance(found, int):
            return found
        run, at = found
        if run.zone.pgdat.nid == self.node:
            return self.node
        if run.mapcount > 1 and not self.move_all:
            return -errno.EACCES
        last = self.batch[-1] if self.batch else None
        if any(piece.lane is run.lane and piece.a <= at < piece.b for piece in self.batch[-1:]):
            return -errno.EBUSY
        if last and last.lane is run.lane and last.b == at:
            self.batch[-1] = Piece(run.lane, last.a, at + 1)
        else:
            self.batch.append(Piece(run.lane, at, at + 1))
        return None

    def _flush(self, i: int, total: int) -> int:
        """Move what is queued, and enter its status (move_pages_and_store_status)."""
        batch, self.batch = self.batch, []
        if not batch:
            return 0
        try:
            failed = _migrate_all(self.kernel, self.caller, batch, page_alloc.Placement(self.node))
        except OSError as no_memory:
            return -(no_memory.errno or errno.ENOMEM)
        if failed:
            return failed + total - i
        for k in range(self.batch_start, i):
            self.status[k] = self.node
        return 0


def _migrate_all(kernel: Kernel, caller: Task, pieces: Iterable[Piece], where: Placement) -> int:
    return sum(migrate_piece(kernel, caller, piece, where, GFP_MIGRATE) for piece in pieces)

