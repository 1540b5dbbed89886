# SPDX-License-Identifier: MIT
"""NUMA balancing, the scheduler's side: when a task's page tables are scanned, what its hint faults add up to.

kernel/sched/fair.c (v6.1). The scan itself is in `numa_scan`, the faults in `numa_fault`.

A task's memory is looked at for every so much of its own CPU time: entries of its page tables are made inaccessible,
and the faults that follow say which node's CPU uses which page.

Simplified: the task itself is never moved to the node that most of its faults are on (task_numa_migrate).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from . import memory_tiers
from .nodemask import members
from .page import PG

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Mm, Task
    from .page import Run

__all__ = [
    "CPUPID_UNSET", "MSEC", "NUMA_BALANCING_MEMORY_TIERING", "NUMA_BALANCING_NORMAL", "NUMA_NO_NODE", "Faults",
    "NumaFault", "NumaGroup", "NumaTunables", "TaskNuma", "cpu_pid_to_cpupid", "cpupid_match_pid", "cpupid_of",
    "get_mm_rss", "init_numa_balancing", "now_ms", "set_cpupid", "task_numa_fault", "task_numa_free", "task_scan_max",
    "task_scan_start", "task_tick_numa", "update_scan_period",
]

NUMA_NO_NODE = -1
NUMA_BALANCING_NORMAL = 1
NUMA_BALANCING_MEMORY_TIERING = 2
MSEC = 1_000_000
MAX_SCAN_WINDOW_MB = 2560
"""Never scan more than this in a second."""
NUMA_PERIOD_SLOTS = 10
NUMA_PERIOD_THRESHOLD = 7
ACTIVE_NODE_FRACTION = 3
TICK_MS = 4
SHARED, PRIVATE = 0, 1


@dataclass
class NumaTunables:
    """What /sys/kernel/debug/sched/numa_balancing holds."""

    scan_delay_ms: int = 1000
    scan_period_min_ms: int = 1000
    scan_period_max_ms: int = 60000
    scan_size_mb: int = 256
    hot_threshold_ms: int = 1000


# ---------------------------------------------------------------- who last faulted on a page

CPUPID_UNSET = -1
PID_BITS, PID_MASK = 8, 0xFF


def cpu_pid_to_cpupid(cpu: int, pid: int) -> int:
    """The CPU, and as much of the pid as the kernel has room for in a page's flags."""
    return cpu << PID_BITS | pid & PID_MASK


def cpupid_match_pid(task: Task, cpupid: int) -> bool:
    """Was it `task` (or one whose pid ends in the same bits)?"""
    return cpupid != CPUPID_UNSET and cpupid & PID_MASK == task.pid & PID_MASK


def cpupid_of(run: Run) -> int:
    """page_cpupid_last(): CPU and pid of the last hint fault on its pages, or the time they were scanned at."""
    return (run.flags >> PG.LAST_CPUPID_SHIFT) - 1


def set_cpupid(run: Run, cpupid: int) -> int:
    """page_cpupid_xchg_last(): returns what it was."""
    last = cpupid_of(run)
    run.flags = run.flags & (1 << PG.LAST_CPUPID_SHIFT) - 1 | cpupid + 1 << PG.LAST_CPUPID_SHIFT
    return last


# ---------------------------------------------------------------- what is kept of a task


class Faults:
    """Hint faults by node, as pairs (shared, private): by where the page was, and where the CPU."""

    def __init__(self, nodes: int) -> None:
        self.mem = [[0, 0] for _ in range(nodes)]
        self.cpu = [[0, 0] for _ in range(nodes)]

    def of(self, nid: int) -> tuple[int, int]:
        """Those on pages of a node: (shared, private)."""
        shared, private = self.mem[nid] if nid < len(self.mem) else (0, 0)
        return shared, private

    def add(self, other: Faults, sign: int = 1) -> None:
        """Add (or subtract) those of a task to those of its group."""
        self.grow(len(other.mem))
        for mine, theirs in ((self.mem, other.mem), (self.cpu, other.cpu)):
            for pair, more in zip(mine, theirs, strict=False):
                pair[0] += sign * more[0]
                pair[1] += sign * more[1]

    def grow(self, nodes: int) -> None:
        """Room for nodes that were plugged in."""
        self.mem += [[0, 0] for _ in range(nodes - len(self.mem))]
        self.cpu += [[0, 0] for _ in range(nodes - len(self.cpu))]


class NumaGroup:
    """Tasks that were seen to share memory (struct numa_group)."""

    def __init__(self, task: Task, faults: Faults) -> None:
        self.gid = task.pid
        self.nr_tasks = 1
        self.active_nodes = 1
        self.max_faults_cpu = 0
        self.total_faults = task.numa.total_faults
        self.faults = Faults(len(faults.mem))
        self.faults.add(faults)

    def mem(self, nid: int) -> int:
        """group_faults(): faults on pages of a node."""
        return sum(self.faults.mem[nid])

    def cpu(self, nid: int) -> int:
        """group_faults_cpu(): faults from CPUs of a node."""
        return sum(self.faults.cpu[nid])

    def is_active_node(self, nid: int) -> bool:
        """numa_is_active_node()."""
        return self.cpu(nid) * ACTIVE_NODE_FRACTION > self.max_faults_cpu


@dataclass(eq=False)
class TaskNuma:
    """The members of task_struct that are about NUMA balancing."""

    node_stamp: int = 0
    """CPU time (ns) at which the last scan period began."""
    scan_period_ms: int = 1000
    scan_period_max_ms: int = 60000
    scan_seq: int = 0
    """Passes over the address space when the faults were last added up."""
    migrate_retry: int = 0
    preferred_nid: int = NUMA_NO_NODE
    total_faults: int = 0
    pages_migrated: int = 0
    work: bool = False
    """numa_work is queued: a scan happens when it next returns to user mode."""
    locality: list[int] = field(default_factory=lambda: [0, 0, 0])
    """Pages of remote faults, of local ones, and of failed migrations, since the last adding up."""
    faults: Faults | None = None
    buffer: Faults | None = None
    """Faults since the last adding up."""
    group: NumaGroup | None = None
    last_placement: int = 0
    last_runtime: int = 0


def init_numa_balancing(kernel: Kernel, task: Task, parent: Task | None = None) -> None:
    """A new task; `parent` is the thread that it shares its address space with, if it does (v6.1)."""
    tunables = kernel.numa_tunables
    numa = task.numa
    numa.scan_period_ms = tunables.scan_delay_ms
    mm = task.mm
    if mm is None:
        return
    if len(mm.users) == 1:
        mm.numa_next_scan = kernel.clock.now + tunables.scan_delay_ms * MSEC
        mm.numa_scan_seq = 0
    numa.scan_seq = mm.numa_scan_seq
    if parent is not None:
        numa.preferred_nid = parent.numa.preferred_nid
        delay = min(task_scan_max(kernel, parent), parent.numa.scan_period_ms * len(mm.users) * MSEC)
        numa.node_stamp = delay + 2 * TICK_MS * MSEC


def task_numa_free(task: Task) -> None:
    """A task ends: its faults are no longer its group's."""
    numa = task.numa
    if numa.group is not None and numa.faults is not None:
        numa.group.faults.add(numa.faults, -1)
        numa.group.total_faults -= numa.total_faults
        numa.group.nr_tasks -= 1
    numa.group = numa.faults = numa.buffer = None


# ---------------------------------------------------------------- how often to scan


def now_ms(kernel: Kernel) -> int:
    """jiffies_to_msecs(jiffies)."""
    return kernel.clock.now // MSEC


def get_mm_rss(mm: Mm) -> int:
    """Pages that its page tables map, those of hugetlb left out."""
    return sum(n for vma in mm.vmas if not vma.hugetlb for run, n in vma.runs() if run.mapcount)


def task_nr_scan_windows(kernel: Kernel, task: Task) -> int:
    """In how many pieces of scan_size_mb the task's memory is scanned."""
    assert task.mm is not None
    window = (kernel.numa_tunables.scan_size_mb << 20) // kernel.machine.page_size
    return max(1, -(-get_mm_rss(task.mm) // window))


def task_scan_min(kernel: Kernel, task: Task) -> int:
    """The shortest scan period, in ms."""
    tunables = kernel.numa_tunables
    windows = max(1, MAX_SCAN_WINDOW_MB // tunables.scan_size_mb)
    return max(1000 // windows, tunables.scan_period_min_ms // task_nr_scan_windows(kernel, task))


def task_scan_start(kernel: Kernel, task: Task) -> int:
    """The first scan period."""
    shortest = task_scan_min(kernel, task)
    return max(shortest, _scaled_by_sharing(task.numa.group, shortest))


def task_scan_max(kernel: Kernel, task: Task) -> int:
    """The longest scan period."""
    longest = kernel.numa_tunables.scan_period_max_ms // task_nr_scan_windows(kernel, task)
    return max(task_scan_min(kernel, task), longest, _scaled_by_sharing(task.numa.group, longest))


def _scaled_by_sharing(group: NumaGroup | None, period: int) -> int:
    """Tasks of a group scan as often together as one would alone, as far as their faults are shared."""
    if group is None:
        return period
    shared = sum(pair[SHARED] for pair in group.faults.mem)
    private = sum(pair[PRIVATE] for pair in group.faults.mem)
    return period * group.nr_tasks * (shared + 1) // (private + shared + 1)


def task_tick_numa(kernel: Kernel, task: Task) -> None:
    """The timer's tick while `task` runs: queue a scan for each period of its CPU time."""
    numa, mm = task.numa, task.mm
    if not kernel.vm.numa_balancing or mm is None or numa.work:
        return
    period = numa.scan_period_ms * MSEC
    if task.sum_exec_runtime <= numa.node_stamp + period:
        return
    if not numa.node_stamp:
        numa.scan_period_ms = task_scan_start(kernel, task)
    # A long step is many ticks, of which the last one is heard.
    numa.node_stamp += max(1, (task.sum_exec_runtime - numa.node_stamp - 1) // period) * period
    numa.work = kernel.clock.now >= mm.numa_next_scan


def update_scan_period(kernel: Kernel, task: Task, new_cpu: int) -> None:
    """`task` goes to another CPU: on another node, what was learnt is of less use."""
    numa = task.numa
    source, destination = kernel.cpu_to_node[task.cpu], kernel.cpu_to_node[new_cpu]
    if not kernel.vm.numa_balancing or task.mm is None or numa.faults is None or source == destination:
        return
    if numa.scan_seq and (
        destination == numa.preferred_nid or (numa.preferred_nid != NUMA_NO_NODE and source != numa.preferred_nid)
    ):
        return
    numa.scan_period_ms = task_scan_start(kernel, task)


# ---------------------------------------------------------------- faults


@dataclass(frozen=True, slots=True)
class NumaFault:
    """Hint faults on pages alike (the arguments of task_numa_fault())."""

    last_cpupid: int
    nid: int
    """Node that the pages are on now."""
    pages: int
    migrated: bool = False
    failed: bool = False
    local: bool = False
    shared: bool = False
    """The pages are shared between address spaces."""
    no_group: bool = False


def task_numa_fault(kernel: Kernel, task: Task, fault: NumaFault) -> None:
    """`task` took hint faults: count them for it and, from time to time, draw the conclusions (v6.1)."""
    tiering = kernel.vm.numa_balancing & NUMA_BALANCING_MEMORY_TIERING
    if not kernel.vm.numa_balancing or (tiering and not memory_tiers.node_is_toptier(kernel, fault.nid)):
        return
    numa = task.numa
    nodes = len(kernel.nodes)
    if numa.faults is None or numa.buffer is None:
        numa.faults, numa.buffer = Faults(nodes), Faults(nodes)
    private = fault.last_cpupid == CPUPID_UNSET or cpupid_match_pid(task, fault.last_cpupid)
    if not private and not fault.no_group:
        private = _task_numa_group(kernel, task, fault, numa.faults)
    cpu_nid = kernel.cpu_to_node[task.cpu]
    local = fault.local or _settled(numa.group, cpu_nid, fault.nid, private)
    if kernel.clock.now > numa.migrate_retry:
        _task_numa_placement(kernel, task)
        _numa_migrate_preferred(kernel, task)
    if fault.migrated:
        numa.pages_migrated += fault.pages
    if fault.failed:
        numa.locality[2] += fault.pages
    numa.buffer.grow(nodes)
    numa.buffer.mem[fault.nid][private] += fault.pages
    numa.buffer.cpu[cpu_nid][private] += fault.pages
    numa.locality[local] += fault.pages


def _settled(group: NumaGroup | None, cpu_nid: int, mem_nid: int, private: bool) -> bool:
    """A shared fault among the nodes that a group works on counts as local, so that scanning slows down."""
    if private or group is None or group.active_nodes <= 1:
        return False
    return group.is_active_node(cpu_nid) and group.is_active_node(mem_nid)


def _numa_migrate_preferred(kernel: Kernel, task: Task) -> None:
    numa = task.numa
    if numa.preferred_nid != NUMA_NO_NODE:
        numa.migrate_retry = kernel.clock.now + min(1000, numa.scan_period_ms // 16) * MSEC


def _task_numa_group(kernel: Kernel, task: Task, fault: NumaFault, faults: Faults) -> bool:
    """Another task faulted on the page before: join its group if it still runs there. Is the fault private after all?

    kernel/sched/fair.c:task_numa_group() (v6.1); of two groups of one size the older stays.
    """
    numa = task.numa
    if numa.group is None:
        numa.group = NumaGroup(task, faults)
    mine = numa.group
    other = kernel.cpu_curr.get(fault.last_cpupid >> PID_BITS)
    if other is None or other.exited or not cpupid_match_pid(other, fault.last_cpupid):
        return False
    group = other.numa.group
    if group is None or group is mine or (mine.nr_tasks, -mine.gid) > (group.nr_tasks, -group.gid):
        return False
    if other.mm is not task.mm and not fault.shared:
        return True
    mine.faults.add(faults, -1)
    mine.total_faults -= numa.total_faults
    mine.nr_tasks -= 1
    group.faults.add(faults)
    group.total_faults += numa.total_faults
    group.nr_tasks += 1
    numa.group = group
    return False


# ---------------------------------------------------------------- adding up


def _task_numa_placement(kernel: Kernel, task: Task) -> None:
    """After each pass of the scanner: add the faults up, choose the preferred node and the next scan period.

    kernel/sched/fair.c:task_numa_placement() (v6.1).
    """
    numa, mm = task.numa, task.mm
    assert mm is not None
    if numa.scan_seq == mm.numa_scan_seq:
        return
    numa.scan_seq = mm.numa_scan_seq
    numa.scan_period_max_ms = task_scan_max(kernel, task)
    types = _decay(kernel, task)
    sums = numa.group.mem if numa.group else lambda nid: sum(numa.faults.mem[nid]) if numa.faults else 0
    most = max((pgdat.nid for pgdat in kernel.online_nodes), key=sums)
    if numa.group:
        _count_active_nodes(kernel, numa.group)
    if sums(most):
        numa.preferred_nid = _nearest_with_cpu(kernel, most)
    _update_task_scan_period(kernel, task, *types)


def _decay(kernel: Kernel, task: Task) -> tuple[int, int]:
    """Halve what was, add what came since; returns (shared, private) pages of the faults that came."""
    numa = task.numa
    faults, buffer, group = numa.faults, numa.buffer, numa.group
    assert faults is not None and buffer is not None
    total = numa.locality[0] + numa.locality[1]
    weight = _average_runtime(kernel, task)
    types = [0, 0]
    for kept in (faults, buffer, group.faults if group else buffer):
        kept.grow(len(kernel.nodes))
    for nid in range(len(kernel.nodes)):
        for private in (SHARED, PRIVATE):
            came, by_cpu = buffer.mem[nid][private], buffer.cpu[nid][private]
            buffer.mem[nid][private] = buffer.cpu[nid][private] = 0
            types[private] += came
            diff = came - faults.mem[nid][private] // 2
            cpu_diff = weight * by_cpu // (total + 1) - faults.cpu[nid][private] // 2
            faults.mem[nid][private] += diff
            faults.cpu[nid][private] += cpu_diff
            numa.total_faults += diff
            if group:
                group.faults.mem[nid][private] += diff
                group.faults.cpu[nid][private] += cpu_diff
                group.total_faults += diff
    return types[SHARED], types[PRIVATE]


def _average_runtime(kernel: Kernel, task: Task) -> int:
    """How much of the time since the last adding up the task ran, in 65536ths (numa_get_avg_runtime)."""
    numa = task.numa
    runtime, now = task.sum_exec_runtime, kernel.clock.now
    delta, period = runtime - numa.last_runtime, now - numa.last_placement
    first = not numa.last_placement
    numa.last_runtime, numa.last_placement = runtime, now
    return 1 << 16 if first else (delta << 16) // (max(period, 0) + 1)


def _count_active_nodes(kernel: Kernel, group: NumaGroup) -> None:
    """numa_group_count_active_nodes()."""
    by_cpu = [group.cpu(pgdat.nid) for pgdat in kernel.nodes if pgdat.cpus_present & kernel.cpu_online]
    group.max_faults_cpu = max(by_cpu, default=0)
    group.active_nodes = sum(n * ACTIVE_NODE_FRACTION > group.max_faults_cpu for n in by_cpu)


def _nearest_with_cpu(kernel: Kernel, nid: int) -> int:
    """No task can run on a node without CPUs: the nearest that has some."""
    nodes = {kernel.cpu_to_node[cpu] for cpu in members(kernel.cpu_online)}
    if nid in nodes:
        return nid
    return min(sorted(nodes), key=lambda other: kernel.nodes[nid].distance[other])


def _update_task_scan_period(kernel: Kernel, task: Task, shared: int, private: int) -> None:
    """Scan less often while most accesses are local or shared, more often while they are not (v6.1)."""
    numa, mm = task.numa, task.mm
    assert mm is not None
    remote, local, failed = numa.locality
    if not local + shared or failed:
        numa.scan_period_ms = min(numa.scan_period_max_ms, numa.scan_period_ms << 1)
        mm.numa_next_scan = kernel.clock.now + numa.scan_period_ms * MSEC
        return
    slot = -(-numa.scan_period_ms // NUMA_PERIOD_SLOTS)
    local_ratio = local * NUMA_PERIOD_SLOTS // (local + remote)
    private_ratio = private * NUMA_PERIOD_SLOTS // (private + shared)
    if private_ratio >= NUMA_PERIOD_THRESHOLD:
        diff = max(private_ratio - NUMA_PERIOD_THRESHOLD, 1) * slot
    elif local_ratio >= NUMA_PERIOD_THRESHOLD:
        diff = max(local_ratio - NUMA_PERIOD_THRESHOLD, 1) * slot
    else:
        diff = -(NUMA_PERIOD_THRESHOLD - max(local_ratio, private_ratio)) * slot
    shortest, longest = task_scan_min(kernel, task), task_scan_max(kernel, task)
    numa.scan_period_ms = min(max(numa.scan_period_ms + diff, shortest), longest)
    numa.locality = [0, 0, 0]
