# SPDX-License-Identifier: MIT
"""data/: reading fills the page cache, writing dirties it, and the bytes are kept."""

from __future__ import annotations

import errno
import os

import pytest

from numafs.fs import verbs
from numafs.fs.attr import Caller
from numafs.fs.data import DataDir, data_dir, data_path
from numafs.fs.tree import Root
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.vmstat import NodeStat

USER = Caller(pid=77, uid=1000, gid=1000)


@pytest.fixture
def root(kernel: Kernel) -> Root:
    """A tree with nothing but data/."""
    root = Root()
    root.add("data", data_dir(kernel))
    return root


def top(root: Root) -> DataDir:
    node = root.resolve("data")
    assert isinstance(node, DataDir)
    return node


def make(root: Root, name: str, data: bytes = b"") -> None:
    handle = top(root).create(name, 0o644, Caller()).open(Caller(), os.O_RDWR)
    handle.write(0, data)
    handle.release()


def read(root: Root, path: str, size: int = 1 << 20) -> bytes:
    handle = root.open_path(path)
    data = handle.read(0, size)
    handle.release()
    return data


def test_reading_fills_the_page_cache_on_the_reader_s_node(kernel: Kernel, root: Root) -> None:
    reader = verbs.create_task(kernel, "idle --node 2")
    make(root, "x")
    root.resolve("data/x").truncate(4 << 20)
    handle = root.open_path("data/x")
    total = 0
    while data := handle.read(total, 131072, Caller(pid=reader.pid)):
        total += len(data)
    assert total == 4 << 20
    assert verbs.run_oneshot(kernel, "wherefile x") == "N2=1024\n"
    check(kernel)


def test_what_was_written_can_be_read_back_and_the_rest_is_zeros(kernel: Kernel, root: Root) -> None:
    make(root, "x")
    handle = root.open_path("data/x", os.O_RDWR)
    assert handle.write(5000, b"hello") == 5
    assert handle.read(4998, 100) == b"\0\0hello"
    assert root.resolve("data/x").size == 5005
    handle.release()
    check(kernel)


def test_writing_dirties_pages_until_fsync(kernel: Kernel, root: Root) -> None:
    make(root, "x", b"a" * 8192)
    dirty = lambda: sum(pgdat.stat[NodeStat.NR_DIRTY] for pgdat in kernel.nodes)  # noqa: E731
    assert dirty() == 2
    root.open_path("data/x", os.O_RDWR).fsync()
    assert dirty() == 0


def test_truncation_forgets_bytes_and_pages(kernel: Kernel, root: Root) -> None:
    make(root, "x", b"a" * 8192)
    root.resolve("data/x").truncate(1)
    root.resolve("data/x").truncate(10)
    assert read(root, "data/x") == b"a" + bytes(9)
    assert verbs.run_oneshot(kernel, "cached x") == "1/1 pages\n"
    check(kernel)


def test_an_unlinked_file_is_readable_while_it_is_open(kernel: Kernel, root: Root) -> None:
    make(root, "x", b"hello")
    handle = root.open_path("data/x")
    top(root).unlink("x", Caller())
    assert handle.read(0, 10) == b"hello"
    handle.release()
    with pytest.raises(FileNotFoundError):
        root.resolve("data/x")
    make(root, "x")
    assert read(root, "data/x") == b""
    check(kernel)


def test_directories_are_made_renamed_and_removed(root: Root) -> None:
    top(root).mkdir("d", 0o755, Caller())
    make(root, "x", b"hello")
    inside = root.resolve("data/d")
    assert isinstance(inside, DataDir)
    top(root).rename("x", inside, "y", Caller())
    assert (read(root, "data/d/y"), list(inside.names()), top(root).stat().nlink >= 3) == (b"hello", ["y"], True)
    with pytest.raises(OSError) as error:
        top(root).rmdir("d", Caller())
    assert error.value.errno == errno.ENOTEMPTY
    inside.unlink("y", Caller())
    top(root).rmdir("d", Caller())


def test_a_rename_takes_the_place_of_what_was_there(root: Root) -> None:
    make(root, "x", b"new")
    make(root, "y", b"old text")
    top(root).rename("x", top(root), "y", Caller())
    assert read(root, "data/y") == b"new"


def test_modes_and_owners_last(root: Root) -> None:
    make(root, "x")
    root.resolve("data/x").chmod(0o600)
    root.resolve("data/x").chown(5, 6)
    assert root.resolve("data/x").stat()[:5] == (0o100600, 1, 5, 6, 0)
    with pytest.raises(PermissionError):
        root.open_path("data/x", os.O_RDONLY, USER)


def test_looking_at_a_file_remembers_its_name_and_inode(kernel: Kernel, root: Root) -> None:
    make(root, "x")
    before = kernel.slab.caches["dentry"].inuse.total()
    make(root, "y")
    root.resolve("data/y").seen_by(Caller())  # type: ignore[attr-defined]
    assert kernel.slab.caches["dentry"].inuse.total() == before + 1


def test_paths_may_be_those_of_the_mount() -> None:
    assert [data_path(p) for p in ("f1", "data/f1", "/data/f1", "/mnt/x/data/many/data/1", "many/data/1", "/data")] == [
        "f1", "f1", "f1", "many/data/1", "many/data/1", "",
    ]
