# SPDX-License-Identifier: MIT
"""A running machine is made like another one, step by step, or not at all."""

from __future__ import annotations

from dataclasses import replace
from errno import EBUSY, EINVAL

import pytest

from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.hotplug import change_machine
from numafs.kernel.kernel import Kernel
from numafs.machine.presets import resolve
from numafs.machine.spec import Machine
from numafs.machine.toml import dumps, loads


@pytest.fixture
def ring() -> Kernel:
    return boot(resolve("4x2:512M:14,20"))


def shape(kernel: Kernel) -> list[tuple[int, int, int]]:
    """Present pages, CPUs and blocks of each node that is on line."""
    return [(pgdat.present, pgdat.cpus_present, len(pgdat.memory_blocks)) for pgdat in kernel.online_nodes]


def refused(kernel: Kernel, machine: Machine, errno: int, why: str) -> None:
    """`machine` is refused, and nothing has changed."""
    before = shape(kernel), kernel.cpu_online, kernel.machine, [list(pgdat.distance) for pgdat in kernel.nodes]
    with pytest.raises(OSError, match=why) as caught:
        change_machine(kernel, machine)
    assert caught.value.errno == errno
    assert before == (shape(kernel), kernel.cpu_online, kernel.machine, [p.distance for p in kernel.nodes])
    check(kernel)


def test_a_node_is_plugged_in_with_its_memory_and_cpus_and_pulled_out_again(ring: Kernel) -> None:
    before = shape(ring)
    change_machine(ring, resolve("5x2:512M:14,20"))
    assert shape(ring)[4] == (131072, 0x300, 4)
    assert ring.nodes[4].distance == [14, 20, 20, 14, 10]
    assert ring.cpusets.root.mems_allowed == 0b11111 and ring.cpu_online == 0x3FF
    check(ring)
    change_machine(ring, resolve("4x2:512M:14,20"))
    assert shape(ring) == before and ring.node_online == 0b1111 and ring.cpu_online == 0xFF
    check(ring)


def test_memory_comes_in_whole_blocks(ring: Kernel) -> None:
    change_machine(ring, resolve("4x2:640M:14,20"))
    assert [pages - 131072 for pages, _, _ in shape(ring)][1:] == [32768] * 3
    check(ring)
    refused(ring, resolve("4x2:700M:14,20"), EINVAL, "whole blocks of 128 MiB")


def test_a_task_may_run_on_a_cpu_that_comes(ring: Kernel) -> None:
    task = ring.tasks.spawn(ring, "sh")
    change_machine(ring, resolve("5x2:512M:14,20"))
    assert task.cpus_allowed & 0x300 == 0x300


def test_a_cpu_does_not_move_to_another_node(ring: Kernel) -> None:
    refused(ring, resolve("4x3:512M:14,20"), EINVAL, "CPU 2 cannot move from node 1 to node 0")


def test_memory_that_holds_the_kernels_own_pages_stays_and_what_went_before_it_comes_back(ring: Kernel) -> None:
    refused(ring, resolve("3x2:512M:14"), EBUSY, "cannot move")


def test_what_only_a_boot_can_change_is_refused_by_name(ring: Kernel) -> None:
    edited = "seed = 7\n" + dumps(replace(ring.machine, seed=1)).replace("seed = 1\n", "")
    refused(ring, loads(edited), EINVAL, "seed cannot change while the machine runs")


def test_distances_can_change(ring: Kernel) -> None:
    change_machine(ring, resolve("4x2:512M:20,14"))
    assert ring.nodes[0].distance == [10, 20, 14, 20]
    assert ring.nodes[0].fallback_nodes[:2] == [0, 2]
