# SPDX-License-Identifier: MIT
"""From which node to which: mm/mempolicy.c:do_migrate_pages() (v6.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numafs.kernel.migrate import migration_pairs
from numafs.kernel.nodemask import nth, parse_list, position, weight

EVERY = (1 << 1024) - 1

PLANS = [
    ("0", "1", "0>1"), ("0,1", "2,3", "0>2 1>3"), ("0,1", "1,2", "1>2 0>1"), ("0-2", "1-3", "2>3 1>2 0>1"),
    ("1-3", "0-2", "1>0 2>1 3>2"), ("0-3", "0,1", "3>1 2>0"), ("0-3", "2,3", "1>3 0>2"), ("0-3", "1,2", "3>2 0>1"),
    ("0,1", "2", "0>2 1>2"), ("0-2", "3", "0>3 1>3 2>3"), ("0", "2,3", "0>2"), ("0,1", "1-3", "0>1"),
    ("1", "0-3", ""), ("0,2", "1,3", "0>1 2>3"), ("0-2", "2,3", "1>3 0>2"), ("0,1", "0,1", ""), ("0,3", "2,3", "0>2"),
    ("1,2", "0,1", "1>0 2>1"), ("1-3", "1,2", "3>1"), ("0,2,3", "0,1", "2>1 3>0"),
]
"""Measured on the kernel."""


@pytest.mark.parametrize(("old", "new", "plan"), PLANS)
def test_the_plan_is_the_kernels(old: str, new: str, plan: str) -> None:
    pairs = migration_pairs(parse_list(old, 1024), parse_list(new, 1024), EVERY)
    assert " ".join(f"{source}>{destination}" for source, destination in pairs) == plan


def test_from_every_node_there_may_be_is_planned_for_those_there_are() -> None:
    assert list(migration_pairs(EVERY, 0b1100, 0b1111)) == [(1, 3), (0, 2)]


masks = st.integers(1, 255)


def effect(old: int, new: int) -> dict[int, int]:
    """Where a page of each node ends, if the pairs run one after the other."""
    place = {nid: nid for nid in range(8)}
    for source, destination in migration_pairs(old, new, EVERY):
        place = {start: destination if now == source else now for start, now in place.items()}
    return place


@given(masks, masks)
def test_pages_outside_the_old_set_stay(old: int, new: int) -> None:
    place = effect(old, new)
    assert all(place[nid] == nid for nid in range(8) if not (old | new) >> nid & 1)


@given(masks, masks)
def test_no_page_of_the_old_set_ends_outside_the_new(old: int, new: int) -> None:
    place = effect(old, new)
    assert all(new >> place[nid] & 1 for nid in range(8) if old >> nid & 1)


@given(masks, masks)
def test_sets_of_unequal_size_map_by_position_and_leave_what_is_in_the_new_one(old: int, new: int) -> None:
    if weight(old) == weight(new):
        return
    place = effect(old, new)
    for nid in range(8):
        if old >> nid & 1:
            expected = nid if new >> nid & 1 else nth(new, position(old, nid) % weight(new))
            assert place[nid] == expected


@given(masks, masks)
def test_sets_of_equal_size_that_form_no_circle_move_every_page_once(old: int, new: int) -> None:
    if weight(old) != weight(new) or sorted(effect(old, new)) != list(range(8)):
        return
    pairs = list(migration_pairs(old, new, EVERY))
    crossing = [s for s, d in pairs for later, _ in pairs[pairs.index((s, d)) + 1 :] if later == d]
    assert not crossing
