# SPDX-License-Identifier: MIT
"""What vm.drop_caches throws away, and what it leaves."""

from __future__ import annotations

import pytest

from numafs.kernel import filemap, memory, mmap, page_writeback
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.drop_caches import drop_caches
from numafs.kernel.vmstat import NodeStat, VmEvent
from numafs.machine.toml import loads

MACHINE = """
nodes = 2
cpus = 1
memory = "256M"
[[disk]]
name = "vda"
[disk.files]
clean = "20M"
mapped = "10M"
"many/d{0..9}/{0..99}" = 0
"""


@pytest.fixture
def kernel():
    return boot(loads(MACHINE))


@pytest.fixture
def task(kernel):
    return kernel.tasks.spawn(kernel, "sh", cpu=0)


def look_at_all(kernel, task):
    for d in kernel.fs.listdir(task, "many"):
        for name in kernel.fs.listdir(task, f"many/{d}"):
            kernel.fs.lookup(task, f"many/{d}/{name}")


def test_clean_unmapped_pages_go_and_no_others(kernel, task):
    clean, mapped = (kernel.fs.lookup(task, name) for name in ("clean", "mapped"))
    dirty = kernel.fs.create(task, "dirty")
    filemap.generic_file_read(kernel, task, clean, 0, 20 << 20)
    filemap.generic_perform_write(kernel, task, dirty, 0, 1 << 20)
    vma = mmap.mmap(kernel, task, None, 2560, file=mapped)
    memory.touch(kernel, task, vma.start, vma.stop, False)
    shared = mmap.mmap(kernel, task, None, 100, shared=True)
    memory.touch(kernel, task, shared.start, shared.stop, True)

    drop_caches(kernel, task, 1)

    assert [inode.space.nrpages for inode in (clean, mapped, dirty, shared.file)] == [0, 2560, 256, 100]
    check(kernel)
    page_writeback.sync(kernel)
    drop_caches(kernel, task, 1)
    assert dirty.space.nrpages == 0


def test_two_drops_names_and_inodes_whose_slabs_come_free(kernel, task):
    before = kernel.nodes[0].stat[NodeStat.NR_SLAB_RECLAIMABLE]
    look_at_all(kernel, task)
    grown = kernel.nodes[0].stat[NodeStat.NR_SLAB_RECLAIMABLE] - before
    drop_caches(kernel, task, 2)
    left = kernel.nodes[0].stat[NodeStat.NR_SLAB_RECLAIMABLE] - before
    assert grown > 300
    assert left < 60
    check(kernel)


def test_slabs_with_one_file_held_open_survive(kernel, task):
    """mm.md 12.3: of inodes of which every 20th is open, most slabs stay."""
    look_at_all(kernel, task)
    cache = kernel.slab.find("ext4_inode_cache")
    names = [f"many/d{d}/{n}" for d in range(10) for n in range(0, 100, 20)]
    for name in names:
        kernel.fs.iget(kernel.fs.lookup(task, name))
    slabs = cache.slabs.total()
    drop_caches(kernel, task, 2)
    assert 50 <= cache.inuse.total() < 80
    assert cache.slabs.total() > 0.6 * slabs
    check(kernel)


def test_no_cache_pressure_means_nothing_is_dropped(kernel, task):
    look_at_all(kernel, task)
    kernel.vm.vfs_cache_pressure = 0
    before = kernel.slab.find("dentry").inuse.total()
    drop_caches(kernel, task, 2)
    assert kernel.slab.find("dentry").inuse.total() == before


def test_four_drops_nothing_and_ends_the_remarks(kernel, task):
    filemap.generic_file_read(kernel, task, kernel.fs.lookup(task, "clean"), 0, 1 << 20)
    for value in (1, 4, 1):
        filemap.generic_file_read(kernel, task, kernel.fs.lookup(task, "clean"), 0, 1 << 20)
        drop_caches(kernel, task, value)
    assert kernel.kmsg[-2:] == [f"sh ({task.pid}): drop_caches: 1", f"sh ({task.pid}): drop_caches: 4"]
    assert (kernel.events[VmEvent.DROP_PAGECACHE], kernel.events[VmEvent.DROP_SLAB]) == (2, 0)


@pytest.mark.parametrize("value", [0, 5, -1])
def test_other_values_are_einval(kernel, task, value):
    with pytest.raises(OSError, match="drop_caches"):
        drop_caches(kernel, task, value)
