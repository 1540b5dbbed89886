# SPDX-License-Identifier: MIT
"""The OOM killer: which task dies when memory is wanted that cannot be had. mm/oom_kill.c (v6.1).

Simplified: panic_on_oom and the absence of a victim do not stop the machine: the allocation fails.
Simplified: a victim's memory is free when the killer returns; the OOM reaper is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import cpuset, memcontrol, mempolicy, pgalloc, swap
from .cgroup import path
from .gfp import Gfp, gfp_zone, show_gfp_flags
from .nodemask import Mask, list_text, members
from .page import Kind
from .printk import Level
from .show_mem import comm_of, cpuset_print_current_mems_allowed, dump_stack, mems_of, show_mem
from .vmstat import VmEvent

if TYPE_CHECKING:
    from .kernel import Kernel
    from .memcontrol import MemCgroup
    from .mm import Mm, Task
    from .page_alloc import Placement

__all__ = ["MemoryOf", "mem_cgroup_out_of_memory", "oom_badness", "out_of_memory"]

OOM_SCORE_ADJ_MIN = -1000
TASKS = "[  pid  ]   uid  tgid total_vm      rss pgtables_bytes swapents oom_score_adj name"
TASKS_BY_KIND = (
    "[  pid  ]   uid  tgid total_vm      rss rss_anon rss_file rss_shmem pgtables_bytes swapents oom_score_adj name"
)
"""With the feature oom_rss_breakdown."""


@dataclass(slots=True)
class MemoryOf:
    """What an address space occupies, in pages (the counters of struct mm_struct)."""

    anon: int = 0
    file: int = 0
    shmem: int = 0
    swap: int = 0

    @classmethod
    def of(cls, mm: Mm) -> MemoryOf:
        """Count what the page tables of `mm` map."""
        use = cls()
        for vma in mm.vmas:
            for segment in vma.segments:
                for run, a, b in segment.space.find(segment.start - segment.delta, segment.stop - segment.delta):
                    use.add(run.space.kind, b - a, resident=run.resident)
        return use

    def add(self, kind: Kind, n: int, *, resident: bool) -> None:
        """Count `n` page table entries."""
        if not resident:
            self.swap += n
        elif kind == Kind.ANON:
            self.anon += n
        elif kind == Kind.SHMEM:
            self.shmem += n
        elif kind == Kind.FILE:
            self.file += n

    @property
    def rss(self) -> int:
        """get_mm_rss()."""
        return self.anon + self.file + self.shmem


@dataclass(frozen=True, slots=True)
class OomControl:
    """The allocation that failed (struct oom_control)."""

    constraint: str
    nodemask: Mask | None
    totalpages: int
    memcg: MemCgroup | None = None
    """The group whose limit it is, if it is no want of memory."""


def out_of_memory(kernel: Kernel, task: Task | None, gfp: Gfp, where: Placement, order: int) -> bool:
    """Kill the task that costs the most memory where it is wanted; False if there is none.

    If that is `task` itself it is only marked, and the allocator unwinds it. (v6.1)
    """
    oc = constrained_alloc(kernel, task, gfp, where)
    message = "Out of memory"
    if kernel.vm.oom_kill_allocating_task and task is not None and _killable(task):
        victim: Task | None = task
        message = "Out of memory (oom_kill_allocating_task)"
    else:
        victim = select_bad_process(kernel, task, oc)
    if victim is None:
        dump_header(kernel, task, gfp, order, oc)
        kernel.printk("Out of memory and no killable processes...")
        return False
    if kernel.oom_ratelimit.permits(kernel.clock.now):
        dump_header(kernel, task, gfp, order, oc)
        dump_oom_summary(kernel, task, oc, victim)
    oom_kill_process(kernel, task, victim, message)
    return True


def mem_cgroup_out_of_memory(kernel: Kernel, memcg: MemCgroup, task: Task | None) -> bool:
    """A group has no room: kill what costs most of the processes in it; False if there is none.

    mm/memcontrol.c:mem_cgroup_out_of_memory() (v6.1).
    """
    oc = OomControl("CONSTRAINT_MEMCG", None, memcg.max, memcg)
    if kernel.vm.oom_kill_allocating_task and task is not None and _killable(task):
        victim: Task | None = task
    else:
        victim = select_bad_process(kernel, task, oc)
    if victim is None:
        return False
    if kernel.oom_ratelimit.permits(kernel.clock.now):
        dump_oom_summary(kernel, task, oc, victim)
    group = mem_cgroup_get_oom_group(victim, memcg)
    oom_kill_process(kernel, task, victim, "Memory cgroup out of memory")
    if group is not None:
        group.event("oom_group_kill")
        kernel.printk(f"Tasks in {path(group.group)} are going to be killed due to memory.oom.group set")
        for process in list(_processes(kernel)):
            if group in _lineage(process) and _killable(process) and not process.killed:
                oom_kill_process(kernel, task, process, "memory.oom.group is set")
    return True


def mem_cgroup_get_oom_group(victim: Task, limit: MemCgroup) -> MemCgroup | None:
    """The highest group with memory.oom.group, from the victim's up to the one whose limit it is (v6.1)."""
    found = None
    for memcg in _lineage(victim):
        if memcg.oom_group:
            found = memcg
        if memcg is limit:
            break
    return found


def constrained_alloc(kernel: Kernel, task: Task | None, gfp: Gfp, where: Placement) -> OomControl:
    """What kept the allocation from the rest of the machine, and how many pages it could have had (v6.1)."""
    memory, nodemask = kernel.node_states_memory, where.nodemask
    if nodemask is not None and memory & ~nodemask:
        return OomControl("CONSTRAINT_MEMORY_POLICY", nodemask, _present(kernel, nodemask))
    highest = gfp_zone(kernel, gfp)
    walk = [zone.pgdat.nid for zone in kernel.nodes[where.nid].fallback if zone.index <= highest]
    if task is not None and not all(cpuset.node_allowed(task, nid, gfp) for nid in walk):
        return OomControl("CONSTRAINT_CPUSET", None, _present(kernel, task.mems_allowed))
    managed = sum(zone.managed for zone in kernel.zones())
    return OomControl("CONSTRAINT_NONE", None, managed + swap.total_swap_pages(kernel))


def _present(kernel: Kernel, nodes: Mask) -> int:
    return swap.total_swap_pages(kernel) + sum(kernel.nodes[nid].present for nid in members(nodes))


def select_bad_process(kernel: Kernel, task: Task | None, oc: OomControl) -> Task | None:
    """The process with the most points; of equals the last (v6.1)."""
    chosen, most = None, 0
    for process in _processes(kernel):
        points = oom_badness(kernel, process, oc.totalpages) if _eligible(kernel, process, task, oc) else None
        if points is not None and (chosen is None or points >= most):
            chosen, most = process, points
    return chosen


def _processes(kernel: Kernel) -> Iterator[Task]:
    return (task for task in kernel.tasks if task.pid == task.tgid)


def _eligible(kernel: Kernel, process: Task, task: Task | None, oc: OomControl) -> bool:
    """Can it have memory where some is wanted (oom_cpuset_eligible)?"""
    threads = kernel.tasks.threads(process)
    if oc.memcg is not None:
        return oc.memcg in _lineage(process)
    if oc.nodemask is not None:
        return any(_policy_reaches(thread, oc.nodemask) for thread in threads)
    return task is None or any(thread.mems_allowed & task.mems_allowed for thread in threads)


def _policy_reaches(task: Task, nodes: Mask) -> bool:
    """mm/mempolicy.c:mempolicy_in_oom_domain() (v6.1)."""
    policy = task.policy
    return policy is None or policy.mode != mempolicy.Mode.BIND or bool(policy.nodes & nodes)


def _killable(task: Task) -> bool:
    return task.pid != 1 and not task.kthread and task.mm is not None and task.oom_score_adj != OOM_SCORE_ADJ_MIN


def oom_badness(kernel: Kernel, task: Task, totalpages: int) -> int | None:
    """Pages that killing `task` would free, moved by its oom_score_adj; None if it must not be killed (v6.1)."""
    if not _killable(task) or task.mm is None or task.exited:
        return None
    use = MemoryOf.of(task.mm)
    points = use.rss + use.swap + pgalloc.mm_pgtables_bytes(kernel, task.mm) // kernel.machine.page_size
    return points + task.oom_score_adj * (totalpages // 1000)


def dump_header(kernel: Kernel, task: Task | None, gfp: Gfp, order: int, oc: OomControl) -> None:
    """Who asked for what, how much memory there is, and who has it (v6.1)."""
    flags = show_gfp_flags(gfp, zeroed=bool(gfp & Gfp.MOVABLE))
    adj = task.oom_score_adj if task else 0
    kernel.printk(
        f"{comm_of(kernel, task)} invoked oom-killer: gfp_mask={flags}, order={order}, oom_score_adj={adj}"
    )
    dump_stack(kernel, task)
    show_mem(kernel, mems_of(kernel, task) if oc.nodemask is None else oc.nodemask)
    if kernel.vm.oom_dump_tasks:
        dump_tasks(kernel, task, oc)


def dump_tasks(kernel: Kernel, task: Task | None, oc: OomControl) -> None:
    """A line for each process that could have memory where some is wanted (v6.1)."""
    kernel.printk("Tasks state (memory values in pages):", Level.INFO)
    kernel.printk(TASKS_BY_KIND if kernel.has("oom_rss_breakdown") else TASKS, Level.INFO)
    for process in _processes(kernel):
        if process.mm is not None and not process.exited and _eligible(kernel, process, task, oc):
            kernel.printk(_task_line(kernel, process, process.mm), Level.INFO)


def _task_line(kernel: Kernel, task: Task, mm: Mm) -> str:
    use = MemoryOf.of(mm)
    by_kind = f" {use.anon:8d} {use.file:8d} {use.shmem:9d}" if kernel.has("oom_rss_breakdown") else ""
    return (
        f"[{task.pid:7d}] {task.uid:5d} {task.tgid:5d} {sum(vma.pages for vma in mm.vmas):8d} {use.rss:8d}{by_kind}"
        f" {pgalloc.mm_pgtables_bytes(kernel, mm):8d} {use.swap:8d}         {task.oom_score_adj:5d} {task.comm}"
    )


def dump_oom_summary(kernel: Kernel, task: Task | None, oc: OomControl, victim: Task) -> None:
    """What kept the allocation from more memory, and who dies for it (v6.1)."""
    nodemask = "(null)" if oc.nodemask is None else list_text(oc.nodemask)
    where = f"oom_memcg={path(oc.memcg.group)}" if oc.memcg else "global_oom"
    lineage = _lineage(victim)
    task_memcg = path(lineage[0].group) if lineage else "/"
    kernel.printk(
        f"oom-kill:constraint={oc.constraint},nodemask={nodemask},"
        f"{cpuset_print_current_mems_allowed(kernel, task)},{where},"
        f"task_memcg={task_memcg},task={victim.comm},pid={victim.pid},uid={victim.uid}", Level.INFO
    )


def _lineage(task: Task) -> tuple[MemCgroup, ...]:
    """The groups that the task's pages are charged to, its own first."""
    memcg = memcontrol.mem_cgroup_from_task(task)
    return memcg.lineage if memcg else ()


def oom_kill_process(kernel: Kernel, task: Task | None, victim: Task, message: str) -> None:
    """SIGKILL for the victim's process; if it is not the caller's own, it ends here and now (v6.1)."""
    assert victim.mm is not None
    use = MemoryOf.of(victim.mm)
    kb = kernel.machine.page_size // 1024
    total = sum(vma.pages for vma in victim.mm.vmas)
    kernel.printk(
        f"{message}: Killed process {victim.tgid} ({victim.comm}) total-vm:{total * kb}kB, "
        f"anon-rss:{use.anon * kb}kB, file-rss:{use.file * kb}kB, shmem-rss:{use.shmem * kb}kB, "
        f"UID:{victim.uid} pgtables:{pgalloc.mm_pgtables_bytes(kernel, victim.mm) // 1024}kB "
        f"oom_score_adj:{victim.oom_score_adj}", Level.ERR
    )
    kernel.events.inc(VmEvent.OOM_KILL)
    if lineage := _lineage(victim):
        lineage[0].event("oom_kill")
    for thread in kernel.tasks.threads(victim):
        thread.killed = True
    if victim.real and kernel.on_oom_kill is not None:
        kernel.on_oom_kill(victim)
    if task is None or victim.tgid != task.tgid:
        leader = kernel.tasks.get(victim.tgid)
        kernel.tasks.do_exit(kernel, leader or victim)
