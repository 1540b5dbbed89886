# SPDX-License-Identifier: MIT
"""The tree of the disks' files, and what of it the kernel remembers."""

from __future__ import annotations

import pytest

from numafs.kernel import filemap
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.drop_caches import drop_caches
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task
from numafs.kernel.vmstat import NodeStat
from numafs.machine.spec import Disk, DiskFile

from .machines import machine

FILES = (DiskFile("f", 1 << 20), *(DiskFile(f"many/d{i}/{j}") for i in range(20) for j in range(50)))


@pytest.fixture
def kernel() -> Kernel:
    return boot(machine(64, 64, disks=(Disk("d", FILES),)))


@pytest.fixture
def task(kernel: Kernel) -> Task:
    return kernel.tasks.spawn(kernel, "t", cpu=2)


def look_at_all(kernel: Kernel, task: Task) -> None:
    for directory in kernel.fs.listdir(task, "many"):
        for name in kernel.fs.listdir(task, f"many/{directory}"):
            kernel.fs.lookup(task, f"many/{directory}/{name}")


def reclaimable(kernel: Kernel) -> int:
    return kernel.nodes[1].stat[NodeStat.NR_SLAB_RECLAIMABLE]


def test_files_cost_nothing_until_they_are_looked_at(kernel: Kernel, task: Task) -> None:
    assert reclaimable(kernel) == 0
    look_at_all(kernel, task)
    # 1,021 names of 21 a page, as many inodes of 27 in 8 pages
    assert reclaimable(kernel) == -(-1021 // 21) + 8 * -(-1021 // 27)
    check(kernel)


def test_dropping_slabs_forgets_what_nobody_uses(kernel: Kernel, task: Task) -> None:
    look_at_all(kernel, task)
    inode = kernel.fs.lookup(task, "many/d3/7")
    kernel.fs.iget(inode)
    drop_caches(kernel, task, 2)
    assert kernel.fs.lookup(task, "many/d3/7") is inode
    assert reclaimable(kernel) < 150
    assert len(list(kernel.fs.inodes())) == 4
    check(kernel)


def test_without_pressure_on_caches_nothing_is_forgotten(kernel: Kernel, task: Task) -> None:
    look_at_all(kernel, task)
    before = reclaimable(kernel)
    kernel.vm.set(kernel, "vfs_cache_pressure", 0)
    drop_caches(kernel, task, 2)
    assert reclaimable(kernel) == before


def test_an_inode_with_pages_outlives_its_name(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.lookup(task, "f")
    filemap.generic_file_read(kernel, task, inode, 0, 1 << 20)
    drop_caches(kernel, task, 2)
    assert kernel.fs.lookup(task, "f") is inode
    drop_caches(kernel, task, 3)
    drop_caches(kernel, task, 3)
    assert kernel.fs.lookup(task, "f") is not inode
    check(kernel)


def test_what_was_changed_is_there_after_it_was_forgotten(kernel: Kernel, task: Task) -> None:
    inode = kernel.fs.create(task, "new", 0o600)
    filemap.generic_perform_write(kernel, task, inode, 0, 5000)
    filemap.fsync(kernel, inode)
    number = inode.ino
    for _ in range(3):
        drop_caches(kernel, task, 3)
    again = kernel.fs.lookup(task, "new")
    assert again is not inode
    assert (again.size_bytes, again.ino, again.mode) == (5000, number, 0o100600)


def test_names_are_made_renamed_and_removed(kernel: Kernel, task: Task) -> None:
    kernel.fs.mkdir(task, "dir")
    kernel.fs.create(task, "dir/a")
    kernel.fs.rename(task, "dir/a", "dir/b")
    assert kernel.fs.listdir(task, "dir") == ["b"]
    with pytest.raises(OSError, match="has entries"):
        kernel.fs.rmdir(task, "dir")
    kernel.fs.unlink(task, "dir/b")
    kernel.fs.rmdir(task, "dir")
    assert "dir" not in kernel.fs.listdir(task, "")
    check(kernel)


@pytest.mark.parametrize(
    ("verb", "path", "error"),
    [
        ("lookup", "none", FileNotFoundError), ("lookup", "f/x", NotADirectoryError), ("create", "f", FileExistsError),
        ("mkdir", "many", FileExistsError), ("unlink", "many", IsADirectoryError), ("rmdir", "f", NotADirectoryError),
        ("listdir", "f", NotADirectoryError), ("rmdir", "", PermissionError),
    ],
)
def test_what_cannot_be_is_refused(
    kernel: Kernel, task: Task, verb: str, path: str, error: type[OSError]
) -> None:
    before = kernel.fs.listdir(task, "")
    with pytest.raises(error):
        getattr(kernel.fs, verb)(task, path)
    assert kernel.fs.listdir(task, "") == before


def test_a_directory_does_not_move_into_itself(kernel: Kernel, task: Task) -> None:
    with pytest.raises(OSError, match="is inside"):
        kernel.fs.rename(task, "many", "many/d1/x")
