# SPDX-License-Identifier: MIT
"""What a kernel of the profile 6.18 does otherwise."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from numafs.kernel import cpuset, mempolicy, sched
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.memory import touch
from numafs.kernel.mempolicy import Mode
from numafs.kernel.mm import Task, Vma
from numafs.kernel.mmap import mmap
from numafs.kernel.mmzone import PageUse
from numafs.kernel.proactive_reclaim import user_proactive_reclaim
from numafs.kernel.vmstat import NumaStat, VmEvent
from numafs.kernel.weighted_interleave import InterleaveWeights
from numafs.machine.spec import Performance

from .machines import machine, read_file


@pytest.fixture
def kernel() -> Kernel:
    return boot(machine(64, 64, 64, kernel="6.18", thp="never"))


def spawn(kernel: Kernel, **settings: int) -> Task:
    return kernel.tasks.spawn(kernel, "task", **settings)


def nodes_of(vma: Vma) -> list[int]:
    """The node of each page of a mapping."""
    where: dict[int, int] = {}
    for segment in vma.segments:
        for run, a, b in segment.space.find(segment.start - segment.delta, segment.stop - segment.delta):
            for i in range(a, b):
                where[i * run.lane.width + run.lane.i + segment.delta] = run.zone.pgdat.nid
    return [where[vpn] for vpn in range(vma.start, vma.stop)]


# ---------------------------------------------------------------- weighted interleaving


def test_each_node_gets_its_weight_of_pages_in_a_row_by_address(kernel: Kernel):
    kernel.il_weights.set(0, 3)
    kernel.il_weights.set(2, 2)
    task = spawn(kernel)
    mempolicy.set_mempolicy(kernel, task, Mode.WEIGHTED_INTERLEAVE, 0b101, 4)
    vma = mmap(kernel, task, None, 50)
    touch(kernel, task, vma.start, vma.stop, write=True)
    turn = [0, 0, 0, 2, 2]
    assert nodes_of(vma) == [turn[(vma.pgoff + i) % 5] for i in range(50)]
    assert kernel.nodes[2].numa_stat(NumaStat.NUMA_INTERLEAVE) >= 20
    check(kernel)


def test_the_rotor_rests_on_a_node_for_its_weight(kernel: Kernel):
    kernel.il_weights.set(1, 3)
    task = spawn(kernel)
    mempolicy.set_mempolicy(kernel, task, Mode.WEIGHTED_INTERLEAVE, 0b011, 3)
    assert [mempolicy.placement(kernel, task).nid for _ in range(8)] == [0, 1, 1, 1, 0, 1, 1, 1]


def test_the_rotor_goes_on_where_a_file_left_it(kernel: Kernel):
    kernel.il_weights.set(0, 4)
    one, many = spawn(kernel), spawn(kernel)
    for task in (one, many):
        mempolicy.set_mempolicy(kernel, task, Mode.WEIGHTED_INTERLEAVE, 0b011, 3)
    singly = [mempolicy.placement(kernel, one).nid for _ in range(13)]
    found: dict[int, int] = {}
    for start, stop in ((0, 6), (6, 8), (8, 13)):
        for pages, where in mempolicy.file_placements(kernel, many, kernel.bdev, start, stop):
            found.update((page, where.nid) for page in pages)
    assert [found[page] for page in range(13)] == singly


def test_get_mempolicy_tells_the_node_that_the_rotor_rests_on(kernel: Kernel):
    kernel.il_weights.set(0, 2)
    task = spawn(kernel)
    mempolicy.set_mempolicy(kernel, task, Mode.WEIGHTED_INTERLEAVE, 0b011, 3)
    told = []
    for _ in range(4):
        told.append(mempolicy.get_mempolicy(kernel, task, None, mempolicy.MPOL_F_NODE, None)[0])
        mempolicy.placement(kernel, task)
    assert told == [0, 0, 1, 0]


def test_the_policy_is_printed_and_follows_the_cpuset(kernel: Kernel):
    task = spawn(kernel)
    mempolicy.set_mempolicy(kernel, task, Mode.WEIGHTED_INTERLEAVE, 0b011, 3)
    assert mempolicy.mpol_to_str(task.policy) == "weighted interleave:0-1"
    mempolicy.mpol_rebind_task(task, 0b110)
    assert mempolicy.mpol_to_str(task.policy) == "weighted interleave:1-2"


def test_weights_follow_the_bandwidths_that_the_firmware_tells_of():
    described = machine(64, 64, kernel="6.18")
    fast, slow = described.nodes
    described = replace(described, nodes=(
        replace(fast, performance=Performance(80, 80, 300_000, 300_000)),
        replace(slow, performance=Performance(200, 200, 100_000, 120_000)),
    ))
    weights = InterleaveWeights(described)
    assert (weights.get(0), weights.get(1)) == (3, 1)
    weights.set(1, 5)
    assert (weights.get(0), weights.get(1), weights.auto) == (3, 5, False)


def test_older_kernels_know_neither_the_mode_nor_balancing_among_preferred_nodes(kernel: Kernel):
    old = boot(machine(64, 64))
    for mode in (int(Mode.WEIGHTED_INTERLEAVE), Mode.PREFERRED_MANY | mempolicy.MPOL_F_NUMA_BALANCING):
        mempolicy.set_mempolicy(kernel, spawn(kernel), mode, 0b11, 3)
        with pytest.raises(OSError, match="Invalid argument"):
            mempolicy.set_mempolicy(old, spawn(old), mode, 0b11, 3)


# ---------------------------------------------------------------- affinity


def attach(kernel: Kernel, task: Task, name: str, cpus: str) -> cpuset.Cpuset:
    group = cpuset.mkdir(kernel, kernel.cpusets.root, name)
    cpuset.cpus_store(kernel, group, cpus)
    cpuset.mems_store(kernel, group, "0")
    cpuset.attach(kernel, group, task.pid, whole_process=True)
    return group


def test_a_cpuset_keeps_the_affinity_that_the_user_chose(kernel: Kernel):
    task = spawn(kernel)
    sched.sched_setaffinity(kernel, task, 0b10)
    group = attach(kernel, task, "a", "0-1")
    assert task.cpus_allowed == 0b10
    cpuset.cpus_store(kernel, group, "0")
    assert task.cpus_allowed == 0b01
    cpuset.cpus_store(kernel, group, "0-1")
    assert task.cpus_allowed == 0b10
    child = kernel.tasks.fork(kernel, task)
    cpuset.attach(kernel, kernel.cpusets.root, child.pid, whole_process=True)
    assert child.cpus_allowed == 0b10


def test_an_older_kernel_forgets_it():
    kernel = boot(machine(64, 64))
    task = spawn(kernel)
    sched.sched_setaffinity(kernel, task, 0b10)
    attach(kernel, task, "a", "0-1")
    assert task.cpus_allowed == 0b11


# ---------------------------------------------------------------- reclaim


def test_reclaim_on_demand_frees_page_cache_of_the_node_and_counts_as_proactive(kernel: Kernel):
    read_file(kernel, spawn(kernel), kernel.bdev.space, 0, 9000)
    zone = kernel.nodes[0].populated_zones[0]
    free = zone.free + zone.used[PageUse.PCP]
    user_proactive_reclaim(kernel, None, kernel.nodes[0], 1000, None)
    assert zone.free + zone.used[PageUse.PCP] >= free + 1000
    assert kernel.events[VmEvent.PGSTEAL_PROACTIVE] >= 1000
    assert kernel.events[VmEvent.PGSTEAL_DIRECT] == 0
    check(kernel)


def test_reclaim_of_more_than_there_is_is_eagain_but_was_done(kernel: Kernel):
    read_file(kernel, spawn(kernel), kernel.bdev.space, 0, 2000)
    with pytest.raises(OSError, match="temporarily unavailable"):
        user_proactive_reclaim(kernel, None, kernel.nodes[0], 10_000, None)
    assert kernel.events[VmEvent.PGSTEAL_PROACTIVE] > 1500


def test_nodes_counted_by_weight_add_up(kernel: Kernel):
    kernel.il_weights.set(0, 7)
    task = spawn(kernel)
    mempolicy.set_mempolicy(kernel, task, Mode.WEIGHTED_INTERLEAVE, 0b111, 4)
    vma = mmap(kernel, task, None, 900)
    touch(kernel, task, vma.start, vma.stop, write=True)
    assert Counter(nodes_of(vma)) == {0: 700, 1: 100, 2: 100}
