# SPDX-License-Identifier: MIT
"""Whatever tasks do to a small machine, in whatever order, the model agrees with itself.

The default run is short. `NUMAFS_LONG_PROPERTIES=1 pytest tests/kernel/test_properties.py` takes minutes.
"""

from __future__ import annotations

import os
from contextlib import contextmanager

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from numafs.kernel import (
    cpu,
    cpuset,
    drop_caches,
    filemap,
    hugetlb,
    kernel_alloc,
    madvise,
    mbind,
    memory,
    memory_hotplug,
    mempolicy,
    migrate,
    mlock,
    mmap,
    page_writeback,
    sched,
    swap,
)
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.cpuset import CS
from numafs.kernel.errors import TaskKilled
from numafs.machine.toml import loads

LONG = "NUMAFS_LONG_PROPERTIES" in os.environ

TINY = """
memory = "48M"
distances = [[10, 14, 20, 14], [14, 10, 14, 20], [20, 14, 10, 14], [14, 20, 14, 10]]
[[node]]
cpus = 2
[[node]]
count = 2
cpus = 1
[[node]]
slow = true
[[swap]]
path = "/dev/vdb"
size = "40M"
[[disk]]
name = "vda"
[disk.files]
"f{0..3}" = "60M"
"many/{0..99}" = "20K"
"""

MASKS = st.integers(0, 15)
SIZES = st.sampled_from([1, 2, 3, 31, 64, 500, 512, 1024, 5000, 12000])
FRACTIONS = st.tuples(st.integers(0, 15), st.integers(1, 16))
FILES = st.sampled_from(["f0", "f1", "f2", "f3", "many/1", "many/7"])
ADVICE = st.sampled_from([
    "cold", "collapse", "dontneed", "free", "hugepage", "nohugepage", "pageout", "populate_read", "populate_write",
    "willneed",
])
KNOBS = st.sampled_from([
    ("zone_reclaim_mode", 0), ("zone_reclaim_mode", 1), ("zone_reclaim_mode", 7), ("min_free_kbytes", 1024),
    ("min_free_kbytes", 8192), ("watermark_scale_factor", 10), ("watermark_scale_factor", 300), ("swappiness", 0),
    ("swappiness", 60), ("swappiness", 200), ("min_slab_ratio", 0), ("min_unmapped_ratio", 0), ("min_slab_ratio", 5),
    ("vfs_cache_pressure", 0), ("vfs_cache_pressure", 200), ("numa_stat", 0), ("numa_stat", 1), ("dirty_ratio", 5),
    ("dirty_background_ratio", 1), ("percpu_pagelist_high_fraction", 8), ("numa_balancing", 0), ("numa_balancing", 1),
    ("numa_balancing", 2), ("numa_balancing", 3), ("numa_balancing_promote_rate_limit_MBps", 1),
])
PICK = st.integers(0, 1000)


class Machine(RuleBasedStateMachine):
    """Tasks, files and administrators at work on four nodes of 128 MiB."""

    @initialize()
    def power_on(self):
        self.kernel = boot(loads(TINY))
        self.pids = []
        self.kernel.tasks.spawn(self.kernel, "first", cpu=0)

    # ------------------------------------------------------------ choosing

    def tasks(self):
        return [task for task in self.kernel.tasks if task.mm and task.pid != 1]

    def task(self, pick):
        tasks = self.tasks()
        return tasks[pick % len(tasks)]

    def vma(self, task, pick):
        vmas = [vma for vma in task.mm.vmas if not vma.special]
        return vmas[pick % len(vmas)]

    def stretch(self, vma, fraction):
        start = vma.start + vma.pages * fraction[0] // 16
        return start, max(start + 1, min(vma.stop, start + vma.pages * fraction[1] // 16))

    def group(self, pick):
        groups = [self.kernel.cpusets.root, *self.kernel.cpusets.root.nested()]
        return groups[pick % len(groups)]

    @contextmanager
    def may_fail(self, task=None):
        """An errno is an answer like any other; a killed task is reaped."""
        try:
            yield
        except OSError:
            pass
        except TaskKilled:
            if not task.exited:
                self.kernel.tasks.do_exit(self.kernel, task)

    alive = precondition(lambda self: bool(self.tasks()))

    # ------------------------------------------------------------ lives

    @rule(cpu=st.integers(0, 3), where=PICK)
    def spawn(self, cpu, where):
        if len(self.tasks()) < 6:
            with self.may_fail():
                self.kernel.tasks.spawn(self.kernel, "task", cpu=cpu, cpuset=self.group(where))

    @alive
    @rule(who=PICK)
    def fork(self, who):
        task = self.task(who)
        if len(self.tasks()) < 6:
            with self.may_fail(task):
                self.kernel.tasks.fork(self.kernel, task)

    @alive
    @rule(who=PICK)
    def exit(self, who):
        self.kernel.tasks.do_exit(self.kernel, self.task(who))

    @alive
    @rule(who=PICK, cpus=st.integers(1, 15))
    def sched_setaffinity(self, who, cpus):
        with self.may_fail():
            sched.sched_setaffinity(self.kernel, self.task(who), cpus)

    # ------------------------------------------------------------ memory

    @alive
    @rule(who=PICK, pages=SIZES, shared=st.booleans(), touched=st.sampled_from([None, False, True]))
    def anonymous(self, who, pages, shared, touched):
        task = self.task(who)
        with self.may_fail(task):
            vma = mmap.mmap(self.kernel, task, None, pages, shared=shared)
            if touched is not None:
                memory.touch(self.kernel, task, vma.stop - pages, vma.stop, touched)

    @alive
    @rule(who=PICK, pages=SIZES, path=FILES, offset=st.integers(0, 4), shared=st.booleans(), write=st.booleans())
    def map_file(self, who, pages, path, offset, shared, write):
        task = self.task(who)
        with self.may_fail(task):
            inode = self.kernel.fs.lookup(task, path)
            vma = mmap.mmap(self.kernel, task, None, pages, file=inode, pgoff=offset, shared=shared)
            stop = min(vma.stop, vma.start + filemap.size_in_pages(self.kernel, inode) - offset)
            memory.touch(self.kernel, task, vma.start, stop, write)

    @alive
    @rule(who=PICK, pages=st.integers(1, 4))
    def map_huge(self, who, pages):
        task = self.task(who)
        size = hugetlb.huge_sizes(self.kernel)[0]
        with self.may_fail(task):
            vma = mmap.mmap(self.kernel, task, None, pages * size, hugetlb=size)
            memory.touch(self.kernel, task, vma.start, vma.stop, True)

    @alive
    @rule(who=PICK, which=PICK, part=FRACTIONS, write=st.booleans())
    def touch(self, who, which, part, write):
        task = self.task(who)
        vma = self.vma(task, which)
        with self.may_fail(task):
            memory.touch(self.kernel, task, *self.stretch(vma, part), write and vma.write)

    @alive
    @rule(who=PICK, which=PICK, pages=st.lists(st.integers(0, 12000), min_size=1, max_size=6))
    def touch_here_and_there(self, who, which, pages):
        task = self.task(who)
        vma = self.vma(task, which)
        for page in pages:
            at = vma.start + page % vma.pages
            with self.may_fail(task):
                memory.touch(self.kernel, task, at, at + 1, vma.write)
            if task.exited:
                return

    @alive
    @rule(who=PICK, which=PICK, part=FRACTIONS, ms=st.sampled_from([100, 1500, 4000]), steps=st.integers(1, 4))
    def work(self, who, which, part, ms, steps):
        task = self.task(who)
        vma = self.vma(task, which)
        stretch = self.stretch(vma, part)
        with self.may_fail(task):
            for _ in range(steps):
                sched.run_for(self.kernel, task, ms * 1_000_000)
                memory.touch(self.kernel, task, *stretch, vma.write)

    @alive
    @rule(who=PICK)
    def clone_thread(self, who):
        task = self.task(who)
        if len(self.tasks()) < 6:
            with self.may_fail(task):
                self.kernel.tasks.clone_thread(self.kernel, task)

    @rule(on=st.booleans())
    def demotion(self, on):
        self.kernel.tiers.demotion_enabled = on

    @alive
    @rule(who=PICK, which=PICK, part=FRACTIONS)
    def munmap(self, who, which, part):
        task = self.task(who)
        with self.may_fail():
            mmap.munmap(self.kernel, task, *self.stretch(self.vma(task, which), part))

    @alive
    @rule(who=PICK, which=PICK, part=FRACTIONS, advice=ADVICE)
    def madvise(self, who, which, part, advice):
        task = self.task(who)
        with self.may_fail(task):
            madvise.madvise(self.kernel, task, *self.stretch(self.vma(task, which), part), advice)

    @alive
    @rule(who=PICK, which=PICK, part=FRACTIONS, locked=st.booleans())
    def mlock(self, who, which, part, locked):
        task = self.task(who)
        with self.may_fail(task):
            (mlock.mlock if locked else mlock.munlock)(self.kernel, task, *self.stretch(self.vma(task, which), part))

    # ------------------------------------------------------------ policy and migration

    @alive
    @rule(who=PICK, mode=st.integers(0, 5), nodes=MASKS, flags=st.sampled_from([0, 0x2000, 0x4000, 0x8000]))
    def set_mempolicy(self, who, mode, nodes, flags):
        with self.may_fail():
            mempolicy.set_mempolicy(self.kernel, self.task(who), mode | flags, nodes, 65)

    @alive
    @rule(who=PICK, which=PICK, part=FRACTIONS, mode=st.integers(0, 5), nodes=MASKS, flags=st.integers(0, 7))
    def mbind(self, who, which, part, mode, nodes, flags):
        task = self.task(who)
        stretch = self.stretch(self.vma(task, which), part)
        with self.may_fail(task):
            mbind.mbind(self.kernel, task, *stretch, mode, nodes, 65, flags)

    @alive
    @rule(who=PICK, other=PICK, old=MASKS, new=MASKS)
    def migrate_pages(self, who, other, old, new):
        caller = self.task(who)
        with self.may_fail(caller):
            migrate.migrate_pages(self.kernel, caller, self.task(other).pid, old, new, 65)

    @alive
    @rule(who=PICK, which=PICK, page=st.integers(0, 5000), node=st.integers(0, 3), stride=st.integers(1, 3))
    def move_pages(self, who, which, page, node, stride):
        task = self.task(who)
        vma = self.vma(task, which)
        pages = list(range(vma.start + page % vma.pages, vma.stop, stride))[:40]
        with self.may_fail(task):
            migrate.move_pages(self.kernel, task, 0, pages, [node] * len(pages), 4)

    # ------------------------------------------------------------ files

    @alive
    @rule(who=PICK, path=FILES, offset=st.integers(0, 60 << 20), length=st.sampled_from([1, 4096, 1 << 20, 40 << 20]))
    def read(self, who, path, offset, length):
        task = self.task(who)
        with self.may_fail(task):
            filemap.generic_file_read(self.kernel, task, self.kernel.fs.lookup(task, path), offset, length)

    @alive
    @rule(who=PICK, path=FILES, offset=st.integers(0, 60 << 20), length=st.sampled_from([1, 4096, 1 << 20, 20 << 20]))
    def write(self, who, path, offset, length):
        task = self.task(who)
        with self.may_fail(task):
            filemap.generic_perform_write(self.kernel, task, self.kernel.fs.lookup(task, path), offset, length)

    @alive
    @rule(who=PICK, path=FILES, what=st.sampled_from(["fsync", "fadvise", "truncate", "shorten", "remove"]))
    def end_of_a_file(self, who, path, what):
        task = self.task(who)
        with self.may_fail(task):
            inode = self.kernel.fs.lookup(task, path)
            if what == "fsync":
                filemap.fsync(self.kernel, inode)
            elif what == "fadvise":
                filemap.fadvise_dontneed(self.kernel, inode, 100, 9000)
            elif what == "remove":
                self.kernel.fs.unlink(task, path)
                self.kernel.fs.create(task, path)
            else:
                filemap.truncate(self.kernel, inode, 0 if what == "truncate" else inode.size_bytes // 2 + 4)

    @alive
    @rule(who=PICK)
    def look_at_many(self, who):
        task = self.task(who)
        with self.may_fail(task):
            for name in self.kernel.fs.listdir(task, "many"):
                self.kernel.fs.lookup(task, f"many/{name}")

    # ------------------------------------------------------------ the kernel's own

    @alive
    @rule(who=PICK, nid=st.sampled_from([None, 0, 1, 2, 3]), n=st.integers(1, 400), what=st.integers(0, 3))
    def kernel_memory(self, who, nid, n, what):
        task = self.task(who)
        with self.may_fail(task):
            if what == 0:
                kernel_alloc.kmalloc(self.kernel, task, n * 13, n, nid)
            elif what == 1:
                kernel_alloc.vmalloc(self.kernel, task, n, nid)
            elif what == 2:
                kernel_alloc.alloc_pages(self.kernel, task, n % 6, n % 20 + 1, nid)
            elif task.kernel_memory:
                kernel_alloc.free(self.kernel, task, task.kernel_memory[n % len(task.kernel_memory)])

    # ------------------------------------------------------------ administrators

    @rule(parent=PICK, name=st.sampled_from("abc"), cpus=st.sampled_from(["0-3", "1-2", "3"]),
          mems=st.sampled_from(["0-3", "0-1", "2-3", "1", "3"]), migrates=st.booleans(), spread=st.booleans())
    def make_cpuset(self, parent, name, cpus, mems, migrates, spread):
        kernel = self.kernel
        with self.may_fail():
            group = cpuset.mkdir(kernel, self.group(parent), name)
            cpuset.cpus_store(kernel, group, cpus)
            cpuset.mems_store(kernel, group, mems)
            cpuset.update_flag(kernel, group, CS.MEMORY_MIGRATE, migrates)
            cpuset.update_flag(kernel, group, CS.SPREAD_PAGE, spread)

    @rule(which=PICK, mems=st.sampled_from(["", "0", "1", "2-3", "0-3", "0,2", "1-3"]))
    def change_mems(self, which, mems):
        with self.may_fail():
            cpuset.mems_store(self.kernel, self.group(which), mems)

    @alive
    @rule(who=PICK, where=PICK)
    def attach(self, who, where):
        with self.may_fail():
            cpuset.attach(self.kernel, self.group(where), self.task(who).pid, whole_process=True)

    @rule(which=PICK)
    def rmdir(self, which):
        group = self.group(which)
        if group.parent:
            with self.may_fail():
                cpuset.rmdir(self.kernel, group)

    @rule(value=st.integers(1, 4))
    def drop_caches(self, value):
        drop_caches.drop_caches(self.kernel, None, value)

    @rule(knob=KNOBS)
    def sysctl(self, knob):
        self.kernel.vm.set(self.kernel, *knob)

    @rule(count=st.integers(0, 12), nid=st.sampled_from([None, 0, 1]))
    def nr_hugepages(self, count, nid):
        size = hugetlb.huge_sizes(self.kernel)[0]
        hugetlb.set_max_huge_pages(self.kernel, size, count, nid, None)

    @rule(number=st.integers(1, 3), up=st.booleans())
    def cpu_hotplug(self, number, up):
        with self.may_fail():
            (cpu.cpu_up if up else cpu.cpu_down)(self.kernel, number)

    @rule(number=PICK, online=st.booleans())
    def memory_hotplug(self, number, online):
        number = sorted(self.kernel.memory_blocks)[number % len(self.kernel.memory_blocks)]
        with self.may_fail():
            (memory_hotplug.online_block if online else memory_hotplug.offline_block)(self.kernel, number)

    @rule(on=st.booleans())
    def swap(self, on):
        with self.may_fail():
            if on:
                swap.swapon(self.kernel, swap.SwapArea("/dev/vdb", 12287))
            else:
                swap.swapoff(self.kernel, "/dev/vdb")

    @rule(ms=st.sampled_from([1, 100, 6000, 40000]))
    def time_passes(self, ms):
        self.kernel.clock.advance(ms * 1_000_000)

    @rule()
    def sync(self):
        page_writeback.sync(self.kernel)

    # ------------------------------------------------------------ what must hold

    @invariant()
    def agrees_with_itself(self):
        if hasattr(self, "kernel"):
            check(self.kernel)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=400 if LONG else 50, stateful_step_count=60 if LONG else 40, deadline=None,
    derandomize=not LONG, suppress_health_check=list(HealthCheck), database=None,
)
