# SPDX-License-Identifier: MIT
"""Policies that follow a cpuset, and their text: mm/mempolicy.c (v6.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numafs.kernel.mempolicy import (
    MPOL_F_NUMA_BALANCING,
    MPOL_F_RELATIVE_NODES,
    MPOL_F_STATIC_NODES,
    Mempolicy,
    Mode,
    SharedPolicy,
    mpol_equal,
    mpol_rebind_policy,
    mpol_relative_nodemask,
    mpol_to_str,
)
from numafs.kernel.nodemask import list_text, onto, parse_list, remap, weight


def nodes(text: str) -> int:
    return parse_list(text, 1024)


def policy(mode: Mode, user: str, mems: str = "0-3", flags: int = 0) -> Mempolicy:
    """A policy as it is when set by a task with these mems."""
    effective = nodes(user) & nodes(mems)
    if flags & MPOL_F_RELATIVE_NODES:
        effective = mpol_relative_nodemask(nodes(user), nodes(mems))
    if flags:
        return Mempolicy(mode, flags, effective, user_nodes=nodes(user))
    return Mempolicy(mode, flags, effective, cpuset_mems=nodes(mems))


STATIC, RELATIVE = MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES

CHAINS = [
    (policy(Mode.BIND, "0-1"), ["1-2"], ["1-2"]),
    (policy(Mode.BIND, "0,3"), ["1-2"], ["1-2"]),
    (policy(Mode.BIND, "0-1", flags=STATIC), ["1-2"], ["1"]),
    (policy(Mode.BIND, "0,3", flags=STATIC), ["1-2"], ["1-2"]),
    (policy(Mode.BIND, "1", flags=RELATIVE), ["1-2"], ["2"]),
    (policy(Mode.INTERLEAVE, "0-3"), ["1-2"], ["1-2"]),
    (policy(Mode.INTERLEAVE, "2-3"), ["1-2"], ["1-2"]),
    (policy(Mode.PREFERRED, "0"), ["1-2"], ["0"]),
    (policy(Mode.PREFERRED_MANY, "2-3"), ["1-2"], ["2-3"]),
    (policy(Mode.BIND, "1,3"), ["0-1", "2", "0-3"], ["1", "2", "0"]),
    (policy(Mode.BIND, "0,2"), ["1,3", "1-3", "0-3"], ["1", "1", "0"]),
    (policy(Mode.BIND, "0-1"), ["1-2", "3", "0-1"], ["1-2", "3", "0"]),
    (policy(Mode.BIND, "1", "0-1"), ["2-3", "0-3", "0-1"], ["3", "1", "1"]),
]


@pytest.mark.parametrize(("start", "mems", "expected"), CHAINS)
def test_a_chain_of_changes_leaves_what_the_kernel_leaves(
    start: Mempolicy, mems: list[str], expected: list[str]
) -> None:
    seen = []
    for change in mems:
        mpol_rebind_policy(start, nodes(change))
        seen.append(list_text(start.nodes))
    assert seen == expected


def test_a_preferred_policy_with_flags_forgets_the_users_mask_but_not_its_node() -> None:
    flagged = policy(Mode.PREFERRED, "1", flags=STATIC)
    mpol_rebind_policy(flagged, nodes("2-3"))
    assert (list_text(flagged.user_nodes), list_text(flagged.nodes)) == ("2-3", "1")


def test_local_and_default_never_change() -> None:
    local = Mempolicy(Mode.LOCAL)
    mpol_rebind_policy(local, nodes("2-3"))
    mpol_rebind_policy(None, nodes("2-3"))
    assert local == Mempolicy(Mode.LOCAL)


masks = st.integers(1, 255)


@given(masks, masks, masks)
def test_remap_stays_within_the_new_set_and_is_no_larger(mask: int, old: int, new: int) -> None:
    inside = mask & old
    moved = remap(inside, old, new)
    assert moved & ~new == 0
    assert weight(moved) <= weight(inside)


@given(masks, masks)
def test_remap_onto_itself_changes_nothing(mask: int, old: int) -> None:
    assert remap(mask, old, old) == mask


@given(masks, masks)
def test_relative_nodes_are_a_subset_and_never_empty(mask: int, mems: int) -> None:
    relative = mpol_relative_nodemask(mask, mems)
    assert relative
    assert onto(relative, mems) is not None
    assert relative & ~mems == 0


@given(st.sampled_from([0, STATIC, RELATIVE]), masks, masks)
def test_a_rebound_binding_is_within_the_mems_and_not_empty(flags: int, user: int, mems: int) -> None:
    bound = policy(Mode.BIND, list_text(user), "0-7", flags)
    mpol_rebind_policy(bound, mems)
    assert bound.nodes
    assert bound.nodes & ~mems == 0


@given(st.sampled_from([STATIC, RELATIVE]), masks, masks, masks)
def test_flagged_policies_depend_on_the_last_mems_only(flags: int, user: int, first: int, last: int) -> None:
    direct, detour = (policy(Mode.BIND, list_text(user), "0-7", flags) for _ in range(2))
    mpol_rebind_policy(direct, last)
    mpol_rebind_policy(detour, first)
    mpol_rebind_policy(detour, last)
    assert direct == detour


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "default"), (Mempolicy(Mode.LOCAL), "local"), (policy(Mode.PREFERRED, "1"), "prefer:1"),
        (policy(Mode.BIND, "0,2-3"), "bind:0,2-3"), (policy(Mode.INTERLEAVE, "0-3"), "interleave:0-3"),
        (policy(Mode.PREFERRED_MANY, "1-2"), "prefer (many):1-2"),
        (policy(Mode.BIND, "1-2", flags=STATIC), "bind=static:1-2"),
        (policy(Mode.INTERLEAVE, "4-5", flags=RELATIVE), "interleave=relative:0-1"),
        (Mempolicy(Mode.BIND, MPOL_F_NUMA_BALANCING, 3), "bind=balancing:0-1"),
        (Mempolicy(Mode.BIND, MPOL_F_NUMA_BALANCING | STATIC, 2), "bind=static|balancing:1"),
    ],
)
def test_text_is_that_of_numa_maps(value: Mempolicy | None, text: str) -> None:
    assert mpol_to_str(value) == text


def test_policies_are_equal_by_what_they_do() -> None:
    assert mpol_equal(None, None)
    assert not mpol_equal(None, Mempolicy(Mode.LOCAL))
    assert mpol_equal(policy(Mode.BIND, "1", "0-3"), policy(Mode.BIND, "1", "0-1"))
    assert not mpol_equal(policy(Mode.BIND, "1"), policy(Mode.BIND, "1", flags=STATIC))
    assert not mpol_equal(policy(Mode.BIND, "1"), policy(Mode.INTERLEAVE, "1"))


def test_a_shared_policy_is_cut_and_replaced_by_stretches() -> None:
    shared = SharedPolicy()
    shared.set(0, 100, policy(Mode.BIND, "1"))
    shared.set(40, 60, policy(Mode.BIND, "2"))
    shared.set(50, 70, None)
    stretches = [(a, b, mpol_to_str(p)) for a, b, p in shared.stretches(0, 120)]
    assert stretches == [
        (0, 40, "bind:1"), (40, 50, "bind:2"), (50, 70, "default"), (70, 100, "bind:1"), (100, 120, "default"),
    ]
    assert shared.lookup(45) == policy(Mode.BIND, "2")
    assert shared.lookup(55) is None
