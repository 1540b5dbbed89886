# SPDX-License-Identifier: MIT
"""/proc/PID: a task's memory, place and identity. fs/proc/{base,array,task_mmu}.c (v6.1).

Real processes that were adopted have an entry too, without an address space.

Simplified: no smaps, no open files; times, signals and capabilities are those of an idle process of root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, NamedTuple

from numafs.kernel import cpuset
from numafs.kernel.errors import EINVAL, ESRCH
from numafs.kernel.memory import VmaStats, vma_stats
from numafs.kernel.mempolicy import get_vma_policy, mpol_to_str
from numafs.kernel.nodemask import members
from numafs.kernel.oom_kill import oom_badness

from .attr import Attr, Caller
from .numbers import kstrtol
from .proc_mounts import mountinfo_of_real, mountinfo_show, mounts_of_real, mounts_show
from .proc_sched import proc_sched_show_task
from .proc_status import MemoryUse, memory_use, status_of_real, status_show_of
from .tree import PROC_PID, Dir, Following

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Task, Vma

__all__ = ["Entry", "pids"]


class Entry(NamedTuple):
    """A task as the files of /proc/PID see it."""

    kernel: Kernel
    task: Task


# ---------------------------------------------------------------- memory


def _host_says(entry: Entry, name: str) -> str | None:
    """A file of a real process as the host has it."""
    read = entry.kernel.tasks.read_real
    return read(entry.task.pid, name) if read is not None and entry.task.real else None


def numa_maps_show(entry: Entry) -> str:
    """fs/proc/task_mmu.c:show_numa_map() (v6.1)."""
    kernel, task = entry
    kernel.tasks.look(task)
    if task.mm is None:
        return _host_says(entry, "numa_maps") or ""
    return "".join(_numa_map(kernel, task, vma) for vma in task.mm.vmas)


def _numa_map(kernel: Kernel, task: Task, vma: Vma) -> str:
    size = kernel.machine.page_size
    text = f"{vma.start * size:08x} {mpol_to_str(get_vma_policy(vma, task))}"
    if vma.path:
        text += f" file={vma.path}"
    elif vma.name:
        text += f" {vma.name}"
    if vma.hugetlb:
        text += " huge"
    stats = vma_stats(kernel, vma)
    if stats.pages:
        text += _counts(stats, bool(vma.hugetlb)) + _nodes(kernel, stats)
        text += f" kernelpagesize_kB={(vma.hugetlb or 1) * size // 1024}"
    return text + "\n"


def _counts(md: VmaStats, hugetlb: bool) -> str:
    text = ""
    if md.anon:
        text += f" anon={md.anon}"
    if md.dirty:
        text += f" dirty={md.dirty}"
    if md.pages not in (md.anon, md.dirty):
        text += f" mapped={md.pages}"
    if md.mapcount_max > 1:
        text += f" mapmax={md.mapcount_max}"
    if md.swapcache:
        text += f" swapcache={md.swapcache}"
    if md.active < md.pages and not hugetlb:
        text += f" active={md.active}"
    if md.writeback:
        text += f" writeback={md.writeback}"
    return text


def _nodes(kernel: Kernel, md: VmaStats) -> str:
    return "".join(f" N{nid}={md.node[nid]}" for nid in members(kernel.node_states_memory) if md.node[nid])


def maps_show(entry: Entry) -> str:
    """fs/proc/task_mmu.c:show_map_vma() (v6.1)."""
    kernel, task = entry
    kernel.tasks.look(task)
    if task.mm is None:
        return ""
    return "".join(_map(kernel.machine.page_size, vma) for vma in task.mm.vmas)


def _map(size: int, vma: Vma) -> str:
    ino = vma.file.ino if vma.file is not None else 0
    pgoff = vma.pgoff * size if vma.file is not None else 0
    rights = f"r{'w' if vma.write else '-'}{'x' if vma.exec_ else '-'}{'s' if vma.shared else 'p'}"
    text = f"{vma.start * size:08x}-{vma.stop * size:08x} {rights} {pgoff:08x} 00:{2 if vma.file else 0:02d} {ino} "
    name = vma.path or (f"[{vma.name}]" if vma.name else "[vdso]" if vma.special and vma.exec_ else "")
    return f"{text:<73}{name}\n" if name else text + "\n"


def statm_show(entry: Entry) -> str:
    """fs/proc/array.c:proc_pid_statm() (v6.1)."""
    use = memory_use(entry.kernel, entry.task)
    if use is None:
        return "0 0 0 0 0 0 0\n"
    return f"{use.total} {use.rss} {use.rss_file + use.rss_shmem} {use.text} 0 {use.data + use.stack} 0\n"


# ---------------------------------------------------------------- what it is


def stat_show(entry: Entry) -> str:
    """fs/proc/array.c:do_task_stat() (v6.1)."""
    kernel, task = entry
    use = memory_use(kernel, task) or MemoryUse()
    size = kernel.machine.page_size
    start = task.start_ns // 10_000_000
    threads = len(kernel.tasks.threads(task))
    group = 0 if task.kthread else task.tgid
    flags = 0x200040 if task.kthread else 0x400000
    before = (task.ppid, group, group, 0, -1, flags, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, threads)
    rest = (
        0, start, use.total * size, use.rss, 2**64 - 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 if task.mm else 1, 0, 0, 17,
        task.cpu, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    )
    return f"{task.pid} ({task.comm}) S {' '.join(map(str, before + rest))}\n"


def status_show(entry: Entry) -> str:
    """fs/proc/array.c:proc_pid_status() (v6.1)."""
    text = _host_says(entry, "status")
    return status_of_real(entry.kernel, entry.task, text) if text else status_show_of(entry.kernel, entry.task)


def mounts_show_of(entry: Entry) -> str:
    """fs/proc_namespace.c:show_vfsmnt() (v6.1)."""
    text = _host_says(entry, "mounts")
    return mounts_of_real(entry.kernel, text) if text else mounts_show(entry.kernel)


def mountinfo_show_of(entry: Entry) -> str:
    """fs/proc_namespace.c:show_mountinfo() (v6.1)."""
    text = _host_says(entry, "mountinfo")
    return mountinfo_of_real(entry.kernel, text) if text else mountinfo_show(entry.kernel)


def cpuset_show(entry: Entry) -> str:
    """kernel/cgroup/cpuset.c:proc_cpuset_show() (v6.1)."""
    return cpuset.path(entry.task.cpuset) + "\n"


def cgroup_show(entry: Entry) -> str:
    """kernel/cgroup/cgroup.c:proc_cgroup_show() (v6.1)."""
    group = entry.task.cgroup
    return f"1:cpuset:{cpuset.path(entry.task.cpuset)}\n" if group is None else f"0::{cpuset.path(group)}\n"


def comm_store(entry: Entry, data: bytes, caller: Caller) -> None:
    """Its name, of which 15 bytes are kept. fs/proc/base.c:comm_write() (v6.1)."""
    entry.task.comm = data[:15].split(b"\0", 1)[0].rstrip(b"\n").decode("utf-8", "surrogateescape")


def cmdline_show(entry: Entry) -> str:
    """Its arguments, each ended by a NUL."""
    return "".join(f"{word}\0" for word in entry.task.cmdline)


def oom_score_show(entry: Entry) -> str:
    """fs/proc/base.c:proc_oom_score() (v6.1): badness in thousandths of all memory and swap, on a scale up to 2000."""
    kernel, task = entry
    total = sum(zone.managed for zone in kernel.zones()) + sum(area.pages for area in kernel.swap_areas)
    badness = oom_badness(kernel, task, total)
    return f"{0 if badness is None else (1000 + badness * 1000 // total) * 2 // 3}\n"


def oom_score_adj_store(entry: Entry, data: bytes, caller: Caller) -> None:
    """-1000 to 1000, for all threads. fs/proc/base.c:oom_score_adj_write() (v6.1)."""
    value = kstrtol(data.strip(), 0, 2**31 - 1)
    if not -1000 <= value <= 1000:
        raise EINVAL(f"{value} is not between -1000 and 1000")
    for thread in entry.kernel.tasks.threads(entry.task):
        thread.oom_score_adj = value


def sched_store(entry: Entry, data: bytes, caller: Caller) -> None:
    """fs/proc/base.c:sched_write() (v6.1): clears statistics that nobody keeps here."""


_UNLIMITED = ("unlimited", "unlimited")
LIMITS = (
    ("Max cpu time", *_UNLIMITED, "seconds"), ("Max file size", *_UNLIMITED, "bytes"),
    ("Max data size", *_UNLIMITED, "bytes"), ("Max stack size", "8388608", "unlimited", "bytes"),
    ("Max core file size", "0", "unlimited", "bytes"), ("Max resident set", *_UNLIMITED, "bytes"),
    ("Max processes", "7794", "7794", "processes"), ("Max open files", "1024", "1048576", "files"),
    ("Max locked memory", "8388608", "8388608", "bytes"), ("Max address space", *_UNLIMITED, "bytes"),
    ("Max file locks", *_UNLIMITED, "locks"), ("Max pending signals", "7794", "7794", "signals"),
    ("Max msgqueue size", "819200", "819200", "bytes"), ("Max nice priority", "0", "0", ""),
    ("Max realtime priority", "0", "0", ""), ("Max realtime timeout", *_UNLIMITED, "us"),
)


def limits_show(entry: Entry) -> str:
    """fs/proc/base.c:proc_pid_limits() (v6.1): the defaults."""
    lines = [f"{'Limit':<25} {'Soft Limit':<20} {'Hard Limit':<20} {'Units':<10}\n"]
    for name, soft, hard, unit in LIMITS:
        lines.append(f"{name:<25} {soft:<20} {hard:<20} " + (f"{unit:<10}\n" if unit else "\n"))
    return "".join(lines)


PID: tuple[Attr[Entry], ...] = (
    Attr("cgroup", 0o444, cgroup_show),
    Attr("cmdline", 0o444, cmdline_show),
    Attr("comm", 0o644, lambda entry: entry.task.comm + "\n", comm_store),
    Attr("cpuset", 0o444, cpuset_show),
    Attr("limits", 0o444, limits_show),
    Attr("maps", 0o444, maps_show),
    Attr("mountinfo", 0o444, mountinfo_show_of),
    Attr("mounts", 0o444, mounts_show_of),
    Attr("numa_maps", 0o444, numa_maps_show),
    Attr("oom_score", 0o444, oom_score_show),
    Attr("oom_score_adj", 0o644, lambda entry: f"{entry.task.oom_score_adj}\n", oom_score_adj_store),
    Attr("sched", 0o644, lambda entry: proc_sched_show_task(entry.kernel, entry.task), sched_store),
    Attr("stat", 0o444, stat_show),
    Attr("statm", 0o444, statm_show),
    Attr("status", 0o444, status_show),
)


# ---------------------------------------------------------------- directories


def _dir_of(kernel: Kernel, task: Task) -> Dir:
    home = Dir(PROC_PID, 0o555, task.uid, task.gid)
    home.add_files(PID, Entry(kernel, task))
    return home


class Directories:
    """Directories of tasks by their ids, which follow the task table."""

    def __init__(self, kernel: Kernel, ids: Callable[[], Iterable[int]], make: Callable[[Kernel, Task], Dir]) -> None:
        self.kernel = kernel
        self.make = make
        self.following = Following("", ids, self.has, self.build)

    def has(self, pid: int) -> bool:
        """Is there such a task?"""
        return self.kernel.tasks.get(pid) is not None

    def build(self, pid: int) -> Dir:
        """The directory of task `pid`."""
        task = self.kernel.tasks.get(pid)
        if task is None:
            raise ESRCH(f"no task {pid}")
        return self.make(self.kernel, task)


def _process_dir(kernel: Kernel, task: Task) -> Dir:
    home = _dir_of(kernel, task)
    threads = Directories(kernel, lambda: [thread.pid for thread in kernel.tasks.threads(task)], _dir_of).following
    home.add("task", Dir(PROC_PID, 0o555, task.uid, task.gid, find=threads.find, more=threads.names))
    return home


def pids(kernel: Kernel) -> Following:
    """The directories of /proc: processes are listed, any thread can be looked up (proc_pid_lookup)."""

    def processes() -> Iterator[int]:
        return (task.pid for task in kernel.tasks if task.pid == task.tgid)

    return Directories(kernel, processes, _process_dir).following
