# SPDX-License-Identifier: MIT
"""The task table: making tasks, threads, copies of tasks, and their end.

kernel/{fork,exit,pid}.c (v6.1). Modelled tasks have pids above the largest that the kernel
gives to a process, so that they never meet a real one.

Simplified: a modelled task is gone when it exits, there are no zombies; task structures take no slab.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from . import binfmt, cgroup_v2, kernel_alloc, mmap, numa_balancing, page_alloc
from . import cpuset as cpusets
from .errors import EINVAL, ENOMEM, TaskKilled
from .gfp import GFP_KERNEL
from .kthread import kernel_threads
from .mempolicy import mpol_dup, placement
from .mm import Mm, Task
from .mmzone import PageUse, Zone
from .nodemask import Mask, list_text, nth
from .sched import set_cpus_allowed
from .vmstat import NodeStat, mod_node_page_state

if TYPE_CHECKING:
    from .cpuset import Cpuset
    from .filemap import Inode
    from .kernel import Kernel

__all__ = ["FIRST_PID", "TaskTable"]

FIRST_PID = 4_194_305
"""The first pid of a modelled task: one above the kernel's PID_MAX_LIMIT."""
STACK_PAGES_KB = 16


class TaskTable:
    """Every thread that the kernel knows, by its id."""

    def __init__(self, kernel: Kernel) -> None:
        self._by_pid: dict[int, Task] = {}
        self._threads: dict[int, list[Task]] = {}
        self._next_pid = FIRST_PID
        self.find_real: Callable[[int], Task | None] | None = None
        """Adopts a real process of this machine, if it lives."""
        self.look: Callable[[Task], None] = lambda _: None
        """Called before somebody looks at the memory of a task: the door brings that of a real one up to date."""
        self.read_real: Callable[[int, str], str | None] | None = None
        """What the host says of a real process: a file of its /proc/PID."""
        self.program: Inode | None = None
        """The file that modelled tasks run."""
        everywhere = (1 << len(kernel.cpu_to_node)) - 1
        self.init = Task(
            1, 1, "init", Mm(), everywhere, nth(kernel.cpu_online, 0), kernel.node_states_memory, kernel.cpusets.root,
            ppid=0, cgroup=kernel.cgrp_dfl_root.root if kernel.cgrp_dfl_root else None,
        )
        """The task that orphans go to."""
        self._enter(self.init)
        for task in kernel_threads(kernel):
            self._enter(task)

    def __iter__(self) -> Iterator[Task]:
        """Every thread, by id."""
        return iter([self._by_pid[pid] for pid in sorted(self._by_pid)])

    def get(self, pid: int) -> Task | None:
        """find_task_by_vpid(): the thread with this id."""
        return self._by_pid.get(pid)

    def find(self, pid: int) -> Task | None:
        """The thread with this id; a real process that nobody knows yet is adopted by the door."""
        task = self._by_pid.get(pid)
        if task is None and self.find_real is not None and pid < FIRST_PID:
            return self.find_real(pid)
        return task

    def threads(self, task: Task) -> list[Task]:
        """The threads of a task's process, the leader first if it still is there."""
        return list(self._threads[task.tgid])

    # ------------------------------------------------------------ beginnings

    def spawn(
        self,
        kernel: Kernel,
        comm: str,
        *,
        cpu: int | None = None,
        cpus: Mask | None = None,
        cpuset: Cpuset | None = None,
        uid: int = 0,
        gid: int = 0,
        ppid: int = 1,
    ) -> Task:
        """A new modelled process with the memory of a small static program; ENOMEM if the OOM killer takes it."""
        parent = self.get(ppid) or self.init
        task = self._copy_process(kernel, parent, self._free_pid(), uid=uid, gid=gid)
        task.comm, task.cmdline = comm[:15], (comm,)
        task.policy = None
        task.mm = Mm()
        task.mm.users.append(task)
        numa_balancing.init_numa_balancing(kernel, task)
        try:
            self._settle(kernel, task, cpu, cpus, cpuset)
            task.stack = alloc_thread_stack(kernel, task)
            binfmt.exec_program(kernel, task)
        except TaskKilled:
            self.do_exit(kernel, task)
            raise ENOMEM(f"no memory for {comm}") from None
        except BaseException:
            self.do_exit(kernel, task)
            raise
        return task

    def _settle(self, kernel: Kernel, task: Task, cpu: int | None, cpus: Mask | None, cpuset: Cpuset | None) -> None:
        """Put a new task into its group and on its CPU, before it takes memory."""
        if cpuset is not None and cpuset is not task.cpuset:
            cpusets.attach(kernel, cpuset, task.pid, whole_process=True)
        if cpus is not None:
            if not cpus & task.cpus_allowed & kernel.cpu_online:
                raise EINVAL(f"no CPU of {list_text(cpus)} may be used")
            set_cpus_allowed(kernel, task, cpus & task.cpus_allowed)
        if cpu is not None:
            if not task.cpus_allowed & kernel.cpu_online & 1 << cpu:
                raise EINVAL(f"CPU {cpu} may not be used")
            task.cpu = cpu

    def fork(self, kernel: Kernel, task: Task) -> Task:
        """fork(2): a child with a copy of the address space, written pages shared until one of them writes."""
        child = self._copy_process(kernel, task, self._free_pid(), uid=task.uid, gid=task.gid)
        try:
            child.stack = alloc_thread_stack(kernel, task)
            if task.mm is not None:
                child.mm = mmap.dup_mmap(kernel, task, task.mm)
                child.mm.users = [child]
                numa_balancing.init_numa_balancing(kernel, child)
        except BaseException:
            self.do_exit(kernel, child)
            raise
        return child

    def clone_thread(self, kernel: Kernel, task: Task) -> Task:
        """clone(2) with CLONE_THREAD | CLONE_VM: another thread of the same process."""
        thread = self._copy_process(kernel, task, self._free_pid(), uid=task.uid, gid=task.gid, tgid=task.tgid)
        thread.ppid = task.ppid
        if task.mm is not None:
            thread.mm = task.mm
            task.mm.users.append(thread)
        numa_balancing.init_numa_balancing(kernel, thread, task)
        thread.stack = alloc_thread_stack(kernel, task)
        return thread

    def adopt(
        self, kernel: Kernel, pid: int, tgid: int, comm: str, uid: int, gid: int, threads: Iterable[int] = (), *,
        parent: Task | None = None,
    ) -> Task:
        """A real process of this machine becomes known, with all its threads; its memory stays its own affair.

        It and what is new of it begin in the group of `parent`, or of init.
        """
        for tid in sorted({tgid, pid, *threads}):
            known = self._by_pid.get(tid)
            if known is None:
                known = self._copy_process(kernel, parent or self.init, tid, uid=uid, gid=gid, tgid=tgid)
                known.real = True
                known.ppid = 0
            known.comm = comm[:15]
        return self._by_pid[pid]

    def _copy_process(
        self, kernel: Kernel, parent: Task, pid: int, *, uid: int, gid: int, tgid: int | None = None
    ) -> Task:
        """copy_process(): a thread in its parent's group, with its affinity, nodes, policy and flags."""
        policy = mpol_dup(parent.policy) if parent.policy else None
        task = Task(
            pid, tgid or pid, parent.comm, None, parent.cpus_allowed, parent.cpu, parent.mems_allowed, parent.cpuset,
            ppid=parent.tgid, uid=uid, gid=gid, policy=policy, il_prev=parent.il_prev,
            il_weight=parent.il_weight, user_cpus=parent.user_cpus,
            spread_page=parent.spread_page, spread_slab=parent.spread_slab, oom_score_adj=parent.oom_score_adj,
            start_ns=kernel.clock.now, cmdline=parent.cmdline, cgroup=parent.cgroup,
        )
        if task.tgid == pid:
            parent.children.append(task)
        self._enter(task)
        return task

    def _enter(self, task: Task) -> None:
        self._by_pid[task.pid] = task
        self._threads.setdefault(task.tgid, []).append(task)
        task.cpuset.members[task] = None
        if task.cgroup is not None:
            task.cgroup.members[task] = None
        if task.mm is not None:
            task.mm.users.append(task)

    def _free_pid(self) -> int:
        pid = self._next_pid
        self._next_pid += 1
        return pid

    # ------------------------------------------------------------ the end

    def do_exit(self, kernel: Kernel, task: Task) -> None:
        """A thread ends; if it leads its process, so do all the others (exit_group)."""
        doomed = self.threads(task) if task.pid == task.tgid else [task]
        for thread in reversed(doomed):
            self._exit_thread(kernel, thread)

    def _exit_thread(self, kernel: Kernel, task: Task) -> None:
        if task.exited:
            return
        task.exited = True
        numa_balancing.task_numa_free(task)
        if kernel.cpu_curr.get(task.cpu) is task:
            del kernel.cpu_curr[task.cpu]
        self._exit_mm(kernel, task)
        cgroup_v2.exit_task(kernel, task)
        cpusets.exit_task(kernel, task)
        kernel_alloc.exit_task(kernel, task)
        free_thread_stack(kernel, task)
        self._forget_original_parent(task)
        del self._by_pid[task.pid]
        self._threads[task.tgid].remove(task)
        if not self._threads[task.tgid]:
            del self._threads[task.tgid]

    def _exit_mm(self, kernel: Kernel, task: Task) -> None:
        mm = task.mm
        if mm is None or task not in mm.users:
            return
        mm.users.remove(task)
        if not mm.users:
            mmap.exit_mmap(kernel, mm)

    def _forget_original_parent(self, task: Task) -> None:
        """Its children are init's now, and it is nobody's."""
        for child in task.children:
            child.ppid = self.init.pid
            self.init.children.append(child)
        task.children = []
        parent = self._by_pid.get(task.ppid, self.init)
        if task in parent.children:
            parent.children.remove(task)


# ---------------------------------------------------------------- kernel stacks


def alloc_thread_stack(kernel: Kernel, task: Task) -> list[tuple[Zone, int]]:
    """A kernel stack, page by page (CONFIG_VMAP_STACK); returns how many pages of which zone."""
    where = placement(kernel, task)
    left = STACK_PAGES_KB * 1024 // kernel.machine.page_size
    stack: list[tuple[Zone, int]] = []
    while left > 0:
        zone, n = page_alloc.alloc_pages(kernel, task, GFP_KERNEL, where, left)
        _account_stack(kernel, zone, n)
        stack.append((zone, n))
        left -= n
    return stack


def free_thread_stack(kernel: Kernel, task: Task) -> None:
    """Give the kernel stack back."""
    for zone, n in task.stack:
        _account_stack(kernel, zone, -n)
        page_alloc.free_pages(kernel, zone, n)
    task.stack = []


def _account_stack(kernel: Kernel, zone: Zone, n: int) -> None:
    zone.used[PageUse.KERNEL_STACK] += n
    mod_node_page_state(zone.pgdat, NodeStat.NR_KERNEL_STACK, n * kernel.machine.page_size // 1024)
