# SPDX-License-Identifier: MIT
"""Runs and lanes: cutting and finding."""

from __future__ import annotations

from numafs.kernel.mm_inline import enter
from numafs.kernel.mmzone import Lru
from numafs.kernel.page import Kind, Run, Space

from .machines import small_kernel


def interleaved(pages: int, width: int) -> Space:
    """A mapping whose pages are spread over as many lanes."""
    kernel = small_kernel()
    space = Space(Kind.ANON)
    for i in range(width):
        count = len(range(i, pages, width))
        enter(Run(space.lane(width, i), 0, count, kernel.nodes[i].populated_zones[-1]), Lru.INACTIVE_ANON)
    return space


def test_a_split_separates_the_pages_of_every_lane():
    space = interleaved(100, 4)
    space.split_at(41)
    assert all(run.indexes()[-1] < 41 or run.indexes().start >= 41 for run in space.runs())
    assert sorted(page for run in space.runs() for page in run.indexes()) == list(range(100))


def test_a_split_where_a_run_begins_changes_nothing():
    space = interleaved(100, 4)
    before = [run.indexes() for run in space.runs()]
    for page in (0, 100, 250):
        space.split_at(page)
    assert [run.indexes() for run in space.runs()] == before


def test_absent_pages_are_told_apart_whatever_their_spacing():
    space = interleaved(100, 4)
    space.lane(1, 0)
    enter(Run(space.lane(1, 0), 103, 106, next(space.runs()).zone), Lru.INACTIVE_ANON)
    absent = {page for part in space.absent(range(90, 120)) for page in part}
    assert absent == {100, 101, 102, *range(106, 120)}
    assert {page for part in space.absent(range(97, 120, 3)) for page in part} == {100, 106, 109, 112, 115, 118}
