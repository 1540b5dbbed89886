# SPDX-License-Identifier: MIT
"""Whatever tasks, cpusets, policies and moves do in whatever order, the model agrees with itself and loses no page."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from numafs.kernel import cpuset, hugetlb, mbind, memory, mempolicy, migrate, mlock, mmap
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.cpu import cpu_down, cpu_up
from numafs.kernel.cpuset import CS
from numafs.kernel.errors import TaskKilled
from numafs.kernel.memory_hotplug import offline_block, online_block
from numafs.kernel.mm import Task, Vma
from numafs.kernel.nodemask import list_text
from numafs.machine.presets import from_short

BITS = 1025
REGIONS = 0x100000000


class Model:
    """A machine of four nodes with blocks, huge pages of both kinds, three groups, and tasks."""

    def __init__(self) -> None:
        self.kernel = boot(from_short("4x2:256M"))
        hugetlb.set_max_huge_pages(self.kernel, 512, 8, None, None)
        root = self.kernel.cpusets.root
        self.groups = [root, *(cpuset.mkdir(self.kernel, root, name) for name in "ab")]
        self.groups.append(cpuset.mkdir(self.kernel, self.groups[1], "c"))
        for cs in self.groups[1:]:
            cpuset.cpus_store(self.kernel, cs, "0-7")
            cpuset.mems_store(self.kernel, cs, "0-3")
            cpuset.update_flag(self.kernel, cs, CS.MEMORY_MIGRATE, cs.name != "b")
        self.kernel.tasks.spawn(self.kernel, "first")

    def tasks(self) -> list[Task]:
        return [task for task in self.kernel.tasks if task.mm is not None and task.pid > 1]

    def task(self, n: int) -> Task:
        tasks = self.tasks()
        return tasks[n % len(tasks)] if tasks else self.kernel.tasks.spawn(self.kernel, "again")

    def region(self, task: Task, n: int) -> Vma:
        assert task.mm
        regions = [vma for vma in task.mm.vmas if vma.start >= REGIONS and vma.start < REGIONS << 1]
        if not regions or n % 4 == 0:
            start = max((vma.stop for vma in regions), default=REGIONS) // 512 * 512 + 1024
            return mmap.mmap(self.kernel, task, start, 512 * (1 + n % 5), hugetlb=512 * (n % 8 == 4), shared=n % 3 == 1)
        return regions[n % len(regions)]

    def step(self, what: int, n: int, mask: int, x: int) -> None:
        """One operation; refusals and deaths are part of life."""
        kernel, task = self.kernel, self.task(n)
        try:
            self.steps()[what % len(self.steps())](task, n, mask, x)
        except OSError:
            pass
        except TaskKilled:
            kernel.tasks.do_exit(kernel, task)

    def steps(self) -> list[Callable[[Task, int, int, int], object]]:
        return [
            self.touch, self.touch, self.move_pages, self.bind, self.policy, self.migrate, self.attach, self.mems,
            self.cpus, self.fork, self.leave, self.cpu, self.block, self.lock,
        ]

    def touch(self, task: Task, n: int, mask: int, x: int) -> None:
        vma = self.region(task, x)
        start = vma.start + mask * 32 % vma.pages
        memory.touch(self.kernel, task, start, vma.stop, write=n % 2 == 0)

    def move_pages(self, task: Task, n: int, mask: int, x: int) -> None:
        vma = self.region(task, x)
        vpns = range(vma.start, vma.stop, 1 + n % 7)
        nodes = [(mask + i // 50) % 4 for i in range(len(vpns))]
        migrate.move_pages(self.kernel, task, task.pid, vpns, nodes if n % 5 else None, 2 if n % 2 else 4)

    def bind(self, task: Task, n: int, mask: int, x: int) -> None:
        vma = self.region(task, x)
        start = vma.start + (n * 100 % vma.pages) // (vma.hugetlb or 1) * (vma.hugetlb or 1)
        mode = n % 6
        nodes = mask if mode in (1, 2, 3, 5) else None
        mbind.mbind(self.kernel, task, start, vma.stop, mode, nodes, BITS, x % 8)

    def policy(self, task: Task, n: int, mask: int, x: int) -> None:
        mempolicy.set_mempolicy(self.kernel, task, n % 6 | (x % 3) << 14, mask, BITS)

    def migrate(self, task: Task, n: int, mask: int, x: int) -> None:
        migrate.migrate_pages(self.kernel, task, 0, mask, x, BITS)

    def attach(self, task: Task, n: int, mask: int, x: int) -> None:
        cpuset.attach(self.kernel, self.groups[x % 4], task.pid, whole_process=n % 2 == 0)

    def mems(self, task: Task, n: int, mask: int, x: int) -> None:
        cpuset.mems_store(self.kernel, self.groups[n % 4], list_text(mask))

    def cpus(self, task: Task, n: int, mask: int, x: int) -> None:
        cpuset.cpus_store(self.kernel, self.groups[n % 4], list_text(mask | x << 4))

    def fork(self, task: Task, n: int, mask: int, x: int) -> None:
        if len(self.tasks()) < 6:
            (self.kernel.tasks.fork if n % 2 else self.kernel.tasks.clone_thread)(self.kernel, task)

    def leave(self, task: Task, n: int, mask: int, x: int) -> None:
        if len(self.tasks()) > 3:
            self.kernel.tasks.do_exit(self.kernel, task)

    def cpu(self, task: Task, n: int, mask: int, x: int) -> None:
        (cpu_down if n % 2 else cpu_up)(self.kernel, x % 8)

    def block(self, task: Task, n: int, mask: int, x: int) -> None:
        numbers = sorted(self.kernel.memory_blocks)
        number = numbers[x % len(numbers)]
        if n % 2:
            offline_block(self.kernel, number)
        else:
            online_block(self.kernel, number, "Movable" if mask % 2 else None)

    def lock(self, task: Task, n: int, mask: int, x: int) -> None:
        vma = self.region(task, x)
        (mlock.mlock if n % 2 else mlock.munlock)(self.kernel, task, vma.start, vma.start + vma.pages // 2)


steps = st.lists(
    st.tuples(st.integers(0, 13), st.integers(0, 40), st.integers(1, 15), st.integers(0, 15)), min_size=1, max_size=25
)


@settings(max_examples=40, deadline=None)
@given(steps)
def test_no_history_of_tasks_and_moves_confuses_the_model(history: list[tuple[int, int, int, int]]) -> None:
    model = Model()
    for step in history:
        model.step(*step)
        check(model.kernel)
    for task in model.kernel.tasks:
        assert task.mems_allowed == cpuset.cpuset_mems_allowed(model.kernel, task)
