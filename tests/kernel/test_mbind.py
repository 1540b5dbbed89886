# SPDX-License-Identifier: MIT
"""Policies where pages are allocated and moved: set_mempolicy(2), mbind(2), move_pages(2), migrate_pages(2)."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numafs.kernel import cpuset, mbind, memory, mempolicy, migrate, mlock, mmap
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.mempolicy import (
    MPOL_F_ADDR,
    MPOL_F_MEMS_ALLOWED,
    MPOL_F_NODE,
    MPOL_F_NUMA_BALANCING,
    MPOL_F_RELATIVE_NODES,
    MPOL_F_STATIC_NODES,
    Mode,
    mpol_to_str,
)
from numafs.kernel.mm import Task, Vma
from numafs.kernel.vmstat import NumaStat, VmEvent

from .groups import attach, four_nodes, group, nodes, on_nodes, region

BITS = 1025
STRICT, MOVE, MOVE_ALL = 1, 2, 4


@pytest.fixture
def kernel() -> Kernel:
    return four_nodes()


@pytest.fixture
def task(kernel: Kernel) -> Task:
    return kernel.tasks.spawn(kernel, "t", cpu=0)


def errno_of(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as refused:
        return errno.errorcode[refused.errno or 0]
    return ""


def bind(kernel: Kernel, task: Task, vma: Vma, mode: int, text: str, flags: int = 0) -> str:
    mask = nodes(text) if text else None
    return errno_of(lambda: mbind.mbind(kernel, task, vma.start, vma.stop, mode, mask, BITS, flags))


def moved(kernel: Kernel) -> int:
    return kernel.events[VmEvent.PGMIGRATE_SUCCESS]


# ---------------------------------------------------------------- set_mempolicy(2)

STATIC, RELATIVE, BALANCING = MPOL_F_STATIC_NODES, MPOL_F_RELATIVE_NODES, MPOL_F_NUMA_BALANCING

CALLS = [
    (Mode.DEFAULT, None, BITS, "default"), (Mode.DEFAULT, "1", BITS, "EINVAL"), (Mode.BIND, "1-3", BITS, "bind:1-3"),
    (Mode.BIND, None, BITS, "EINVAL"), (Mode.BIND, "4", BITS, "EINVAL"), (Mode.BIND, "3-9", BITS, "bind:3"),
    (Mode.BIND, "1023", BITS, "EINVAL"), (Mode.PREFERRED, None, BITS, "local"),
    (Mode.PREFERRED, "1-3", BITS, "prefer:1"), (Mode.PREFERRED, "7", BITS, "EINVAL"),
    (Mode.INTERLEAVE, None, BITS, "EINVAL"), (Mode.INTERLEAVE, "1,3", BITS, "interleave:1,3"),
    (Mode.LOCAL, None, BITS, "local"), (Mode.LOCAL, "1", BITS, "EINVAL"),
    (Mode.PREFERRED_MANY, "1,7", BITS, "prefer (many):1"), (Mode.PREFERRED_MANY, None, BITS, "EINVAL"),
    (6, "0-1", BITS, "EINVAL"), (7, "1", BITS, "EINVAL"), (Mode.BIND | STATIC, "2,9", BITS, "bind=static:2"),
    (Mode.BIND | RELATIVE, "5", BITS, "bind=relative:1"),
    (Mode.INTERLEAVE | RELATIVE, "4-7", BITS, "interleave=relative:0-3"),
    (Mode.BIND | STATIC | RELATIVE, "1", BITS, "EINVAL"), (Mode.DEFAULT | STATIC, None, BITS, "default"),
    (Mode.PREFERRED | STATIC, None, BITS, "EINVAL"), (Mode.BIND | BALANCING, "1", BITS, "bind=balancing:1"),
    (Mode.INTERLEAVE | BALANCING, "1", BITS, "EINVAL"), (Mode.BIND, "1", 1, "EINVAL"), (Mode.BIND, "1", 2, "EINVAL"),
    (Mode.BIND, "1", 3, "bind:1"), (Mode.BIND, "1", 40000, "EINVAL"), (Mode.BIND, "65", 64, "EINVAL"),
    (Mode.BIND, "1", 4096, "bind:1"),
]


@pytest.mark.parametrize(("mode", "text", "maxnode", "expected"), CALLS)
def test_a_policy_is_stored_or_refused(
    kernel: Kernel, task: Task, mode: int, text: str | None, maxnode: int, expected: str
) -> None:
    mask = None if text is None else nodes(text)
    refused = errno_of(lambda: mempolicy.set_mempolicy(kernel, task, mode, mask, maxnode))
    assert (refused or mpol_to_str(task.policy)) == expected


def test_a_bit_beyond_the_nodes_there_may_be_is_refused_where_it_is_looked_at(kernel: Kernel, task: Task) -> None:
    mask = 1 << 2000 | 1
    assert errno_of(lambda: mempolicy.set_mempolicy(kernel, task, Mode.BIND, mask, 4096)) == "EINVAL"
    assert errno_of(lambda: mempolicy.set_mempolicy(kernel, task, Mode.BIND, mask, 1025)) == ""


def test_what_is_asked_back_is_the_users_mask_or_the_effective_one(kernel: Kernel, task: Task) -> None:
    mempolicy.set_mempolicy(kernel, task, Mode.INTERLEAVE | RELATIVE, nodes("4-5"), BITS)
    assert mempolicy.get_mempolicy(kernel, task, None, 0, BITS) == (Mode.INTERLEAVE | RELATIVE, 0x30)
    mempolicy.set_mempolicy(kernel, task, Mode.BIND, nodes("1,7"), BITS)
    assert mempolicy.get_mempolicy(kernel, task, None, 0, BITS) == (Mode.BIND, 0b10)
    assert mempolicy.get_mempolicy(kernel, task, None, MPOL_F_MEMS_ALLOWED, BITS) == (0, 0b1111)
    assert errno_of(lambda: mempolicy.get_mempolicy(kernel, task, None, 0, 3)) == "EINVAL"
    assert errno_of(lambda: mempolicy.get_mempolicy(kernel, task, None, 8, BITS)) == "EINVAL"
    assert errno_of(lambda: mempolicy.get_mempolicy(kernel, task, 0x400, 0, BITS)) == "EINVAL"
    assert errno_of(lambda: mempolicy.get_mempolicy(kernel, task, 5, MPOL_F_ADDR, BITS)) == "EFAULT"
    assert errno_of(lambda: mempolicy.get_mempolicy(kernel, task, None, MPOL_F_NODE, BITS)) == "EINVAL"


def test_the_node_of_a_page_and_the_rotors_next_pick_can_be_asked_for(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 10, 2)
    assert mempolicy.get_mempolicy(kernel, task, vma.start, MPOL_F_NODE | MPOL_F_ADDR, None)[0] == 2
    mempolicy.set_mempolicy(kernel, task, Mode.INTERLEAVE, nodes("1,3"), BITS)
    assert mempolicy.get_mempolicy(kernel, task, None, MPOL_F_NODE, None)[0] == 1
    mempolicy.placement(kernel, task)
    assert mempolicy.get_mempolicy(kernel, task, None, MPOL_F_NODE, None)[0] == 3


def test_inside_a_cpuset_only_its_nodes_count(kernel: Kernel, task: Task) -> None:
    attach(kernel, group(kernel, "a", "2-5", "1-2"), task)
    seen = []
    for mode, text in (
        (Mode.BIND, "0"), (Mode.BIND, "0-1"), (Mode.INTERLEAVE, "0-3"), (Mode.PREFERRED, "0"), (Mode.PREFERRED, "0-3"),
        (Mode.BIND | STATIC, "0"), (Mode.BIND | STATIC, "0-1"), (Mode.BIND | RELATIVE, "3"),
    ):
        refused = errno_of(lambda mode=mode, text=text: mempolicy.set_mempolicy(kernel, task, mode, nodes(text), BITS))
        seen.append(refused or mpol_to_str(task.policy))
    assert seen == [
        "EINVAL", "bind:1", "interleave:1-2", "EINVAL", "prefer:1", "EINVAL", "bind=static:1", "bind=relative:2",
    ]


# ---------------------------------------------------------------- where pages go


@pytest.mark.parametrize(
    ("mode", "text", "expected"),
    [
        (Mode.BIND, "0,2-3", {0: 64}), (Mode.BIND, "2-3", {3: 64}), (Mode.PREFERRED, "2", {2: 64}),
        (Mode.PREFERRED_MANY, "2-3", {3: 64}), (Mode.LOCAL, "", {0: 64}),
        (Mode.INTERLEAVE, "0-3", {0: 16, 1: 16, 2: 16, 3: 16}), (Mode.INTERLEAVE, "1,3", {1: 32, 3: 32}),
    ],
)
@pytest.mark.parametrize("whose", ["task", "mapping"])
def test_a_policy_places_new_pages(
    kernel: Kernel, task: Task, whose: str, mode: Mode, text: str, expected: dict[int, int]
) -> None:
    vma = mmap.mmap(kernel, task, 0x100000000, 64)
    mask = nodes(text) if text else None
    if whose == "task":
        mempolicy.set_mempolicy(kernel, task, mode, mask, BITS)
    else:
        assert bind(kernel, task, vma, mode, text) == ""
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    assert on_nodes(vma) == expected
    check(kernel)


def test_interleaving_goes_by_address_whatever_the_order_of_touching(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, 0x100000001, 1000)
    bind(kernel, task, vma, Mode.INTERLEAVE, "0-2")
    for vpn in (0x100000005, 0x100000002, 0x100000001):
        memory.touch(kernel, task, vpn, vpn + 1, write=True)
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    found = {index: run.zone.pgdat.nid for run in vma.anon.runs() for index in run.indexes()} if vma.anon else {}
    assert all(nid == (vpn & 0xFFFFFFFF) % 3 for vpn, nid in found.items())
    assert len(found) == 1000
    check(kernel)


def test_interleaved_faults_count_as_such(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, 0x100000000, 64)
    bind(kernel, task, vma, Mode.INTERLEAVE, "0-3")
    before = [pgdat.numa_stat(NumaStat.NUMA_INTERLEAVE) for pgdat in kernel.nodes]
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    after = [pgdat.numa_stat(NumaStat.NUMA_INTERLEAVE) for pgdat in kernel.nodes]
    assert [b - a for a, b in zip(before, after, strict=True)] == [16, 16, 16, 16]


def test_a_home_node_is_where_a_binding_begins_to_look(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, 0x100000000, 64)
    home = lambda node, flags=0: errno_of(  # noqa: E731
        lambda: mbind.set_mempolicy_home_node(kernel, task, vma.start, vma.stop, node, flags))
    assert home(2) == "ENOENT"
    bind(kernel, task, vma, Mode.PREFERRED, "1")
    assert home(2) == "ENOTSUP"
    bind(kernel, task, vma, Mode.BIND, "0,2-3")
    assert (home(9), home(2, 1), home(2)) == ("EINVAL", "EINVAL", "")
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    assert on_nodes(vma) == {2: 64}


def test_a_mapping_has_a_home_node_by_its_own_policy_not_by_that_of_its_file(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, 0x100000000, 64, shared=True)
    child = kernel.tasks.fork(kernel, task)
    bind(kernel, task, vma, Mode.BIND, "0,2-3")
    home = lambda who: errno_of(  # noqa: E731
        lambda: mbind.set_mempolicy_home_node(kernel, who, vma.start, vma.stop, 2, 0))
    assert (home(child), home(task)) == ("ENOENT", "")


def test_shared_memory_keeps_its_policy_with_the_file_and_interleaves_by_inode(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, 0x100000000, 64, shared=True)
    bind(kernel, task, vma, Mode.INTERLEAVE, "0,2-3")
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    assert vma.file is not None
    order = [0, 2, 3]
    found = {index: run.zone.pgdat.nid for run in vma.file.space.runs() for index in run.indexes()}
    assert found == {index: order[(index + vma.file.ino) % 3] for index in range(64)}
    assert mempolicy.get_mempolicy(kernel, task, vma.start + 5, MPOL_F_ADDR, BITS) == (Mode.INTERLEAVE, 0b1101)
    check(kernel)


# ---------------------------------------------------------------- mbind(2)


def test_mbind_cuts_mappings_at_its_edges_and_joins_them_again(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 90)
    assert task.mm
    before = len(task.mm.vmas)
    start, stop = vma.start, vma.stop
    mbind.mbind(kernel, task, start + 30, start + 60, Mode.BIND, 0b10, BITS, 0)
    inside = [(v.start - start, v.pages, mpol_to_str(v.policy)) for v in task.mm.overlapping(start, stop)]
    assert inside == [(0, 30, "default"), (30, 30, "bind:1"), (60, 30, "default")]
    mbind.mbind(kernel, task, start + 30, start + 60, Mode.DEFAULT, None, 0, 0)
    assert len(task.mm.vmas) == before
    check(kernel)


def test_mbind_refuses_what_the_kernel_refuses(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 10, 0)
    call = lambda start, stop, mode=Mode.BIND, mask=1, flags=0: errno_of(  # noqa: E731
        lambda: mbind.mbind(kernel, task, start, stop, mode, mask, BITS, flags))
    a, b = vma.start, vma.stop
    assert call(a, b, flags=8) == "EINVAL"
    assert call(b, a) == "EINVAL"
    assert call(a, a) == ""
    assert call(a, b + 1) == "EFAULT"
    assert call(a - 1, b) == "EFAULT"
    assert call(a - 1, b + 1, Mode.DEFAULT, None) == ""
    assert call(b + 5, b + 6, Mode.DEFAULT, None) == "EFAULT"
    task.uid = 1000
    assert call(a, b, flags=MOVE_ALL) == "EPERM"


def test_strict_alone_refuses_and_changes_nothing(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 10, 1)
    assert bind(kernel, task, vma, Mode.BIND, "2", STRICT) == "EIO"
    assert (mpol_to_str(vma.policy), on_nodes(vma)) == ("default", {1: 10})
    assert bind(kernel, task, vma, Mode.BIND, "1-2", STRICT) == ""


def test_move_takes_what_disobeys_to_where_the_policy_wants_it(kernel: Kernel, task: Task) -> None:
    vmas = [region(kernel, task, 100, nid) for nid in (0, 1)]
    for vma in vmas:
        assert bind(kernel, task, vma, Mode.BIND, "1,3", MOVE) == ""
    assert [on_nodes(vma) for vma in vmas] == [{1: 100}, {1: 100}]
    assert moved(kernel) == 100
    check(kernel)


def test_interleave_moves_pages_outside_the_mask_only_each_to_its_place(kernel: Kernel, task: Task) -> None:
    inside, outside = region(kernel, task, 16, 1), region(kernel, task, 999, 2)
    assert bind(kernel, task, inside, Mode.INTERLEAVE, "0-3", MOVE) == ""
    assert bind(kernel, task, outside, Mode.INTERLEAVE, "0-1,3", MOVE) == ""
    assert (on_nodes(inside), on_nodes(outside)) == ({1: 16}, {0: 333, 1: 333, 3: 333})
    order = [0, 1, 3]
    assert outside.anon
    placed = {i: run.zone.pgdat.nid for run in outside.anon.runs() for i in run.indexes() if run.resident}
    assert all(placed[i] == order[(i & 0xFFFFFFFF) % 3] for i in range(outside.start, outside.stop))
    check(kernel)


def test_an_interleaved_stretch_that_is_dealt_out_again_goes_page_by_page(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, 0x100000000, 64)
    bind(kernel, task, vma, Mode.INTERLEAVE, "0-1")
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    assert bind(kernel, task, vma, Mode.INTERLEAVE, "1-3", MOVE) == ""
    assert sum(on_nodes(vma).values()) == 64
    assert 0 not in on_nodes(vma)
    assert bind(kernel, task, vma, Mode.BIND, "0", MOVE) == ""
    assert on_nodes(vma) == {0: 64}
    check(kernel)


def test_default_and_local_move_everything_home(kernel: Kernel, task: Task) -> None:
    a, b = region(kernel, task, 10, 2), region(kernel, task, 10, 3)
    assert bind(kernel, task, a, Mode.DEFAULT, "", MOVE) == ""
    assert bind(kernel, task, b, Mode.LOCAL, "", MOVE) == ""
    assert (on_nodes(a), on_nodes(b)) == ({0: 10}, {0: 10})


def test_shared_pages_are_moved_by_root_alone_and_skipped_in_silence(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 10, 0)
    kernel.tasks.fork(kernel, task)
    assert bind(kernel, task, vma, Mode.BIND, "1", MOVE | STRICT) == ""
    assert on_nodes(vma) == {0: 10}
    assert bind(kernel, task, vma, Mode.BIND, "1", MOVE_ALL) == ""
    assert on_nodes(vma) == {1: 10}
    check(kernel)


def test_the_interleaved_share_of_a_large_move_is_a_run(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 8000, 2)
    bind(kernel, task, vma, Mode.INTERLEAVE, "0-1,3", MOVE)
    assert vma.anon
    assert len(list(vma.anon.runs())) < 20


# ---------------------------------------------------------------- move_pages(2)


def where(kernel: Kernel, task: Task, vma: Vma, n: int) -> list[int | None]:
    return migrate.move_pages(kernel, task, task.pid, range(vma.start, vma.start + n), None, 0)[1]


def test_move_pages_tells_where_pages_are(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, 0x100000000, 4)
    shared = mmap.mmap(kernel, task, 0x200000000, 4, shared=True)
    memory.touch(kernel, task, vma.start + 1, vma.start + 3, write=True)
    assert where(kernel, task, vma, 5) == [-errno.EFAULT, 0, 0, -errno.EFAULT, -errno.EFAULT]
    assert where(kernel, task, shared, 2) == [-errno.ENOENT, -errno.ENOENT]


def test_move_pages_moves_each_page_and_tells_what_became_of_it(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, 0x100000000, 8)
    memory.touch(kernel, task, vma.start, vma.start + 6, write=True)
    vpns = range(vma.start, vma.stop)
    result = migrate.move_pages(kernel, task, task.pid, vpns, [2, 2, 0, 3, 2, 3, 1, 1], 0)
    assert result == (0, [2, 2, 0, 3, 2, 3, -errno.EFAULT, -errno.EFAULT])
    assert where(kernel, task, vma, 6) == [2, 2, 0, 3, 2, 3]
    check(kernel)


def test_move_pages_refuses_what_the_kernel_refuses(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 10)
    call = lambda pid=task.pid, node=1, flags=0: errno_of(  # noqa: E731
        lambda: migrate.move_pages(kernel, task, pid, [vma.start], [node], flags))
    assert (call(node=9), call(node=-1), call(flags=1), call(flags=8)) == ("ENODEV", "ENODEV", "EINVAL", "EINVAL")
    assert (call(pid=999999), call(pid=2)) == ("ESRCH", "EINVAL")
    attach(kernel, group(kernel, "a", "0-7", "0-1"), task)
    assert (call(node=3), call(node=1)) == ("EACCES", "")
    task.uid = 1000
    assert (call(flags=MOVE_ALL), call(pid=kernel.tasks.spawn(kernel, "other").pid)) == ("EPERM", "EPERM")


def test_pages_before_a_bad_node_are_moved(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 4)
    assert errno_of(lambda: migrate.move_pages(
        kernel, task, task.pid, range(vma.start, vma.stop), [1, 1, 9, 1], 0)) == "ENODEV"
    assert where(kernel, task, vma, 4) == [1, 1, 0, 0]


def test_shared_pages_need_move_all(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 4)
    kernel.tasks.fork(kernel, task)
    vpns = range(vma.start, vma.stop)
    assert migrate.move_pages(kernel, task, task.pid, vpns, [1] * 4, MOVE) == (0, [-errno.EACCES] * 4)
    assert migrate.move_pages(kernel, task, task.pid, vpns, [1] * 4, MOVE_ALL) == (0, [1] * 4)


def test_a_page_named_twice_is_busy_the_second_time(kernel: Kernel, task: Task) -> None:
    vma = region(kernel, task, 2)
    twice = [vma.start, vma.start + 1, vma.start]
    assert migrate.move_pages(kernel, task, task.pid, twice, [1, 1, 1], 0) == (0, [1, 1, -errno.EBUSY])


# ---------------------------------------------------------------- migrate_pages(2)


def test_migrate_pages_moves_by_position_and_keeps_policies(kernel: Kernel, task: Task) -> None:
    vmas = [region(kernel, task, 100 * (nid + 1), nid) for nid in range(4)]
    assert migrate.migrate_pages(kernel, task, 0, nodes("0-3"), nodes("1-2"), BITS) == 0
    assert on_nodes(vmas) == {1: 300, 2: 700}
    check(kernel)


def test_migrate_pages_refuses_what_the_kernel_refuses(kernel: Kernel, task: Task) -> None:
    other = kernel.tasks.spawn(kernel, "other")
    call = lambda pid, old, new: errno_of(  # noqa: E731
        lambda: migrate.migrate_pages(kernel, task, pid, nodes(old), nodes(new), BITS))
    assert (call(999999, "0", "1"), call(2, "0", "1"), call(0, "0", "7"), call(0, "", "1")) == (
        "ESRCH", "EINVAL", "EINVAL", "")
    assert call(other.pid, "0", "1,7") == ""
    task.uid = 1000
    assert call(other.pid, "0", "1") == "EPERM"
    attach(kernel, group(kernel, "a", "0-7", "0-1"), task)
    assert (call(0, "0", "2"), call(0, "0", "1")) == ("EPERM", "")


def test_a_user_moves_private_pages_only(kernel: Kernel, task: Task) -> None:
    task.uid = 1000
    shared = region(kernel, task, 10, 0)
    kernel.tasks.fork(kernel, task)
    private = region(kernel, task, 10, 0)
    assert migrate.migrate_pages(kernel, task, 0, 1, 2, BITS) == 0
    assert (on_nodes(shared), on_nodes(private)) == ({0: 10}, {1: 10})


def test_mlocked_pages_move_and_stay_locked(kernel: Kernel, task: Task) -> None:
    from numafs.kernel.mlock import mlock

    vma = region(kernel, task, 10, 0)
    mlock(kernel, task, vma.start, vma.stop)
    assert migrate.migrate_pages(kernel, task, 0, 1, 2, BITS) == 0
    assert on_nodes(vma) == {1: 10}
    check(kernel)


def test_a_node_without_room_ends_it_with_what_was_moved_moved() -> None:
    kernel = four_nodes(64, 32, 64, 64)
    task = kernel.tasks.spawn(kernel, "t", cpu=0)
    vma = region(kernel, task, 12000)
    free = kernel.nodes[1].free
    assert errno_of(lambda: migrate.migrate_pages(kernel, task, 0, 1, 2, BITS)) == "ENOMEM"
    zone = kernel.nodes[1].populated_zones[0]
    gone = on_nodes(vma)[1]
    assert on_nodes(vma)[0] + gone == 12000
    assert free - gone < zone.watermark[1]
    assert kernel.events[VmEvent.PGMIGRATE_FAIL] == 1
    check(kernel)


def test_the_pages_are_the_youngest_of_their_new_node_in_the_order_of_addresses(kernel: Kernel, task: Task) -> None:
    a, b = region(kernel, task, 10, 0), region(kernel, task, 10, 0)
    migrate.migrate_pages(kernel, task, 0, 1, 2, BITS)
    newest_first = [run for run in kernel.nodes[1].lru[0] if run.space in (a.anon, b.anon)]
    assert [run.space for run in newest_first][:2] == [b.anon, a.anon]


def test_moving_64_gib_takes_runs_not_pages() -> None:
    import time

    kernel = four_nodes(80 << 10, 80 << 10, 80 << 10, 80 << 10)
    cs = group(kernel, "a", "0-7", "0-1", migrate=True)
    task = kernel.tasks.spawn(kernel, "t", cpuset=cs)
    vma = mmap.mmap(kernel, task, 0x100000000, 16 << 20)
    bind(kernel, task, vma, Mode.INTERLEAVE, "0-1")
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    start = time.perf_counter()
    cpuset.mems_store(kernel, cs, "2-3")
    assert time.perf_counter() - start < 0.05
    assert on_nodes(vma) == {2: 8 << 20, 3: 8 << 20}


@given(st.lists(st.integers(-3, 75), max_size=30))
def test_pages_asked_for_together_are_where_each_of_them_is(asked: list[int]) -> None:
    kernel = four_nodes()
    task = kernel.tasks.spawn(kernel, "asks")
    assert task.mm
    spread = mmap.mmap(kernel, task, 1 << 24, 40)
    mbind.mbind(kernel, task, spread.start, spread.stop, 3, 0b1011, BITS, 0)
    memory.touch(kernel, task, spread.start, spread.start + 30, True)
    shared = mmap.mmap(kernel, task, spread.stop, 32, shared=True)
    memory.touch(kernel, task, shared.start + 4, shared.start + 9, True)
    vpns = [spread.start + page for page in asked]
    alone = [migrate.do_pages_stat(task.mm, [vpn])[0] for vpn in vpns]
    followed = [migrate.follow_page(task.mm, vpn) for vpn in vpns]
    assert migrate.do_pages_stat(task.mm, vpns) == alone
    assert alone == [found if isinstance(found, int) else found[0].zone.pgdat.nid for found in followed]


def test_a_locked_page_that_moves_is_stranded_and_locked_again(kernel: Kernel, task: Task) -> None:
    vma = mmap.mmap(kernel, task, 0x100000000, 64)
    mlock.mlock(kernel, task, vma.start, vma.stop)
    before = {event: kernel.events[event] for event in VmEvent}
    bind(kernel, task, vma, Mode.BIND, "2", 2)
    assert on_nodes(vma) == {2: 64}
    assert {event: kernel.events[event] - n for event, n in before.items() if kernel.events[event] != n and
            "UNEVICTABLE" in event.name} == {
        VmEvent.UNEVICTABLE_PGS_STRANDED: 64, VmEvent.UNEVICTABLE_PGS_MLOCKED: 64, VmEvent.UNEVICTABLE_PGS_CULLED: 64,
    }
