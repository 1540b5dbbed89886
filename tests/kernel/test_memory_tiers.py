# SPDX-License-Identifier: MIT
"""Memory tiers: which there are, demotion to slower nodes, promotion from them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from numafs.kernel import cpuset, madvise, memory, memory_tiers, mempolicy, mmap, sched
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.mempolicy import Mode
from numafs.kernel.mm import Task, Vma
from numafs.kernel.mmzone import Wmark
from numafs.kernel.vmscan import pgdat_balanced
from numafs.kernel.vmstat import NodeStat, NumaStat, VmEvent
from numafs.machine.toml import loads

from .groups import group, on_nodes, region

SECOND = 1_000_000_000
TIERED = """
thp = "never"
distances = [[10, 20, 30], [20, 10, 40], [30, 40, 10]]
[[node]]
count = 2
cpus = 1
memory = "64M"
[[node]]
memory = "128M"
slow = true
[[disk]]
name = "vda"
files = {f100 = "100M"}
"""


def tiered(text: str = TIERED) -> Kernel:
    return boot(loads(text))


@pytest.fixture
def kernel() -> Kernel:
    kernel = tiered()
    kernel.tiers.demotion_enabled = True
    kernel.vm.set(kernel, "numa_balancing", 0)
    return kernel


@pytest.fixture
def task(kernel: Kernel) -> Task:
    """A task bound to node 0, whose CPU it is on."""
    task = kernel.tasks.spawn(kernel, "task", cpu=0)
    mempolicy.set_mempolicy(kernel, task, Mode.BIND, 0b001, 65)
    return task


def fill(kernel: Kernel, task: Task, pages: int) -> Vma:
    vma = mmap.mmap(kernel, task, None, pages)
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    return vma


# ---------------------------------------------------------------- which there are


def test_slow_memory_is_a_tier_of_its_own(kernel: Kernel) -> None:
    assert [(tier.number, tier.nodes, tier.lower_tier_mask) for tier in kernel.tiers.tiers] == [
        (4, 0b011, 0b100), (22, 0b100, 0),
    ]
    assert [memory_tiers.node_is_toptier(kernel, nid) for nid in range(3)] == [True, True, False]
    assert [memory_tiers.next_demotion_node(kernel, nid) for nid in range(3)] == [2, 2, None]


def test_memory_without_cpus_is_in_the_tier_of_dram_unless_it_is_slow() -> None:
    kernel = tiered(TIERED.replace("slow = true", ""))
    assert [(tier.number, tier.nodes) for tier in kernel.tiers.tiers] == [(4, 0b111)]
    assert memory_tiers.next_demotion_node(kernel, 0) is None


def test_the_nearest_nodes_of_the_next_tier_are_targets_and_all_slower_ones_allowed() -> None:
    distance = "[[10, 20, 20, 30], [20, 10, 20, 30], [20, 20, 10, 30], [30, 30, 30, 10]]"
    kernel = tiered(f"""
        distances = {distance}
        [[node]]
        cpus = 1
        memory = "64M"
        [[node]]
        count = 2
        memory = "64M"
        abstract_distance = 1000
        [[node]]
        memory = "64M"
        slow = true
    """)
    assert kernel.tiers.preferred == {0: 0b0110, 1: 0b1000, 2: 0b1000}
    assert {memory_tiers.next_demotion_node(kernel, 0) for _ in range(50)} == {1, 2}
    assert memory_tiers.node_get_allowed_targets(kernel, 0) == 0b1110


def test_a_tier_with_cpus_is_top_tier_however_slow() -> None:
    kernel = tiered(TIERED.replace("slow = true", "slow = true\ncpus = 1"))
    assert memory_tiers.node_is_toptier(kernel, 2)
    assert memory_tiers.next_demotion_node(kernel, 0) == 2


# ---------------------------------------------------------------- demotion


def test_what_does_not_fit_on_a_node_is_demoted(kernel: Kernel, task: Task) -> None:
    vma = fill(kernel, task, 20_000)
    where = on_nodes(vma)
    demoted = kernel.events[VmEvent.PGDEMOTE_KSWAPD] + kernel.events[VmEvent.PGDEMOTE_DIRECT]
    assert set(where) == {0, 2}
    assert sum(where.values()) == 20_000
    assert 0 < where[2] <= demoted
    assert demoted == kernel.events[VmEvent.PGSTEAL_KSWAPD] + kernel.events[VmEvent.PGSTEAL_DIRECT]
    assert demoted == kernel.events[VmEvent.PGMIGRATE_SUCCESS]
    assert not kernel.events[VmEvent.OOM_KILL]
    check(kernel)


def test_without_demotion_the_same_is_killed(kernel: Kernel, task: Task) -> None:
    kernel.tiers.demotion_enabled = False
    with pytest.raises(BaseException, match="."):
        fill(kernel, task, 20_000)
    assert kernel.events[VmEvent.OOM_KILL] == 1
    assert not kernel.events[VmEvent.PGDEMOTE_KSWAPD]


def test_demoted_pages_are_hits_of_the_slow_node_asked_for_from_elsewhere(kernel: Kernel, task: Task) -> None:
    slow = kernel.nodes[2]
    fill(kernel, task, 20_000)
    assert slow.numa_stat(NumaStat.NUMA_HIT) == kernel.events[VmEvent.PGMIGRATE_SUCCESS]
    assert slow.numa_stat(NumaStat.NUMA_OTHER) == slow.numa_stat(NumaStat.NUMA_HIT)


def test_page_cache_is_demoted_before_anything_is_dropped(kernel: Kernel, task: Task) -> None:
    from numafs.kernel import filemap

    inode = kernel.fs.lookup(task, "f100")
    filemap.generic_file_read(kernel, task, inode, 0, 100 << 20)
    on_slow = kernel.nodes[2].stat[NodeStat.NR_FILE_PAGES]
    assert on_slow > 8000
    assert inode.space.nrpages == 25600
    check(kernel)


def test_a_full_slow_node_lets_pages_go_their_old_way(kernel: Kernel, task: Task) -> None:
    from numafs.kernel import filemap

    other = kernel.tasks.spawn(kernel, "other", cpu=1)
    mempolicy.set_mempolicy(kernel, other, Mode.BIND, 0b100, 65)
    zone = kernel.nodes[2].populated_zones[-1]
    fill(kernel, other, zone.free - zone.watermark[Wmark.MIN] - 64)
    inode = kernel.fs.lookup(task, "f100")
    filemap.generic_file_read(kernel, task, inode, 0, 100 << 20)
    assert inode.space.nrpages < 25600
    check(kernel)


def test_a_cpuset_without_the_slow_node_keeps_its_tasks_from_demoting(kernel: Kernel, task: Task) -> None:
    group(kernel, "fast", "0-1", "0-1")
    cpuset.attach(kernel, kernel.cpusets.root.children["fast"], task.pid, whole_process=True)
    fill(kernel, task, kernel.nodes[0].free + 100)
    assert kernel.events[VmEvent.PGSCAN_DIRECT] > 0
    assert kernel.events[VmEvent.PGDEMOTE_KSWAPD] > 0
    assert not kernel.events[VmEvent.PGDEMOTE_DIRECT]
    check(kernel)


def test_pageout_writes_to_swap_and_does_not_demote() -> None:
    kernel = tiered(TIERED + '[[swap]]\npath = "/dev/vdb"\nsize = "64M"\n')
    kernel.tiers.demotion_enabled = True
    task = kernel.tasks.spawn(kernel, "task", cpu=0)
    vma = fill(kernel, task, 1000)
    madvise.madvise(kernel, task, vma.start, vma.stop, "pageout")
    assert memory.vma_stats(kernel, vma).pages == 0
    assert kernel.events[VmEvent.PSWPOUT] == 1000
    assert not kernel.events[VmEvent.PGDEMOTE_DIRECT]


def test_what_pageout_wrote_is_found_in_the_swap_cache_where_it_was() -> None:
    kernel = tiered(TIERED + '[[swap]]\npath = "/dev/vdb"\nsize = "64M"\n')
    task = kernel.tasks.spawn(kernel, "task", cpu=0)
    vma = fill(kernel, task, 1000)
    was = on_nodes(vma)
    madvise.madvise(kernel, task, vma.start, vma.stop, "pageout")
    check(kernel)
    mempolicy.set_mempolicy(kernel, task, Mode.BIND, 0b100, 65)
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    assert on_nodes(vma) == was
    assert not kernel.events[VmEvent.PSWPIN]
    check(kernel)


def test_huge_pages_are_demoted_whole() -> None:
    kernel = tiered(TIERED.replace('thp = "never"', 'thp = "always"'))
    kernel.tiers.demotion_enabled = True
    kernel.vm.set(kernel, "numa_balancing", 0)
    task = kernel.tasks.spawn(kernel, "task", cpu=0)
    mempolicy.set_mempolicy(kernel, task, Mode.BIND, 0b001, 65)
    vma = mmap.mmap(kernel, task, 0x100000000, 40 * 512)
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    assert kernel.events[VmEvent.THP_MIGRATION_SUCCESS] > 0
    assert kernel.nodes[2].stat[NodeStat.NR_ANON_TRANSPARENT_HUGEPAGES] >= 512
    check(kernel)


# ---------------------------------------------------------------- promotion


def use(kernel: Kernel, task: Task, vma: Vma, ms: int, times: int) -> None:
    for _ in range(times):
        sched.run_for(kernel, task, ms * 1_000_000)
        memory.touch(kernel, task, vma.start, vma.stop, write=True)


@pytest.fixture
def on_slow(kernel: Kernel, task: Task) -> Vma:
    """Memory of the task in slow memory, without a policy; promotion is on."""
    mempolicy.set_mempolicy(kernel, task, Mode.DEFAULT, None, 0)
    kernel.vm.set(kernel, "numa_balancing", 2)
    return region(kernel, task, 1000, nid=2)


def test_hot_pages_are_promoted(kernel: Kernel, task: Task, on_slow: Vma) -> None:
    use(kernel, task, on_slow, 100, 15)
    assert on_nodes(on_slow) == {0: 1000}
    assert kernel.nodes[0].stat[NodeStat.PGPROMOTE_SUCCESS] == 1000
    assert kernel.nodes[0].stat[NodeStat.PGPROMOTE_CANDIDATE] == 1000
    assert kernel.events[VmEvent.NUMA_PAGES_MIGRATED] == 1000
    check(kernel)


def test_pages_used_long_after_they_were_scanned_are_cold(kernel: Kernel, task: Task, on_slow: Vma) -> None:
    idle = region(kernel, task, 10)
    use(kernel, task, idle, 1500, 1)
    kernel.clock.advance(2 * SECOND)
    memory.touch(kernel, task, on_slow.start, on_slow.stop, write=True)
    assert on_nodes(on_slow) == {2: 1000}
    assert kernel.events[VmEvent.NUMA_HINT_FAULTS] == 1000
    assert not kernel.nodes[0].stat[NodeStat.PGPROMOTE_CANDIDATE]
    check(kernel)


def test_promotion_is_limited_to_so_much_a_second(kernel: Kernel, task: Task, on_slow: Vma) -> None:
    kernel.vm.set(kernel, "numa_balancing_promote_rate_limit_MBps", 1)
    use(kernel, task, on_slow, 100, 15)
    assert on_nodes(on_slow) == {0: 256, 2: 744}
    assert kernel.nodes[0].stat[NodeStat.PGPROMOTE_CANDIDATE] == 1000
    assert kernel.nodes[0].stat[NodeStat.PGPROMOTE_SUCCESS] == 256
    check(kernel)


def test_with_plenty_of_room_even_cold_pages_are_promoted() -> None:
    kernel = tiered(TIERED.replace("64M", "2G"))
    task = kernel.tasks.spawn(kernel, "task", cpu=0)
    kernel.vm.set(kernel, "numa_balancing", 2)
    vma = region(kernel, task, 1000, nid=2)
    use(kernel, task, vma, 5000, 2)
    assert on_nodes(vma) == {0: 1000}
    assert not kernel.nodes[0].stat[NodeStat.PGPROMOTE_CANDIDATE]


def test_tiering_alone_leaves_fast_nodes_alone(kernel: Kernel, task: Task, on_slow: Vma) -> None:
    remote = region(kernel, task, 1000, nid=1)
    use(kernel, task, remote, 100, 30)
    assert on_nodes(remote) == {1: 1000}
    kernel.vm.set(kernel, "numa_balancing", 3)
    use(kernel, task, remote, 100, 60)
    assert on_nodes(remote) == {0: 1000}


def test_with_promotion_kswapd_keeps_room_for_it(kernel: Kernel) -> None:
    kernel.vm.set(kernel, "watermark_scale_factor", 500)
    pgdat = kernel.nodes[1]
    zone = pgdat.populated_zones[-1]
    filler = kernel.tasks.spawn(kernel, "filler", cpu=1)
    region(kernel, filler, zone.free - zone.watermark[Wmark.HIGH] - 300)
    assert zone.watermark[Wmark.HIGH] < zone.free < zone.watermark[Wmark.PROMO]
    assert pgdat_balanced(kernel, pgdat, 0, 3)
    kernel.vm.set(kernel, "numa_balancing", 2)
    assert not pgdat_balanced(kernel, pgdat, 0, 3)


def test_a_full_fast_node_makes_room_by_demoting(kernel: Kernel, on_slow: Vma) -> None:
    filler, user = (kernel.tasks.spawn(kernel, name, cpu=1) for name in ("filler", "user"))
    hot = region(kernel, user, 1000, nid=2)
    zone = kernel.nodes[1].populated_zones[-1]
    cold = region(kernel, filler, zone.free - zone.watermark[Wmark.HIGH])
    use(kernel, user, hot, 100, 400)
    assert on_nodes(hot)[1] > 300
    assert on_nodes(cold)[2] > 300
    assert kernel.events[VmEvent.PGDEMOTE_KSWAPD] > 300
    check(kernel)


def test_the_threshold_follows_the_number_of_candidates(kernel: Kernel, task: Task, on_slow: Vma) -> None:
    kernel.clock.advance(61 * SECOND)
    use(kernel, task, on_slow, 100, 15)
    assert kernel.nodes[0].nbp_threshold == 1125
    kernel.vm.set(kernel, "numa_balancing", 1)
    kernel.vm.set(kernel, "numa_balancing", 2)
    assert kernel.nodes[0].nbp_threshold == 0


def test_a_machine_says_how_slow_a_node_is() -> None:
    machine = loads(TIERED)
    assert [node.abstract_distance for node in machine.nodes] == [576, 576, 2880]
    kernel = boot(replace(machine, nodes=tuple(replace(node, abstract_distance=100) for node in machine.nodes)))
    assert [tier.number for tier in kernel.tiers.tiers] == [0]
