# SPDX-License-Identifier: MIT
"""Benchmarks of the model by itself, without a mount."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable

from numafs.kernel import cpuset, filemap, memory, mempolicy, mmap
from numafs.kernel.boot import boot
from numafs.kernel.cpuset import CS
from numafs.kernel.filemap import Inode
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task
from numafs.machine.presets import resolve
from numafs.machine.toml import loads

from .row import Figure, Row, best_of, seconds

__all__ = ["ROWS"]

GIB = 1 << 18
"""Pages of a GiB."""
LARGE = "4x2:64G"
SMALL_FILES = """
nodes = 2
cpus = 1
memory = "512M"
[[disk]]
[disk.files]
"many/d{0..199}/{0..99}" = "100K"
"""


def large() -> Kernel:
    """Four nodes of 64 GiB."""
    return boot(resolve(LARGE))


def task_with(kernel: Kernel, pages: int) -> tuple[Task, int]:
    """A task on CPU 0 with so much touched memory, and where that begins."""
    task = kernel.tasks.spawn(kernel, "bench", cpu=0)
    vma = mmap.mmap(kernel, task, None, pages)
    memory.touch(kernel, task, vma.start, vma.stop, write=True)
    return task, vma.start


def first_touch(policy: tuple[int, int] | None = None) -> float:
    """Seconds to touch 64 GiB for the first time."""
    kernel = large()
    task = kernel.tasks.spawn(kernel, "bench", cpu=0)
    if policy:
        mempolicy.set_mempolicy(kernel, task, policy[0], policy[1], 65)
    vma = mmap.mmap(kernel, task, None, 64 * GIB)
    return seconds(lambda: memory.touch(kernel, task, vma.start, vma.stop, write=True))


def boot_time() -> Figure:
    """Booting the four-node ring."""
    machine = resolve("ring4")
    return Figure(1e3 * best_of(5, lambda: boot(machine)))


def touch_default() -> Figure:
    """64 GiB of a task on node 0, which spill to another node."""
    return Figure(1e3 * first_touch(), "64 GiB, 16.8 M pages")


def touch_interleaved() -> Figure:
    """64 GiB over four nodes in turn."""
    return Figure(1e3 * first_touch((mempolicy.Mode.INTERLEAVE, 0b1111)), "16.8 M pages in turn over 4 nodes")


def echo_mems() -> Figure:
    """`echo 2-3 > cpuset.mems` with memory_migrate, for a task of 64 GiB on nodes 0 and 1."""
    kernel = large()
    group = cpuset.mkdir(kernel, kernel.cpusets.root, "a")
    cpuset.cpus_store(kernel, group, "0-7")
    cpuset.mems_store(kernel, group, "0-1")
    cpuset.update_flag(kernel, group, CS.MEMORY_MIGRATE, True)
    task, _ = task_with(kernel, 64 * GIB)
    cpuset.attach(kernel, group, task.pid, whole_process=True)
    spent = seconds(lambda: cpuset.mems_store(kernel, group, "2-3"))
    assert task.mm is not None
    left = sum(n for vma in task.mm.vmas if vma.file is None for run, n in vma.runs() if run.zone.pgdat.nid < 2)
    return Figure(1e3 * spent, f"{left} pages left behind")


def fill_cache() -> Figure:
    """64 GiB of a file read through a node whose free memory is much less, with reclaim of what was read before."""
    kernel = boot(resolve("4x2:4G"))
    task = kernel.tasks.spawn(kernel, "bench", cpu=0)
    inode = Inode("/data/huge", 64 << 30)
    spent = seconds(lambda: filemap.generic_file_read(kernel, task, inode, 0, 64 << 30))
    return Figure(1e3 * spent, f"{1e9 * spent / (64 * GIB):.1f} ns a page, {inode.space.nrpages} of them stay")


def small_files() -> Figure:
    """20,000 files of 100 KiB looked up and read on a machine that holds half of them."""
    kernel = boot(loads(SMALL_FILES))
    task = kernel.tasks.spawn(kernel, "bench", cpu=0)

    def read_all() -> None:
        for path in kernel.machine.disks[0].files:
            filemap.generic_file_read(kernel, task, kernel.fs.lookup(task, path.path), 0, 100 << 10)

    return Figure(1e6 * seconds(read_all) / 20_000, "names, inodes, pages, and reclaim of them")


def fork_exit() -> Figure:
    """fork() and exit() of a task with 64 GiB."""
    kernel = large()
    task, _ = task_with(kernel, 64 * GIB)
    return Figure(1e3 * best_of(5, lambda: kernel.tasks.do_exit(kernel, kernel.tasks.fork(kernel, task))))


def spawn_exit() -> Figure:
    """A small task from its start to its end."""
    kernel = boot(resolve("ring4"))
    return Figure(1e3 * best_of(20, lambda: kernel.tasks.do_exit(kernel, kernel.tasks.spawn(kernel, "bench"))))


def in_child(what: Callable[[], None]) -> str:
    """What a function of this module prints, run in a process of its own."""
    code = f"from benchmarks.model import {what.__name__}; {what.__name__}()"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def fill_big64() -> None:
    """Fill 12 TiB on 64 nodes with tasks' memory, and print the process's largest size in MB."""
    kernel = boot(resolve("big64"))
    for pgdat in kernel.online_nodes:
        task = kernel.tasks.spawn(kernel, "bench", cpu=(pgdat.cpus_present & -pgdat.cpus_present).bit_length() - 1)
        pages = pgdat.free - 2 * sum(zone.watermark[2] for zone in pgdat.zones) - 100_000
        vma = mmap.mmap(kernel, task, None, pages)
        memory.touch(kernel, task, vma.start, vma.stop, write=True)
    used = sum(pgdat.managed - pgdat.free for pgdat in kernel.nodes)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, used >> 28)


def big64_memory() -> Figure:
    """Memory of the process that holds the filled machine."""
    size, tib = in_child(fill_big64).split()
    return Figure(float(size), f"{tib} TiB in use")


def big64_time() -> Figure:
    """The time of the same, Python's start and the boot of the machine included."""
    return Figure(seconds(lambda: in_child(fill_big64)))


ROWS = (
    Row("boot ring4", "ms", boot_time),
    Row("spawn and end a task", "ms", spawn_exit),
    Row("first touch of 64 GiB", "ms", touch_default),
    Row("first touch of 64 GiB, interleaved", "ms", touch_interleaved),
    Row("echo 2-3 > mems, task of 64 GiB", "ms", echo_mems, goal=5),
    Row("fork and exit, task of 64 GiB", "ms", fork_exit),
    Row("page cache fill of 64 GiB with reclaim", "ms", fill_cache),
    Row("read one of 20,000 small files with reclaim", "us", small_files),
    Row("big64 (12 TiB) filled: memory", "MB", big64_memory, goal=150),
    Row("big64 (12 TiB) filled: time", "s", big64_time),
)
