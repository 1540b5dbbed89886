# SPDX-License-Identifier: MIT
"""CPUs and memory that go and come, and what cgroup v1 makes of it."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from numafs.kernel import cpuset
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.cpu import cpu_down, cpu_up
from numafs.kernel.kernel import Kernel
from numafs.kernel.memory_hotplug import offline_block, online_block, valid_zones
from numafs.kernel.nodemask import list_text
from numafs.machine.presets import from_short

from .groups import attach, four_nodes, group, on_nodes, region


def errno_of(action: Callable[[], object]) -> str:
    try:
        action()
    except OSError as refused:
        return errno.errorcode[refused.errno or 0]
    return ""


@pytest.fixture
def kernel() -> Kernel:
    return four_nodes()


@pytest.fixture
def blocks() -> Kernel:
    """Four nodes of 512 MiB in blocks of 128 MiB."""
    return boot(from_short("4x2:512M"))


def cpus_of(kernel: Kernel, *groups: cpuset.Cpuset) -> list[str]:
    return [list_text(cs.cpus_allowed) for cs in (kernel.cpusets.root, *groups)]


# ---------------------------------------------------------------- CPUs


def test_a_cpu_that_goes_is_lost_to_every_group_and_comes_back_to_the_root_alone(kernel: Kernel) -> None:
    a = group(kernel, "a", "2-5", "0-3")
    c, d = group(kernel, "c", "3", "0-1", a), group(kernel, "d", "2-3", "0-1", a)
    p, p2 = kernel.tasks.spawn(kernel, "p", cpuset=c), kernel.tasks.spawn(kernel, "p2", cpuset=d)
    cpu_down(kernel, 3)
    assert cpus_of(kernel, a, c, d) == ["0-2,4-7", "2,4-5", "", "2"]
    assert (cpuset.path(p.cpuset), list_text(p.cpus_allowed), p.mems_allowed) == ("/a", "2,4-5", 0b1111)
    assert (cpuset.path(p2.cpuset), p2.cpus_allowed, p2.cpu) == ("/a/d", 0b100, 2)
    assert errno_of(lambda: cpuset.cpus_store(kernel, a, "2-5")) == "EINVAL"
    assert errno_of(lambda: attach(kernel, c, p)) == "ENOSPC"
    cpu_up(kernel, 3)
    assert cpus_of(kernel, a, c, d) == ["0-7", "2,4-5", "", "2"]
    check(kernel)


def test_tasks_go_up_to_the_nearest_group_that_has_both(kernel: Kernel) -> None:
    a = group(kernel, "a", "2-3", "0-3")
    c = group(kernel, "c", "2", "0", a)
    p = kernel.tasks.spawn(kernel, "p", cpuset=c)
    cpu_down(kernel, 3)
    assert p.cpuset is c
    cpu_down(kernel, 2)
    assert (cpuset.path(p.cpuset), list_text(p.cpus_allowed)) == ("/", "0-7")
    assert cpuset.tasks(a) == []


def test_a_pinned_task_loses_its_affinity_with_its_last_cpu(kernel: Kernel) -> None:
    task = kernel.tasks.spawn(kernel, "t", cpus=0b1000)
    cpu_down(kernel, 3)
    assert (list_text(task.cpus_allowed), task.cpu) == ("0-7", 0)
    assert any("no longer affine" in line for line in kernel.kmsg)


def test_the_boot_cpu_and_the_last_one_stay(kernel: Kernel) -> None:
    assert errno_of(lambda: cpu_down(kernel, 0)) == "EPERM"
    assert errno_of(lambda: cpu_down(kernel, 99)) == "EINVAL"
    cpu_down(kernel, 1)
    cpu_down(kernel, 1)
    cpu_up(kernel, 1)
    assert kernel.cpu_online == 0xFF


# ---------------------------------------------------------------- memory


def node_blocks(kernel: Kernel, nid: int) -> list[int]:
    return [number for number, block in kernel.memory_blocks.items() if block.pgdat.nid == nid]


def test_a_block_takes_its_pages_from_the_nodes_size(blocks: Kernel) -> None:
    pgdat = blocks.nodes[3]
    before = pgdat.managed
    last = node_blocks(blocks, 3)[-1]
    zones = len(pgdat.populated_zones)
    offline_block(blocks, last)
    assert before - pgdat.managed == 32768
    assert (blocks.memory_blocks[last].state, len(pgdat.populated_zones)) == ("offline", zones)
    assert "Movable" in valid_zones(blocks, blocks.memory_blocks[last])
    assert errno_of(lambda: offline_block(blocks, last)) == "EINVAL"
    check(blocks)
    online_block(blocks, last)
    assert pgdat.managed == before
    assert errno_of(lambda: online_block(blocks, last)) == "EINVAL"
    check(blocks)


def test_the_kernels_own_pages_keep_the_lowest_block(blocks: Kernel) -> None:
    assert errno_of(lambda: offline_block(blocks, node_blocks(blocks, 1)[0])) == "EBUSY"


def test_a_block_that_straddles_zones_does_not_go(blocks: Kernel) -> None:
    first = blocks.memory_blocks[node_blocks(blocks, 0)[0]]
    assert valid_zones(blocks, first) == "none"
    assert errno_of(lambda: offline_block(blocks, first.number)) == "EINVAL"


def test_what_is_in_the_block_moves_off_the_node_whatever_the_cpuset_says(blocks: Kernel) -> None:
    a = group(blocks, "a", "0-7", "1")
    task = blocks.tasks.spawn(blocks, "t", cpuset=a)
    vma = region(blocks, task, 80_000)
    assert on_nodes(vma) == {1: 80_000}
    for number in reversed(node_blocks(blocks, 1)[1:]):
        offline_block(blocks, number)
    after = on_nodes(vma)
    assert sum(after.values()) == 80_000
    assert after.get(1, 0) <= 32768
    assert set(after) <= {1, 2}
    check(blocks)


def movable_node(kernel: Kernel, nid: int) -> None:
    """Bring all but the first block of a node on line again in its Movable zone."""
    for number in reversed(node_blocks(kernel, nid)[1:]):
        offline_block(kernel, number)
        online_block(kernel, number, "Movable")


def test_a_block_can_come_back_in_the_movable_zone(blocks: Kernel) -> None:
    movable_node(blocks, 2)
    movable = blocks.nodes[2].zones[blocks.machine.zone_types.index("Movable")]
    assert (movable.managed, movable.present, movable.spanned) == (3 * 32768,) * 3
    task = blocks.tasks.spawn(blocks, "t", cpu=4)
    region(blocks, task, 1000)
    assert movable.free < movable.managed
    check(blocks)
    offline_block(blocks, node_blocks(blocks, 2)[-1])
    check(blocks)


def test_a_node_without_memory_leaves_every_group_and_returns_to_the_root_alone() -> None:
    kernel = four_nodes(64, 64, 64, 64)
    a = group(kernel, "a", "0-7", "2-3")
    c = group(kernel, "c", "0-7", "3", a)
    p, p2 = kernel.tasks.spawn(kernel, "p", cpuset=c), kernel.tasks.spawn(kernel, "p2", cpuset=a)
    node3 = kernel.nodes[3].populated_zones[0]
    saved = node3.present
    from numafs.kernel.cpuset_hotplug import cpuset_update_active_cpus

    node3.present = 0
    cpuset_update_active_cpus(kernel)
    assert [list_text(cs.mems_allowed) for cs in (kernel.cpusets.root, a, c)] == ["0-2", "2", ""]
    assert (cpuset.path(p.cpuset), p.mems_allowed, p2.mems_allowed) == ("/a", 0b100, 0b100)
    assert errno_of(lambda: cpuset.mems_store(kernel, a, "2-3")) == "EINVAL"
    node3.present = saved
    cpuset_update_active_cpus(kernel)
    assert [list_text(cs.mems_allowed) for cs in (kernel.cpusets.root, a, c)] == ["0-3", "2", ""]
    assert kernel.tasks.init.mems_allowed == 0b1111
