# SPDX-License-Identifier: MIT
"""mbind(2) and set_mempolicy_home_node(2): policies of mappings, and pages that are moved to obey them.

mm/mempolicy.c:do_mbind() (v6.1).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from . import huge_memory, mm_inline, mmap, page, page_alloc
from .errors import EFAULT, EINVAL, EIO, ENOENT, EOPNOTSUPP, EPERM
from .gfp import GFP_HIGHUSER_MOVABLE, Gfp
from .mempolicy import (
    Mempolicy,
    Mode,
    SharedPolicy,
    get_nodes,
    mpol_dup,
    mpol_equal,
    mpol_new,
    mpol_set_nodemask,
    placements,
    sanitize_mpol_flags,
)
from .migrate import MPOL_MF_MOVE, MPOL_MF_MOVE_ALL
from .mover import Piece, count_copy, migrate_piece, pieces_of, vma_migratable
from .nodemask import Mask
from .page import PG, Kind, Run

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Mm, Task, Vma
    from .mmzone import Zone
    from .page_alloc import Placement

__all__ = ["MPOL_MF_STRICT", "mbind", "set_mempolicy_home_node"]

MPOL_MF_STRICT = 1
MPOL_MF_VALID = MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL

GFP_MBIND = GFP_HIGHUSER_MOVABLE | Gfp.RETRY_MAYFAIL


def mbind(
    kernel: Kernel, task: Task, start: int, stop: int, mode: int, mask: Mask | None, maxnode: int, flags: int
) -> None:
    """mbind(2): the pages [start, stop) have this policy; with MOVE what disobeys it gets a new page by it.

    STRICT alone refuses (EIO) where a page disobeys; with MOVE the policy is applied and EIO says that one is left.
    """
    kind, mode_flags = sanitize_mpol_flags(mode, kernel.features)
    nodes = get_nodes(kernel, mask, maxnode)
    if flags & ~MPOL_MF_VALID:
        raise EINVAL(f"unknown flags {flags:#x}")
    if flags & MPOL_MF_MOVE_ALL and task.uid:
        raise EPERM("MPOL_MF_MOVE_ALL is for root")
    mm = _mm_of(task, start, stop)
    if start == stop:
        return
    if kind == Mode.DEFAULT:
        flags &= ~MPOL_MF_STRICT
    policy = mpol_new(kind, mode_flags, nodes)
    mpol_set_nodemask(kernel, task, policy, nodes)
    _check_holes(mm, start, stop, holes_are_fine=policy is None)
    pieces = _queue_pages_range(mm, start, stop, nodes, flags)
    _mbind_range(kernel, mm, start, stop, policy)
    failed = sum(_new_pages(kernel, task, part, delta) for piece, delta in pieces for part in _parts(piece))
    if failed and flags & MPOL_MF_STRICT:
        raise EIO(f"{failed} pages could not be moved")


def _mm_of(task: Task, start: int, stop: int) -> Mm:
    if stop < start:
        raise EINVAL(f"pages from {start:#x} to {stop:#x}")
    if task.mm is None:
        raise EFAULT(f"task {task.pid} has no memory of its own")
    return task.mm


def _check_holes(mm: Mm, start: int, stop: int, *, holes_are_fine: bool) -> None:
    """EFAULT for a hole; for the default policy only if there is nothing else (queue_pages_test_walk)."""
    vmas = mm.overlapping(start, stop)
    if not vmas:
        raise EFAULT("nothing is mapped there")
    for vma in vmas:
        if vma.start > start and not holes_are_fine:
            raise EFAULT(f"nothing is mapped at page {start:#x}")
        start = vma.stop
    if start < stop and not holes_are_fine:
        raise EFAULT(f"nothing is mapped at page {start:#x}")


def _queue_pages_range(mm: Mm, start: int, stop: int, nodes: Mask, flags: int) -> list[tuple[Piece, int]]:
    """The pages that disobey and are to be moved; EIO if none may be and STRICT is set."""
    pieces: list[tuple[Piece, int]] = []
    if not flags:
        return pieces
    moving = flags & (MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)
    for vma in mm.overlapping(start, stop):
        if not vma_migratable(vma):
            continue
        move_all = not moving or bool(flags & MPOL_MF_MOVE_ALL)
        found = pieces_of(vma, max(start, vma.start), min(stop, vma.stop), nodes, move_all)
        if not moving and next(found, None) is not None:
            raise EIO("a page is on another node")
        pieces += found
    return pieces


# ---------------------------------------------------------------- the policy


def _mbind_range(kernel: Kernel, mm: Mm, start: int, stop: int, policy: Mempolicy | None) -> None:
    """Give the mappings in [start, stop) the policy; those that have it stay as they are."""
    for vma in mmap.vmas_in(mm, start, stop):
        if not mpol_equal(vma.policy, policy):
            mine = mpol_dup(policy) if policy else None
            part = mmap.vma_modify(kernel, mm, vma, max(start, vma.start), min(stop, vma.stop), policy=mine)
            vma_replace_policy(part, policy)


def vma_replace_policy(vma: Vma, policy: Mempolicy | None) -> None:
    """The mapping's policy is a copy of this one; shared memory keeps it with the file."""
    vma.policy = mpol_dup(policy) if policy else None
    inode = vma.file
    if not vma.shared or inode is None or inode.space.kind != Kind.SHMEM:
        return
    if inode.shared_policy is None:
        inode.shared_policy = SharedPolicy()
    inode.shared_policy.set(vma.pgoff, vma.pgoff + vma.pages, policy)


def set_mempolicy_home_node(kernel: Kernel, task: Task, start: int, stop: int, home_node: int, flags: int) -> None:
    """set_mempolicy_home_node(2): from where bound mappings look for the nearest of their nodes."""
    if flags:
        raise EINVAL(f"unknown flags {flags:#x}")
    if not 0 <= home_node < kernel.machine.max_numnodes or not kernel.node_online >> home_node & 1:
        raise EINVAL(f"node {home_node} is not on line")
    mm = _mm_of(task, start, stop)
    if start == stop:
        return
    found = False
    for vma in mm.overlapping(start, stop):
        old = vma.policy
        if old is None:
            continue
        if old.mode not in (Mode.BIND, Mode.PREFERRED_MANY):
            raise EOPNOTSUPP("only bound and preferred-many mappings have a home node")
        found = True
        _mbind_range(kernel, mm, max(start, vma.start), min(stop, vma.stop), replace(old, home_node=home_node))
    if not found:
        raise ENOENT("no mapping there has a policy")


# ---------------------------------------------------------------- the pages


def _parts(piece: Piece) -> Iterator[Piece]:
    """The piece run by run, as the runs now are: cutting mappings may have split huge pages."""
    a = piece.a
    while a < piece.b:
        run = page.find_run(piece.lane, a)
        if run is None:
            a = page.lane_gaps(piece.lane, a, piece.b)[0][1]
            continue
        stop = min(run.b, piece.b)
        yield piece.part(a, stop)
        a = stop


def _new_pages(kernel: Kernel, task: Task, piece: Piece, delta: int) -> int:
    """Move a piece to where the policy of its mapping now wants it; returns how many pages stay (new_page)."""
    assert task.mm is not None
    pages = piece.indexes()
    vma = task.mm.find_vma(pages.start + delta)
    assert vma is not None
    order = _order_of(piece)
    first = (pages.start + delta) >> order << order
    wanted = [
        (range(blocks.start - delta, blocks.stop - delta, blocks.step), where)
        for blocks, where in placements(kernel, task, vma, first, pages[-1] + 1 + delta, order)
    ]
    if order:
        return sum(_move(kernel, task, piece, _block(pages, at, order), where) for at, where in _each(wanted))
    if pages.step == 1 and wanted[0][0].step > 1:
        return sum(_deal_out(kernel, task, piece, window) for window in _windows(wanted))
    parts = ((part, where) for blocks, where in wanted for part in _common(pages, blocks))
    return sum(_move(kernel, task, piece, part, where) for part, where in parts)


def _order_of(piece: Piece) -> int:
    """Order of its pages: hugetlb, transparent huge, or base pages."""
    if piece.huge:
        return piece.huge.bit_length() - 1
    run = page.find_run(piece.lane, piece.a)
    return huge_memory.HPAGE_PMD_ORDER if run is not None and run.flags & PG.THP else 0


def _each(wanted: list[tuple[range, Placement]]) -> Iterator[tuple[int, Placement]]:
    return ((at, where) for blocks, where in wanted for at in blocks)


def _block(pages: range, at: int, order: int) -> range:
    """What of `pages` lies in the huge page that begins at `at`."""
    return range(max(at, pages.start), min(at + (1 << order), pages.stop))


def _common(pages: range, blocks: range) -> list[range]:
    """What of `pages` lies in `blocks`, in ranges of the former's spacing."""
    if blocks.step != 1:
        return [pages] if pages.step == blocks.step and pages.start in blocks else [
            range(index, index + 1) for index in pages if index in blocks
        ]
    first = max(blocks.start, pages.start)
    return [range(first + (pages.start - first) % pages.step, min(blocks.stop, pages.stop), pages.step)]


def _move(kernel: Kernel, task: Task, piece: Piece, pages: range, where: Placement) -> int:
    """Move the pages `pages` of the mapping, neighbours in their lane; returns how many stay."""
    if not pages:
        return 0
    width = piece.lane.width
    try:
        part = piece.part(pages.start // width, pages[-1] // width + 1)
        return migrate_piece(kernel, task, part, where, GFP_MBIND)
    except OSError:
        return len(pages)


# ---------------------------------------------------------------- a plain stretch that becomes an interleaved one


def _windows(wanted: list[tuple[range, Placement]]) -> Iterator[list[tuple[range, Placement]]]:
    """The ranges, in groups that lie side by side."""
    group: list[tuple[range, Placement]] = []
    for blocks, where in wanted:
        if group and blocks.start - group[0][0].start >= blocks.step:
            yield group
            group = []
        group.append((blocks, where))
    if group:
        yield group


def _deal_out(kernel: Kernel, task: Task, piece: Piece, window: list[tuple[range, Placement]]) -> int:
    """Move a stretch of neighbours to spaced places: each node's share becomes one run of a lane.

    Simplified: if the pages for a window cannot all be had, those runs that would be torn by it stay.
    """
    taken: list[tuple[range, Zone]] = []
    for pages, where in window:
        try:
            while pages:
                zone, n = page_alloc.alloc_pages(kernel, task, GFP_MBIND, where, len(pages))
                taken.append((pages[:n], zone))
                pages = pages[n:]
        except OSError:
            break
    failed = cost = 0
    used = [0] * len(taken)
    start = min(pages.start for pages, _ in window)
    for run in page.cut(piece.lane, start, max(pages[-1] for pages, _ in window) + 1):
        if not piece.holds(run):
            continue
        shares = [_clip(pages, run.a, run.b) for pages, _ in taken]
        if sum(map(len, shares)) < run.n:
            failed += run.n
            continue
        cost += _replace(kernel, run, [(share, zone) for share, (_, zone) in zip(shares, taken, strict=True) if share])
        used = [u + len(share) for u, share in zip(used, shares, strict=True)]
    for (pages, zone), u in zip(taken, used, strict=True):
        if u < len(pages):
            page_alloc.free_pages(kernel, zone, len(pages) - u)
    kernel.clock.advance(cost)
    return failed


def _clip(pages: range, start: int, stop: int) -> range:
    """What of spaced `pages` lies in [start, stop)."""
    first = max(pages.start, start)
    first += (pages.start - first) % pages.step
    return range(first, min(pages.stop, stop), pages.step)


def _replace(kernel: Kernel, run: Run, shares: list[tuple[range, Zone]]) -> int:
    """The pages of `run` live in these places now, in lanes of their spacing, in the same state; returns the cost."""
    space, old, lru, n = run.space, run.zone, run.lru, run.n
    mm_inline.leave(run)
    page_alloc.free_pages(kernel, old, n)
    cost = 0
    for pages, zone in shares:
        width = pages.step
        first = pages.start // width
        new = Run(space.lane(width, pages.start % width), first, first + len(pages), zone, run.flags, run.memcg)
        new.mapcount, new.swap = run.mapcount, run.swap
        mm_inline.enter(new, lru)
        cost += count_copy(kernel, old, zone, len(pages), new.flags)
    return cost
