# SPDX-License-Identifier: MIT
"""Task verbs on the task's memory: its regions, its policy, moving its pages.

A task's region number R begins at a fixed address, BASE + R * STRIDE, so that its line of
numa_maps begins with the same digits on every run. What a region is, is read off the address
space: there is no table beside it.
"""

from __future__ import annotations

import errno
import os
from collections import Counter
from typing import TYPE_CHECKING

from numafs.kernel import madvise, memory, mempolicy, migrate, mlock, mmap, sched
from numafs.kernel.errors import ENOMEM
from numafs.kernel.mbind import mbind as mbind_call
from numafs.kernel.nodemask import list_text

from .data import opened
from .verb_grammar import MODE_FLAGS, MODES, QUERY, PolicySpec, Verb, bad, doing

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Mm, Task, Vma
    from numafs.kernel.nodemask import Mask

__all__ = ["BASE", "MAX_REGIONS", "STRIDE", "VERBS", "counts_text", "region", "region_at"]

BASE = 0x1000_0000_0000
"""Address of region 0."""
STRIDE = 0x10_0000_0000
MAX_REGIONS = 64
HPAGE_BYTES = 2 << 20
MAXNODE = 1025
"""What a caller of the system calls says its masks have: 1024 bits, and the one that the kernel subtracts."""
MPOL_F_ADDR = 2
MPOL_MF_STRICT, MPOL_MF_MOVE, MPOL_MF_MOVE_ALL = 1, 2, 4


# ---------------------------------------------------------------- regions


def region_at(kernel: Kernel, r: int) -> int:
    """Page number of the first page of region `r`."""
    return (BASE + r * STRIDE) // kernel.machine.page_size


def mm_of(task: Task) -> Mm:
    """The task's address space; raises EINVAL for a task that has none in the model."""
    if task.mm is None:
        raise bad(f"task {task.pid} has no memory in the model")
    return task.mm


def vmas_of(kernel: Kernel, mm: Mm, r: int) -> list[Vma]:
    """The mappings that make up region `r`."""
    first, last = region_at(kernel, r), region_at(kernel, r + 1)
    return [vma for vma in mm.vmas if first <= vma.start < last]


def region(kernel: Kernel, task: Task, r: int) -> tuple[int, int]:
    """First page and end of region `r`; raises EINVAL if there is none."""
    vmas = vmas_of(kernel, mm_of(task), r) if 0 <= r < MAX_REGIONS else []
    if not vmas:
        raise bad(f"no region {r}")
    return vmas[0].start, vmas[-1].stop


def free_region(kernel: Kernel, task: Task) -> int:
    """The lowest region number that is not in use."""
    for r in range(MAX_REGIONS):
        if not vmas_of(kernel, mm_of(task), r):
            return r
    raise bad("too many regions")


def part(kernel: Kernel, task: Task, r: int, off: int, length: int | None) -> tuple[int, int]:
    """The pages of the bytes [off, off + length) of region `r`, cut at its end."""
    start, stop = region(kernel, task, r)
    page = kernel.machine.page_size
    first = start + off // page
    end = stop if length is None else min(stop, start + -(-(off + length) // page))
    return first, max(first, end)


# ---------------------------------------------------------------- making and touching


def alloc(
    kernel: Kernel, task: Task, size: int, *, touch: bool = False, read: bool = False, shared: bool = False,
    lock: bool = False, thp: bool = False, huge: bool = False, mbind: PolicySpec | None = None, file: str | None = None,
) -> str:
    """Make a region; says its number."""
    r = _map(kernel, task, size, shared, huge, file)
    start, stop = region(kernel, task, r)
    try:
        if thp:
            madvise.madvise(kernel, task, start, stop, "hugepage")
        if mbind is not None:
            _mbind(kernel, task, start, stop, mbind, 0)
        if lock:
            with doing("mlock"):
                mlock.mlock(kernel, task, start, stop)
    except OSError:
        mmap.munmap(kernel, task, start, stop)
        raise
    if touch or read:
        memory.touch(kernel, task, start, stop, touch)
    return f"r{r}\n"


def _map(kernel: Kernel, task: Task, size: int, shared: bool, huge: bool, file: str | None) -> int:
    """mmap(2) the next region; returns its number."""
    r = free_region(kernel, task)
    page = kernel.machine.page_size
    unit = HPAGE_BYTES if huge else page
    pages = -(-size // unit) * (unit // page)
    if not pages:
        raise bad("alloc: no size")
    if pages * page > STRIDE:
        raise ENOMEM(f"a region has at most {STRIDE >> 30} GiB")
    at = region_at(kernel, r)
    if file is None:
        with doing("mmap"):
            mmap.mmap(kernel, task, at, pages, shared=shared, hugetlb=unit // page if huge else 0)
        return r
    with opened(kernel, task, file, os.O_RDWR if shared else os.O_RDONLY) as inode, doing("mmap"):
        mmap.mmap(kernel, task, at, pages, file=inode, shared=shared)
    return r


def mmapfile(
    kernel: Kernel, task: Task, path: str, size: int, *, shared: bool = False, touch: bool = False, read: bool = False,
) -> str:
    """Map a file's first bytes."""
    return alloc(kernel, task, size, touch=touch, read=read, shared=shared, file=path)


def touch(kernel: Kernel, task: Task, r: int, off: int = 0, len: int | None = None) -> str:
    """Store to each page."""
    memory.touch(kernel, task, *part(kernel, task, r, off, len), True)
    return ""


def load(kernel: Kernel, task: Task, r: int, off: int = 0, len: int | None = None) -> str:
    """Load from each page."""
    memory.touch(kernel, task, *part(kernel, task, r, off, len), False)
    return ""


LOOP_STEP_NS = 100_000_000
LOOP_MAX_SECONDS = 3600


def loop(kernel: Kernel, task: Task, r: int, seconds: int) -> str:
    """Store to each page again and again.

    Simplified: all pages at once, ten times a second.
    """
    start, stop = region(kernel, task, r)
    if not 0 <= seconds <= LOOP_MAX_SECONDS:
        raise bad(f"loop: {seconds} is not between 0 and {LOOP_MAX_SECONDS} seconds")
    end = kernel.clock.now + seconds * 1_000_000_000
    memory.touch(kernel, task, start, stop, True)
    while kernel.clock.now < end:
        sched.run_for(kernel, task, min(LOOP_STEP_NS, end - kernel.clock.now))
        memory.touch(kernel, task, start, stop, True)
    return ""


def free(kernel: Kernel, task: Task, r: int) -> str:
    """munmap(2) a region."""
    mmap.munmap(kernel, task, *region(kernel, task, r))
    return ""


def advise(kernel: Kernel, task: Task, r: int, advice: str) -> str:
    """madvise(2) a region."""
    start, stop = region(kernel, task, r)
    with doing("madvise"):
        madvise.madvise(kernel, task, start, stop, advice)
    return ""


def lock(kernel: Kernel, task: Task, r: int) -> str:
    """mlock(2) a region."""
    start, stop = region(kernel, task, r)
    with doing("mlock"):
        mlock.mlock(kernel, task, start, stop)
    return ""


def unlock(kernel: Kernel, task: Task, r: int) -> str:
    """munlock(2) a region."""
    start, stop = region(kernel, task, r)
    with doing("munlock"):
        mlock.munlock(kernel, task, start, stop)
    return ""


# ---------------------------------------------------------------- policy


def policy(kernel: Kernel, task: Task, spec: PolicySpec, *, maxnode: int = MAXNODE) -> str:
    """set_mempolicy(2)."""
    with doing("set_mempolicy"):
        mempolicy.set_mempolicy(kernel, task, spec.mode, spec.nodes, _maxnode(spec.nodes, maxnode))
    return ""


def getpolicy(kernel: Kernel, task: Task, r: int | None = None) -> str:
    """get_mempolicy(2) of the task, or of a region: `bind=static:0-1`."""
    at = None if r is None else region(kernel, task, r)[0]
    with doing("get_mempolicy"):
        mode, nodes = mempolicy.get_mempolicy(kernel, task, at, 0 if at is None else MPOL_F_ADDR, MAXNODE)
    name = MODES[mode & 0xFF] if mode & 0xFF < len(MODES) else "?"
    flags = "".join(f"={flag}" for flag, bit in MODE_FLAGS.items() if mode & bit)
    return f"{name}{flags}:{list_text(nodes) or 'none'}\n"


def mbind(
    kernel: Kernel, task: Task, r: int, spec: PolicySpec, *, move: bool = False, moveall: bool = False,
    strict: bool = False,
) -> str:
    """mbind(2) of a region."""
    flags = move * MPOL_MF_MOVE | moveall * MPOL_MF_MOVE_ALL | strict * MPOL_MF_STRICT
    _mbind(kernel, task, *region(kernel, task, r), spec, flags)
    return ""


def _mbind(kernel: Kernel, task: Task, start: int, stop: int, spec: PolicySpec, flags: int) -> None:
    with doing("mbind"):
        mbind_call(kernel, task, start, stop, spec.mode, spec.nodes, _maxnode(spec.nodes, MAXNODE), flags)


def _maxnode(nodes: Mask | None, maxnode: int) -> int:
    return 0 if nodes is None else maxnode


# ---------------------------------------------------------------- moving


def migrate_(kernel: Kernel, task: Task, pid: int, old: Mask, new: Mask, *, maxnode: int = MAXNODE) -> str:
    """migrate_pages(2): another task's pages, or (pid 0) its own."""
    with doing("migrate_pages"):
        failed = migrate.migrate_pages(kernel, task, pid, old, new, maxnode)
    return f"not moved ?{failed}\n"


def movepages(
    kernel: Kernel, task: Task, r: int, page: int, n: int, node: int, *, pid: int = 0, all: bool = False,
    flags: int | None = None, stride: int = 1,
) -> str:
    """move_pages(2) of `n` pages of a region, or with `query` where they are; how many have which status."""
    if not 0 <= n <= STRIDE // kernel.machine.page_size:
        raise bad(f"movepages: a region does not have {n} pages")
    first = region(kernel, task, r)[0] if not pid else region_at(kernel, r)
    vpns = [first + page + i * stride for i in range(n)]
    nodes = None if node == QUERY else [node] * n
    if flags is None:
        flags = MPOL_MF_MOVE_ALL if all else MPOL_MF_MOVE
    with doing("move_pages"):
        result, status = migrate.move_pages(kernel, task, pid, vpns, nodes, 0 if nodes is None else flags)
        if result < 0:
            raise OSError(-result, ENOMEM("").strerror if result == -errno.ENOMEM else f"errno {-result}")
    return f"ret={result}{_status_text(status)}\n"


def _status_text(status: list[int | None]) -> str:
    """` N0=3 EFAULT=2`: nodes, then errors by number; a status that was not written is E?."""
    count = Counter(status)
    nodes = sorted(s for s in count if s is not None and s >= 0)
    errors = sorted((s for s in count if s is not None and s < 0), reverse=True)
    parts = [f"N{s}={count[s]}" for s in nodes]
    parts += [f"{errno.errorcode.get(-s, 'E?')}={count[s]}" for s in errors]
    if count[None]:
        parts.append(f"E?={count[None]}")
    return "".join(f" {text}" for text in parts)


# ---------------------------------------------------------------- where it is


def where(
    kernel: Kernel, task: Task, *, mib: bool = False, region: int | None = None, each: bool = False, all: bool = False,
) -> str:
    """Pages by node, as numa_maps counts them: `N0=300 N1=20`."""
    page = kernel.machine.page_size
    first, last = region_at(kernel, 0), region_at(kernel, MAX_REGIONS)
    lines = []
    total: Counter[int] = Counter()
    for vma in mm_of(task).vmas:
        r = (vma.start - first) * page // STRIDE if first <= vma.start < last else None
        if r is None and not all or region is not None and r != region:
            continue
        count = _pages_by_node(vma)
        total += count
        lines.append(f"r{r if r is not None else '?'} {counts_text(count, mib)}")
    return "".join(lines) if each else counts_text(total, mib)


def _pages_by_node(vma: Vma) -> Counter[int]:
    """Pages that its page tables map, by node; of hugetlb memory the huge pages."""
    count: Counter[int] = Counter()
    for run, n in vma.runs():
        count[run.zone.pgdat.nid] += n
    return Counter({nid: n // (vma.hugetlb or 1) for nid, n in count.items()})


def counts_text(count: dict[int, int], mib: bool) -> str:
    """`N0=300 N1=20`, or with `mib` rounded `N0~1MiB`; `none` if there are no pages."""
    known = sorted((nid, n) for nid, n in count.items() if n)
    return " ".join(f"N{nid}~{(n + 128) // 256}MiB" if mib else f"N{nid}={n}" for nid, n in known or ()) + (
        "\n" if known else "none\n"
    )


VERBS = (
    Verb(
        "alloc",
        "SIZE [--touch] [--read] [--shared] [--lock] [--thp] [--huge] [--mbind SPEC] [--file PATH]",
        "map a new region, and store to (or load from) each of its pages; says its number",
        alloc,
    ),
    Verb("mmapfile", "PATH SIZE [--shared] [--touch] [--read]", "map a file of data/ as a new region", mmapfile),
    Verb("touch", "R [OFF LEN]", "store to each page of region R", touch),
    Verb("load", "R [OFF LEN]", "load from each page of region R", load),
    Verb("loop", "R SECONDS", "store to each page again and again, for so much model time", loop),
    Verb("free", "R", "unmap region R", free),
    Verb("advise", "R ADVICE", "madvise: dontneed, free, hugepage, cold, pageout, willneed, ...", advise),
    Verb("mlock", "R", "lock region R in memory", lock),
    Verb("munlock", "R", "unlock it", unlock),
    Verb("policy", "SPEC [--maxnode MAXNODE]", "set the task's policy: bind:0-1, interleave:0-3, default", policy),
    Verb("getpolicy", "[R]", "say the task's policy, or that of region R", getpolicy),
    Verb("mbind", "R SPEC [move] [moveall] [strict]", "set the policy of region R", mbind),
    Verb("migrate", "PID OLD NEW [--maxnode MAXNODE]", "migrate_pages: move a task's pages between nodes", migrate_),
    Verb(
        "movepages",
        "R PAGE N NODE|query [--pid PID] [--all] [--flags FLAGS] [--stride STRIDE]",
        "move_pages: move N pages of region R from page PAGE, or say where they are",
        movepages,
    ),
    Verb("where", "[--mib] [--region R] [--each] [--all]", "say on which nodes the regions' pages are", where),
)
