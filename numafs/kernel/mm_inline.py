# SPDX-License-Identifier: MIT
"""Runs on LRU lists, and in the counters: all that puts pages there, takes them off, or changes what they are.

include/linux/mm_inline.h and mm/{swap,workingset}.c (v6.1). The runs themselves are in `page`.
"""

from __future__ import annotations

from bisect import bisect_left

from .mmzone import Lru, LruList, Zone
from .page import PG, Kind, Lane, Run, Space, insert, remove
from .vmstat import NodeStat, ZoneStat

__all__ = [
    "add_to_list", "add_to_tail", "alike", "change", "count_pages", "del_from_list", "enter", "leave", "move_to_list",
    "new_lru_list", "rejoin", "shed", "to_entry", "to_zone",
]


def count_on_list(run: Run, n: int) -> None:
    """Enter (or with -n remove) n pages of `run` in the sizes of its list, zone and node."""
    zone, lru = run.zone, run.lru
    pgdat = zone.pgdat
    pgdat.lru[lru].size += n
    pgdat.stat[NodeStat.NR_INACTIVE_ANON + lru] += n
    zone.stat[ZoneStat.NR_ZONE_INACTIVE_ANON + lru] += n
    if run.memcg is not None:
        run.memcg.count(pgdat.nid, NodeStat.NR_INACTIVE_ANON + lru, n)


def add_to_list(run: Run, lru: int) -> Run:
    """Put `run` at the young end of a list of its node; it may be joined to its elder there, which is returned."""
    head = run.zone.pgdat.lru[lru].head
    elder = head.next
    run.lru = lru
    count_on_list(run, run.n)
    if elder.b == run.a and alike(elder, run):
        remove(run)
        elder.b = run.b
        return elder
    run.prev, run.next = head, elder
    elder.prev = head.next = run
    return run


def add_to_tail(run: Run, lru: int) -> None:
    """Put `run` at the old end of a list of its node: the next to be looked at."""
    head = run.zone.pgdat.lru[lru].head
    run.lru = lru
    count_on_list(run, run.n)
    run.prev, run.next = head.prev, head
    head.prev.next = run
    head.prev = run


def del_from_list(run: Run) -> None:
    """Take `run` off its list; it stays in its lane."""
    count_on_list(run, -run.n)
    run.prev.next, run.next.prev = run.next, run.prev
    run.prev = run.next = run
    run.lru = Lru.NONE


def move_to_list(run: Run, lru: int) -> Run:
    """Take `run` off its list and put it at the young end of list `lru` of its node; returns what it became part of."""
    del_from_list(run)
    return add_to_list(run, lru)


def count_pages(run: Run, n: int) -> None:
    """Enter (or with -n remove) n pages in the state of `run` in the counters of its zone and node, lists apart.

    So too in those of the groups that it is charged to.
    """
    zone, flags, kind = run.zone, run.flags, run.lane.space.kind
    if kind == Kind.HUGETLB:
        return
    _count_states(run, n, zone.pgdat.stat)
    if run.memcg is not None:
        for memcg in run.memcg.lineage:
            _count_states(run, n, memcg.stat[zone.pgdat.nid])
    if flags & PG.DIRTY and kind == Kind.FILE:
        zone.stat[ZoneStat.NR_ZONE_WRITE_PENDING] += n
    if flags & PG.WRITEBACK:
        zone.stat[ZoneStat.NR_ZONE_WRITE_PENDING] += n
    if flags & PG.MLOCKED:
        zone.stat[ZoneStat.NR_MLOCK] += n


def _count_states(run: Run, n: int, stat: list[int]) -> None:
    """The only place that says which counters of a node a page in a mapping contributes to."""
    flags, kind = run.flags, run.lane.space.kind
    if kind == Kind.ANON:
        if run.mapcount:
            stat[NodeStat.NR_ANON_PAGES] += n
            if flags & PG.THP:
                stat[NodeStat.NR_ANON_TRANSPARENT_HUGEPAGES] += n
        if run.swap:
            stat[NodeStat.NR_FILE_PAGES] += n
            stat[NodeStat.NR_SWAPCACHED] += n
    else:
        stat[NodeStat.NR_FILE_PAGES] += n
        if kind == Kind.SHMEM:
            stat[NodeStat.NR_SHMEM] += n
            if run.swap:
                stat[NodeStat.NR_SWAPCACHED] += n
        if run.mapcount:
            stat[NodeStat.NR_MAPPED] += n
    if flags & PG.DIRTY and kind == Kind.FILE:
        stat[NodeStat.NR_DIRTY] += n
    if flags & PG.WRITEBACK:
        stat[NodeStat.NR_WRITEBACK] += n


def change(run: Run, *, set: int = 0, clear: int = 0, mapcount: int | None = None) -> None:
    """Give `run` other flags or another mapcount, with the counters that depend on them."""
    count_pages(run, -run.n)
    run.flags = run.flags & ~clear | set
    if mapcount is not None:
        run.mapcount = mapcount
    count_pages(run, run.n)


def enter(run: Run, lru: int) -> Run:
    """New pages: `run`, with zone, flags and mapcount set, joins its mapping, the counters and a list.

    Returns the run they are in now: they may have joined their elder. The pages must have been
    taken from the zone's free ones by `page_alloc`.
    """
    insert(run)
    count_pages(run, run.n)
    run.lane.space.nrpages += run.n
    if run.memcg is not None:
        run.memcg.charge(run.n)
    if lru == Lru.UNLISTED:
        run.lru = lru
        return run
    return add_to_list(run, lru)


def leave(run: Run) -> None:
    """The pages of `run` leave their mapping, the counters and their list; they now are the caller's, to be freed."""
    _vacate(run)
    remove(run)


def to_entry(run: Run) -> None:
    """The pages of `run` leave it, the counters and their list, but it stays in the mapping as an entry.

    The caller sets `swap`, or `zone` and `age`, to say what the entry means. The pages are the caller's, to be freed.
    """
    _vacate(run)
    run.flags = 0
    run.mapcount = 0


def shed(run: Run, n: int, age: int, slack: int) -> None:
    """The `n` oldest pages of `run` leave it, the counters and their list; entries take their places in the mapping.

    The entries are of this age, and of the run's swap area; they join those before them if these continue to
    `age` within `slack`. The pages are the caller's, to be freed.
    """
    lane, a = run.lane, run.a
    count_pages(run, -n)
    lane.space.nrpages -= n
    if run.memcg is not None:
        run.memcg.charge(-n)
    kept = run.flags & PG.WORKINGSET
    i = bisect_left(lane.starts, a)
    before = lane.runs[i - 1] if i else None
    joins = (
        before is not None and before.b == a and before.age >= 0 and before.zone is run.zone
        and before.swap is run.swap and before.flags == kept and before.memcg is run.memcg
        and abs(before.age + before.n - age) <= slack
    )
    if n == run.b - a:
        del_from_list(run)
        run.flags, run.mapcount, run.age = kept, 0, age
        if joins:
            del lane.starts[i], lane.runs[i]
    else:
        count_on_list(run, -n)
        run.a = lane.starts[i] = a + n
        if not joins:
            entry = Run(lane, a, a + n, run.zone, kept, run.memcg)
            entry.swap, entry.age = run.swap, age
            lane.starts.insert(i, a)
            lane.runs.insert(i, entry)
    if joins and before is not None:
        before.b = a + n


def _vacate(run: Run) -> None:
    count_pages(run, -run.n)
    run.lane.space.nrpages -= run.n
    if run.memcg is not None:
        run.memcg.charge(-run.n)
    if run.lru == Lru.UNLISTED:
        run.lru = Lru.NONE
    else:
        del_from_list(run)


def to_zone(run: Run, zone: Zone) -> Run:
    """Migration: the pages of `run` are now in `zone`, with the same state, at the young end of the same list.

    Page table entries are made anew (remove_migration_pte), so none is inaccessible any more. Neither allocates nor
    frees: the caller has taken the pages of `zone` and gives back the old ones.
    """
    count_pages(run, -run.n)
    lru = run.lru
    if lru == Lru.UNLISTED:
        run.zone = zone
        return run
    del_from_list(run)
    run.zone = zone
    run.flags &= ~PG.PROT_NONE
    count_pages(run, run.n)
    return add_to_list(run, lru)


def alike(x: Run, y: Run) -> bool:
    """May the two be one run, places apart?"""
    return (
        x.lane is y.lane
        and x.zone is y.zone
        and x.lru == y.lru
        and x.flags == y.flags
        and x.mapcount == y.mapcount
        and x.swap is y.swap
        and x.memcg is y.memcg
    )


def rejoin(run: Run) -> Run:
    """Join `run` to its neighbours in the list where these continue it and are alike again; returns the whole."""
    if run.lru in (Lru.NONE, Lru.UNLISTED):
        return run
    head = run.zone.pgdat.lru[run.lru].head
    elder, younger = run.next, run.prev
    if younger is not head and younger.a == run.b and alike(run, younger):
        _absorb(run, younger)
    if elder is not head and elder.b == run.a and alike(run, elder):
        _absorb(elder, run)
        return elder
    return run


def _absorb(elder: Run, younger: Run) -> None:
    """`younger` stands just before `elder` in list and continues it: one run of both."""
    remove(younger)
    elder.b = younger.b
    younger.prev.next, elder.prev = elder, younger.prev
    younger.prev = younger.next = younger
    younger.lru = Lru.NONE


def new_lru_list() -> LruList:
    """An empty LRU list; its head is a run of no pages."""
    return LruList(Run(Lane(Space(Kind.ANON), 0, 1), 0, 0))
