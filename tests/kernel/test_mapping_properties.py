# SPDX-License-Identifier: MIT
"""Whatever tasks do to their memory and files, no page is lost and no counter lies."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from numafs.kernel import filemap, madvise, memory, mempolicy, mlock, mmap, page_writeback
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.drop_caches import drop_caches
from numafs.kernel.errors import TaskKilled
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task
from numafs.machine.spec import Disk, DiskFile, Swap

from .machines import machine

BASE = 0x100000000
SIZE = 3000
FILES = (DiskFile("small", 100 << 12), DiskFile("large", SIZE << 12))

Step = Callable[[Kernel, Task, int, int], None]


def _map_anon(kernel: Kernel, task: Task, a: int, b: int) -> None:
    mmap.mmap(kernel, task, a, b - a, fixed_noreplace=False)


def _map_shared(kernel: Kernel, task: Task, a: int, b: int) -> None:
    mmap.mmap(kernel, task, a, b - a, shared=True, fixed_noreplace=False)


def _map_file(kernel: Kernel, task: Task, a: int, b: int) -> None:
    shared = a % 2 == 0
    mmap.mmap(kernel, task, a, b - a, file=kernel.fs.lookup(task, "large"), shared=shared, fixed_noreplace=False)


def _unmap(kernel: Kernel, task: Task, a: int, b: int) -> None:
    mmap.munmap(kernel, task, a, b)


def _write(kernel: Kernel, task: Task, a: int, b: int) -> None:
    memory.touch(kernel, task, a, b, write=True)


def _load(kernel: Kernel, task: Task, a: int, b: int) -> None:
    memory.touch(kernel, task, a, b, write=False)


def _fork(kernel: Kernel, task: Task, a: int, b: int) -> None:
    if len(list(kernel.tasks)) < 40:
        kernel.tasks.fork(kernel, task).cpu = a % 8


def _read_file(kernel: Kernel, task: Task, a: int, b: int) -> None:
    filemap.generic_file_read(kernel, task, kernel.fs.lookup(task, "large"), (a - BASE) << 12, (b - a) << 12)


def _write_file(kernel: Kernel, task: Task, a: int, b: int) -> None:
    filemap.generic_perform_write(kernel, task, kernel.fs.lookup(task, "small"), (a - BASE) << 12, (b - a) << 12)


def _truncate(kernel: Kernel, task: Task, a: int, b: int) -> None:
    filemap.truncate(kernel, kernel.fs.lookup(task, "large"), (b - BASE) << 12)


def _drop(kernel: Kernel, task: Task, a: int, b: int) -> None:
    drop_caches(kernel, task, 3)


def _sync(kernel: Kernel, task: Task, a: int, b: int) -> None:
    page_writeback.sync(kernel)


def _lock(kernel: Kernel, task: Task, a: int, b: int) -> None:
    mlock.mlock(kernel, task, a, b)


def _unlock(kernel: Kernel, task: Task, a: int, b: int) -> None:
    mlock.munlock(kernel, task, a, b)


def _interleave(kernel: Kernel, task: Task, a: int, b: int) -> None:
    mempolicy.set_mempolicy(kernel, task, mempolicy.Mode.INTERLEAVE, 0b1111 >> a % 3, 1025)


def _local(kernel: Kernel, task: Task, a: int, b: int) -> None:
    mempolicy.set_mempolicy(kernel, task, mempolicy.Mode.DEFAULT, None, 0)


def _wait(kernel: Kernel, task: Task, a: int, b: int) -> None:
    kernel.clock.advance((b - a) * 10_000_000)


def _advise(advice: str) -> Step:
    def step(kernel: Kernel, task: Task, a: int, b: int) -> None:
        madvise.madvise(kernel, task, a, b, advice)

    return step


STEPS: dict[str, Step] = {
    "anon": _map_anon, "shared": _map_shared, "file": _map_file, "unmap": _unmap, "write": _write, "load": _load,
    "fork": _fork, "read": _read_file, "put": _write_file, "truncate": _truncate, "drop": _drop, "sync": _sync,
    "lock": _lock, "unlock": _unlock, "interleave": _interleave, "local": _local, "wait": _wait,
    **{advice: _advise(advice) for advice in ("dontneed", "free", "hugepage", "cold", "pageout", "willneed")},
}

spans = st.tuples(st.integers(0, SIZE - 1), st.integers(1, SIZE)).map(lambda s: (s[0], min(SIZE, s[0] + s[1])))
steps = st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.integers(0, 3), spans), max_size=20)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from((3, 16)), steps)
def test_random_use_of_memory_and_files_keeps_the_books(
    size_mib: int, history: list[tuple[str, int, tuple[int, int]]]
) -> None:
    swaps = (Swap("/dev/vdb", 4000),)
    kernel = boot(machine(*[size_mib] * 4, disks=(Disk("d", FILES),), swaps=swaps, thp="always"))
    first = kernel.tasks.spawn(kernel, "t", cpu=2)
    mmap.mmap(kernel, first, BASE, SIZE)
    for name, which, (a, b) in history:
        live = [task for task in kernel.tasks if task.comm == "t"] or [kernel.tasks.spawn(kernel, "t", cpu=0)]
        task = live[which % len(live)]
        try:
            STEPS[name](kernel, task, BASE + a, BASE + b)
        except TaskKilled:
            kernel.tasks.do_exit(kernel, task)
        except OSError:
            pass
        check(kernel)
    for task in [task for task in kernel.tasks if task.comm == "t"]:
        kernel.tasks.do_exit(kernel, task)
    check(kernel)
