# SPDX-License-Identifier: MIT
"""From a machine to a kernel: zones, what is in use, and what the kernel chooses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.mmzone import Wmark
from numafs.kernel.vmstat import NodeStat
from numafs.machine.presets import presets, resolve


@pytest.mark.parametrize("name", presets())
def test_every_preset_boots_into_a_consistent_state(name):
    check(boot(resolve(name)))


def test_the_measured_machine_has_its_free_pages_and_counters():
    kernel = boot(resolve("oracle/seed4"))
    assert [zone.free for zone in kernel.zones()] == [3776, 101405, 123666, 125752, 123149]
    node = kernel.nodes[0].stat
    assert node[NodeStat.NR_SLAB_RECLAIMABLE] == 2486
    assert node[NodeStat.NR_UNEVICTABLE] == 2102
    assert node[NodeStat.NR_KERNEL_STACK] == 137 * 4
    assert node[NodeStat.NR_PAGE_TABLE_PAGES] == 25


def test_watermarks_of_the_measured_machine_at_32_mib():
    kernel = boot(resolve("oracle/seed4"))
    kernel.vm.set(kernel, "min_free_kbytes", 32768)
    marks = [zone.watermark[Wmark.MIN : Wmark.HIGH + 1] for zone in kernel.zones()]
    assert marks == [[62, 77, 92], [1846, 2307, 2768], [2097, 2621, 3145], [2097, 2621, 3145], [2088, 2610, 3132]]


def test_transparent_huge_pages_raise_min_free_kbytes():
    machine = resolve("ring4")
    with_thp, without = (boot(replace(machine, thp=thp)).vm.min_free_kbytes for thp in ("always", "never"))
    assert with_thp > 10 * without


@pytest.mark.parametrize(("mode", "far", "expected"), [("auto", 31, 1), ("auto", 30, 0), ("0", 99, 0), ("3", 20, 3)])
def test_zone_reclaim_mode_is_as_said_or_by_distance(mode, far, expected):
    machine = replace(resolve("2x1:64M"), distance=((10, far), (far, 10)), zone_reclaim_mode=mode)
    assert boot(machine).vm.zone_reclaim_mode == expected


def test_a_machines_sysctls_are_set_with_their_effect():
    machine = replace(resolve("2x1:64M"), sysctl={"vm.min_free_kbytes": 4096, "kernel.numa_balancing": 0})
    kernel = boot(machine)
    assert (kernel.vm.min_free_kbytes, kernel.vm.user_min_free_kbytes, kernel.vm.numa_balancing) == (4096, 4096, 0)
    assert sum(zone.watermark[Wmark.MIN] for zone in kernel.zones()) == pytest.approx(1024, abs=4)


def test_numa_balancing_is_on_where_there_are_nodes_to_balance():
    assert [boot(resolve(text)).vm.numa_balancing for text in ("1x2:64M", "2x1:64M")] == [0, 1]


def test_a_swap_area_is_on_from_the_start_unless_the_machine_says_otherwise():
    kernel = boot(resolve("oracle/seed4"))
    assert kernel.swap_areas == []
