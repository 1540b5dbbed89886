# SPDX-License-Identifier: MIT
"""Shadow entries, refaults, and what swap.c does to lists."""

from __future__ import annotations

import pytest

from numafs.kernel import swap
from numafs.kernel.mmzone import Lru
from numafs.kernel.page import PG, Kind, Space
from numafs.kernel.page_alloc import free_pages
from numafs.kernel.swap import SwapArea, folio_mark_accessed, get_swap_pages, swap_free, swapon
from numafs.kernel.vmstat import NodeStat, VmEvent
from numafs.kernel.workingset import workingset_eviction, workingset_refault

from .machines import assert_conserved, read_file, small_kernel, task_on


def cached(kernel, pages):
    space = Space(Kind.FILE)
    read_file(kernel, task_on(kernel, 0), space, 0, pages)
    return space


def evict(kernel, space, start, stop):
    for run in space.cut(start, stop):
        zone, n = run.zone, run.n
        workingset_eviction(kernel, run)
        free_pages(kernel, zone, n)


def test_evicted_neighbours_share_one_entry_whose_pages_have_their_own_age():
    kernel = small_kernel()
    space = cached(kernel, 1000)
    for start in range(0, 320, 32):
        evict(kernel, space, start, start + 32)
    entries = [run for run in space.runs() if not run.resident]
    assert [(run.a, run.b, run.age) for run in entries] == [(0, 320, 0)]
    assert kernel.nodes[0].nonresident_age == 320
    assert_conserved(kernel)


def test_entries_of_very_different_age_stay_apart():
    kernel = small_kernel()
    space = cached(kernel, 1000)
    evict(kernel, space, 0, 32)
    kernel.nodes[0].nonresident_age += 5000
    evict(kernel, space, 32, 64)
    assert [run.age for run in space.runs() if not run.resident] == [0, 5032]


def test_a_page_that_comes_back_soon_is_active():
    kernel = small_kernel()
    space = cached(kernel, 1000)
    active = cached(kernel, 500)
    for run in active.cut(0, 500):
        folio_mark_accessed(kernel, folio_mark_accessed(kernel, run))
    evict(kernel, space, 0, 100)
    (shadow,) = space.cut(0, 100)
    assert workingset_refault(kernel, shadow, 100)
    stat = kernel.nodes[0].stat
    assert stat[NodeStat.WORKINGSET_REFAULT_FILE] == stat[NodeStat.WORKINGSET_ACTIVATE_FILE] == 100


def test_a_page_that_was_away_for_longer_than_the_active_list_is_inactive():
    kernel = small_kernel()
    space = cached(kernel, 1000)
    evict(kernel, space, 0, 100)
    (shadow,) = space.cut(0, 100)
    assert not workingset_refault(kernel, shadow, 100)
    assert kernel.nodes[0].stat[NodeStat.WORKINGSET_REFAULT_FILE] == 100
    assert kernel.nodes[0].stat[NodeStat.WORKINGSET_ACTIVATE_FILE] == 0


def test_restored_pages_cost_their_type():
    kernel = small_kernel()
    space = cached(kernel, 1000)
    (run,) = space.cut(0, 100)
    run.flags |= PG.WORKINGSET
    for other in space.cut(500, 1000):
        folio_mark_accessed(kernel, folio_mark_accessed(kernel, other))
    evict(kernel, space, 0, 100)
    (shadow,) = space.cut(0, 100)
    assert workingset_refault(kernel, shadow, 100)
    assert kernel.nodes[0].stat[NodeStat.WORKINGSET_RESTORE_FILE] == 100
    assert kernel.nodes[0].file_cost == 100


def test_the_second_access_activates():
    kernel = small_kernel()
    space = cached(kernel, 100)
    (run,) = space.cut(0, 100)
    run = folio_mark_accessed(kernel, run)
    assert (run.lru, run.flags & PG.REFERENCED) == (Lru.INACTIVE_FILE, PG.REFERENCED)
    run = folio_mark_accessed(kernel, run)
    assert (run.lru, run.flags & PG.REFERENCED) == (Lru.ACTIVE_FILE, 0)
    assert kernel.events[VmEvent.PGACTIVATE] == 100


def test_deactivated_pages_are_inactive_and_unreferenced():
    kernel = small_kernel()
    (run,) = cached(kernel, 100).cut(0, 100)
    run = swap.folio_activate(kernel, run)
    assert swap.deactivate_page(kernel, run).lru == Lru.INACTIVE_FILE
    assert kernel.events[VmEvent.PGDEACTIVATE] == 100


def test_areas_of_one_priority_take_turns_and_negative_priorities_descend():
    kernel = small_kernel()
    for area in (SwapArea("/a", 100), SwapArea("/b", 100), SwapArea("/c", 100, 3), SwapArea("/d", 100, 3)):
        swapon(kernel, area)
    assert {area.path: area.priority for area in kernel.swap_areas} == {"/a": -2, "/b": -3, "/c": 3, "/d": 3}
    assert {get_swap_pages(kernel, 10)[0].path for _ in range(2)} == {"/c", "/d"}


def test_slots_run_out_and_come_back():
    kernel = small_kernel()
    area = SwapArea("/a", 100)
    swapon(kernel, area)
    assert get_swap_pages(kernel, 150) == (area, 100)
    assert get_swap_pages(kernel, 1) is None
    swap_free(kernel, area, 60)
    assert swap.nr_swap_pages(kernel) == 60
    assert not swap.vm_swap_full(kernel)


def test_an_area_in_use_is_neither_added_again_nor_removed():
    kernel = small_kernel()
    swapon(kernel, SwapArea("/a", 100))
    get_swap_pages(kernel, 1)
    with pytest.raises(OSError):
        swapon(kernel, SwapArea("/a", 100))
    with pytest.raises(OSError):
        swap.swapoff(kernel, "/a")
