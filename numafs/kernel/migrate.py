# SPDX-License-Identifier: MIT
"""Moving a task's pages from node to node: migrate_pages(2), move_pages(2), and what cpusets need of them.

mm/mempolicy.c:do_migrate_pages(), mm/migrate.c:do_pages_move() (v6.1). The mover itself is in `mover`.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from . import huge_memory, page_alloc
from .errors import EACCES, EINVAL, ENODEV, ENOMEM, EPERM, ESRCH
from .gfp import GFP_MIGRATE
from .mempolicy import get_nodes
from .mover import Piece, migrate_piece, pieces_of, vma_migratable
from .nodemask import Mask, list_text, members, nth, position, weight
from .page import PG, Kind, Lane, Run

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Mm, Task

__all__ = [
    "MPOL_MF_MOVE", "MPOL_MF_MOVE_ALL", "do_migrate_pages", "find_task", "may_read", "migrate_pages",
    "migration_pairs", "move_pages",
]

MPOL_MF_MOVE = 2
MPOL_MF_MOVE_ALL = 4


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
        for piece, _ in pieces_of(vma, vma.start, vma.stop, ~(1 << source), move_all)
    ]
    where = page_alloc.Placement(destination)
    return sum(migrate_piece(kernel, caller, piece, where, GFP_MIGRATE) for piece in pieces)


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
        raise ENOMEM(f"no room on nodes {list_text(new)}")
    return result


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
        return 0, do_pages_stat(task.mm, vpns)
    mover = _PagesMover(kernel, caller, task.mm, cpuset_mems_allowed(kernel, task), bool(flags & MPOL_MF_MOVE_ALL))
    return mover.move(vpns, nodes), mover.status


def do_pages_stat(mm: Mm, vpns: Sequence[int]) -> list[int | None]:
    """The node of each page, -EFAULT or -ENOENT as `follow_page` has them: a look at each run, not at each page."""
    import numpy as np  # here: it takes longer to import than a machine to mount

    asked = np.asarray(vpns, dtype=np.int64)
    order = np.argsort(asked, kind="stable")
    pages = asked[order]
    status = np.full(len(pages), -errno.EFAULT, dtype=np.int64)

    def among(start: int, stop: int) -> slice:
        first, last = np.searchsorted(pages, (start, stop))
        return slice(int(first), int(last))

    for vma in mm.overlapping(int(pages[0]), int(pages[-1]) + 1) if len(pages) else ():
        if not vma_migratable(vma):
            continue
        if vma.file is not None:
            status[among(vma.start, vma.stop)] = -errno.ENOENT
        for segment in vma.segments:
            for run, i, j in segment.space.find(segment.start - segment.delta, segment.stop - segment.delta):
                width, lane = run.lane.width, run.lane.i
                where = among(i * width + lane + segment.delta, (j - 1) * width + lane + segment.delta + 1)
                node = run.zone.pgdat.nid if run.resident and run.mapcount else -errno.ENOENT
                in_lane = (pages[where] - segment.delta) % width == lane
                status[where] = np.where(in_lane, node, status[where])
    out = np.empty_like(status)
    out[order] = status
    return list(out.tolist())


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


def vma_size(mm: Mm, vpn: int) -> int:
    """Size in pages of the hugetlb page at `vpn`; 0 for ordinary memory."""
    vma = mm.find_vma(vpn)
    return vma.hugetlb if vma else 0


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
        self.last_of: dict[Lane, int] = {}
        """Where in the batch the last piece of each lane is."""
        self.queued: set[tuple[Lane, int]] = set()
        """Pages in the batch: isolated, they are not to be had a second time."""
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
        size = vma_size(self.mm, vpn) or (huge_memory.HPAGE_PMD_NR if run.flags & PG.THP else 1)
        first = at // size * size
        if (run.lane, first) in self.queued:
            return -errno.EBUSY
        self.queued.add((run.lane, first))
        self._queue(run, first, size)
        return None

    def _queue(self, run: Run, first: int, size: int) -> None:
        """Put the page (of `size` base pages) behind what is queued, or join it to what it continues in its lane."""
        at = self.last_of.get(run.lane)
        if at is not None and self.batch[at].b == first:
            self.batch[at] = self.batch[at].part(self.batch[at].a, first + size)
            return
        self.last_of[run.lane] = len(self.batch)
        huge = size if run.space.kind == Kind.HUGETLB else 0
        self.batch.append(Piece(run.lane, first, first + size, 1 << self.node, huge))

    def _flush(self, i: int, total: int) -> int:
        """Move what is queued, and enter its status (move_pages_and_store_status)."""
        batch, self.batch = self.batch, []
        self.queued, self.last_of = set(), {}
        if not batch:
            return 0
        where = page_alloc.Placement(self.node)
        try:
            failed = sum(migrate_piece(self.kernel, self.caller, piece, where, GFP_MIGRATE) for piece in batch)
        except OSError as no_memory:
            return -(no_memory.errno or errno.ENOMEM)
        if failed:
            return failed + total - i
        for k in range(self.batch_start, i):
            self.status[k] = self.node
        return 0
