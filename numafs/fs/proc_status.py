# SPDX-License-Identifier: MIT
"""/proc/PID/status: who a task is, what memory it has, where it may run. fs/proc/array.c (v6.1).

Simplified: peaks are what is used now; locked pages are those of locked mappings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from numafs.kernel.nodemask import hex_mask, list_text
from numafs.kernel.page import Kind

from .sysfs_node import nr_cpu_ids

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Mm, Task, Vma

__all__ = ["MemoryUse", "memory_use", "status_of_real", "status_show_of"]


@dataclass
class MemoryUse:
    """What an address space has mapped and what is resident of it, in pages."""

    total: int = 0
    locked: int = 0
    data: int = 0
    """Private, writable, and not the stack (data_vm)."""
    stack: int = 0
    text: int = 0
    """Executable, of the program's own file."""
    lib: int = 0
    """Executable, of anything else."""
    rss_anon: int = 0
    rss_file: int = 0
    rss_shmem: int = 0
    hugetlb: int = 0
    page_tables: int = 0
    swapents: int = 0

    @property
    def rss(self) -> int:
        """Resident set."""
        return self.rss_anon + self.rss_file + self.rss_shmem


def memory_use(kernel: Kernel, task: Task) -> MemoryUse | None:
    """What `task` uses; None if it has no address space."""
    mm = task.mm
    if mm is None:
        return None
    use = MemoryUse(swapents=mm.swapents, page_tables=sum(n for _, _, n in mm.page_tables.pages()))
    for vma in mm.vmas:
        _mapped(use, mm, vma)
        if vma.hugetlb:
            use.hugetlb += sum(n for _, n in vma.runs())
        else:
            _resident(use, vma)
    return use


def _mapped(use: MemoryUse, mm: Mm, vma: Vma) -> None:
    pages = vma.pages
    use.total += pages
    if vma.locked:
        use.locked += pages
    if vma.name == "stack":
        use.stack += pages
    elif vma.write and not vma.shared:
        use.data += pages
    elif vma.exec_ and not vma.write:
        own = vma.file is not None and vma.file is mm.vmas[0].file
        use.text += pages if own else 0
        use.lib += 0 if own else pages


def _resident(use: MemoryUse, vma: Vma) -> None:
    for run, n in vma.runs():
        kind = run.space.kind
        if kind == Kind.ANON:
            use.rss_anon += n
        elif kind == Kind.SHMEM and vma.shared:
            use.rss_shmem += n
        else:
            use.rss_file += n


IDENTITY = """\
Name:\t{name}
Umask:\t0022
State:\tS (sleeping)
Tgid:\t{tgid}
Ngid:\t0
Pid:\t{pid}
PPid:\t{ppid}
TracerPid:\t0
Uid:\t{uid}\t{uid}\t{uid}\t{uid}
Gid:\t{gid}\t{gid}\t{gid}\t{gid}
FDSize:\t64
Groups:\t{groups}
NStgid:\t{tgid}
NSpid:\t{pid}
NSpgid:\t{group}
NSsid:\t{group}
"""

MEMORY = "".join(f"{label}:\t%8d kB\n" for label in (
    "VmPeak", "VmSize", "VmLck", "VmPin", "VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem", "VmData", "VmStk",
    "VmExe", "VmLib", "VmPTE", "VmSwap", "HugetlbPages",
)) + "CoreDumping:\t0\nTHP_enabled:\t1\n"

REST = """\
Threads:\t{threads}
SigQ:\t0/7794
SigPnd:\t0000000000000000
ShdPnd:\t0000000000000000
SigBlk:\t0000000000000000
SigIgn:\t0000000000000000
SigCgt:\t0000000000000000
CapInh:\t0000000000000000
CapPrm:\t{caps}
CapEff:\t{caps}
CapBnd:\t000001ffffffffff
CapAmb:\t0000000000000000
NoNewPrivs:\t0
Seccomp:\t0
Seccomp_filters:\t0
Speculation_Store_Bypass:\tnot vulnerable
SpeculationIndirectBranch:\talways enabled
Cpus_allowed:\t{cpus}
Cpus_allowed_list:\t{cpu_list}
Mems_allowed:\t{mems}
Mems_allowed_list:\t{mem_list}
voluntary_ctxt_switches:\t1
nonvoluntary_ctxt_switches:\t1
"""


def status_show_of(kernel: Kernel, task: Task) -> str:
    """fs/proc/array.c:proc_pid_status() (v6.1)."""
    return _identity(task) + _memory(kernel, task) + _rest(kernel, task)


def status_of_real(kernel: Kernel, task: Task, text: str) -> str:
    """What the host says of a real process, but for where it may run, where its memory may come from, and its swap."""
    ours = (_memory(kernel, task) + _rest(kernel, task)).splitlines(keepends=True)
    places = {line.partition(":")[0]: line for line in ours if "_allowed" in line or line.startswith("VmSwap:")}
    return "".join(places.get(line.partition(":")[0], line) for line in text.splitlines(keepends=True))


def _identity(task: Task) -> str:
    return IDENTITY.format(
        name=task.comm.replace("\\", "\\\\").replace("\n", "\\n"), tgid=task.tgid, pid=task.pid, ppid=task.ppid,
        uid=task.uid, gid=task.gid, groups=" ", group=0 if task.kthread else task.tgid,
    )


def _memory(kernel: Kernel, task: Task) -> str:
    use = memory_use(kernel, task)
    if use is None:
        return ""
    kb = kernel.machine.page_size // 1024
    return MEMORY % tuple(n * kb for n in (
        use.total, use.total, use.locked, 0, use.rss, use.rss, use.rss_anon, use.rss_file, use.rss_shmem, use.data,
        use.stack, use.text, use.lib, use.page_tables, use.swapents, use.hugetlb,
    ))


def _rest(kernel: Kernel, task: Task) -> str:
    return REST.format(
        threads=len(kernel.tasks.threads(task)), caps="000001ffffffffff" if task.uid == 0 else "0000000000000000",
        cpus=hex_mask(task.cpus_allowed, nr_cpu_ids(kernel)), cpu_list=list_text(task.cpus_allowed),
        mems=hex_mask(task.mems_allowed, kernel.machine.max_numnodes), mem_list=list_text(task.mems_allowed),
    )
