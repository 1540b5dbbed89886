# SPDX-License-Identifier: MIT
"""The tree: what each kind of file system refuses, and how text is read and written."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import Any

import pytest

from numafs.fs import tree
from numafs.fs.attr import Attr, Caller
from numafs.fs.tree import CGROUP, PROC, PROC_PID, SYSCTL, SYSFS, Dir, File, Link, Root

USER = Caller(pid=7, uid=1000, gid=1000)
ROOT = Caller(pid=7)


class Box:
    """Something with a text that counts how often it was looked at, and remembers what was written."""

    def __init__(self, text: str = "abc\n") -> None:
        self.text = text
        self.shown = 0
        self.log: list[Any] = []


def show(box: Box) -> str:
    box.shown += 1
    return box.text


def store(box: Box, data: bytes, caller: Caller) -> None:
    box.log.append((data, caller.pid, caller.uid))


@contextmanager
def refused(number: int):
    with pytest.raises(OSError) as caught:
        yield
    assert caught.value.errno == number


def a_file(flavour: tree.Flavour, mode: int = 0o644, box: Box | None = None, **row: Any) -> File:
    row.setdefault("show", show)
    row.setdefault("store", store)
    return File(flavour, Attr("f", mode, **row), box or Box())


def test_a_read_at_offset_0_renders_anew_and_later_ones_are_slices_of_that():
    box = Box()
    handle = a_file(SYSFS, box=box).open(ROOT)
    first = handle.read(0, 2)
    box.text = "xyz\n"
    assert (first, handle.read(2, 100), handle.read(0, 100)) == (b"ab", b"c\n", b"xyz\n")
    assert box.shown == 2


def test_a_first_read_behind_the_start_renders_too():
    assert a_file(SYSFS).open(ROOT).read(1, 2) == b"bc"


def test_a_sysctl_has_nothing_behind_the_start_and_swallows_writes_there():
    box = Box()
    handle = a_file(SYSCTL, box=box).open(ROOT, os.O_RDWR)
    assert handle.read(1, 10) == b""
    assert handle.write(1, b"5\n") == 2
    assert box.log == []


def test_a_write_goes_by_the_openers_credentials_and_the_writers_thread():
    box = Box()
    a_file(CGROUP, box=box).open(ROOT, os.O_WRONLY).write(5, b"1", Caller(9, 1000, 1000))
    assert box.log == [(b"1", 9, 0)]


def test_an_empty_write_does_nothing_even_without_a_store():
    assert a_file(CGROUP, 0o444, store=None).open(ROOT, os.O_WRONLY).write(0, b"") == 0


@pytest.mark.parametrize("flavour", [SYSFS, SYSCTL])
def test_sysfs_and_sysctl_modes_bind_even_root(flavour):
    with refused(errno.EACCES):
        a_file(flavour, 0o200).open(ROOT, os.O_RDONLY)
    with refused(errno.EACCES):
        a_file(flavour, 0o444).open(ROOT, os.O_WRONLY)


@pytest.mark.parametrize(("flavour", "number"), [(CGROUP, errno.EINVAL), (PROC, errno.EIO), (PROC_PID, errno.EINVAL)])
def test_elsewhere_root_may_open_but_not_write_what_has_no_store(flavour, number):
    handle = a_file(flavour, 0o444, store=None).open(ROOT, os.O_WRONLY)
    with refused(number):
        handle.write(0, b"1")


def test_a_user_is_held_to_the_mode():
    with refused(errno.EACCES):
        a_file(CGROUP, 0o644).open(USER, os.O_WRONLY)
    owned = a_file(CGROUP, 0o644)
    owned.chown(1000, 1000)
    owned.open(USER, os.O_WRONLY)


def test_a_cgroup_write_over_the_limit_is_e2big_and_a_sysfs_one_is_cut():
    box = Box()
    with refused(errno.E2BIG):
        a_file(CGROUP, box=box, limit=4).open(ROOT, os.O_WRONLY).write(0, b"12345")
    assert a_file(SYSFS, box=box, limit=4).open(ROOT, os.O_WRONLY).write(0, b"12345") == 4
    assert box.log == [(b"1234", 7, 0)]


def test_what_is_open_in_a_removed_directory_answers_enodev():
    root = Root()
    home = root.dir("a/b", CGROUP)
    home.add_files([Attr("f", 0o644, show, store)], Box())
    handle = root.open_path("a/b/f", os.O_RDWR)
    root.dir("a").forget("b")
    with refused(errno.ENODEV):
        handle.read(0, 10)
    with refused(errno.ENODEV):
        handle.write(0, b"1")
    with refused(errno.ENOENT):
        root.resolve("a/b/f")


@pytest.mark.parametrize(("flavour", "create", "mkdir"), [
    (SYSFS, errno.EACCES, errno.EPERM), (PROC, errno.ENOENT, errno.ENOENT), (SYSCTL, errno.ENOENT, errno.ENOENT),
])
def test_nothing_can_be_made_or_removed_in_a_kernels_directories(flavour, create, mkdir):
    home = Dir(flavour)
    home.add("d", Dir(flavour))
    home.add("f", a_file(flavour))
    with refused(create):
        home.create("new", 0o644, ROOT)
    with refused(mkdir):
        home.mkdir("new", 0o755, ROOT)
    with refused(errno.EPERM):
        home.rmdir("d", ROOT)
    with refused(errno.ENOTDIR):
        home.rmdir("f", ROOT)
    with refused(errno.EPERM):
        home.unlink("f", ROOT)
    with refused(errno.EISDIR):
        home.unlink("d", ROOT)
    with refused(errno.ENOENT):
        home.unlink("none", ROOT)


def test_chmod_sticks_in_sysfs_and_is_refused_in_proc_pid_and_of_strangers():
    sysfs = a_file(SYSFS)
    sysfs.chmod(0o600)
    assert sysfs.stat().mode == stat.S_IFREG | 0o600
    with refused(errno.EPERM):
        a_file(PROC_PID).chmod(0o600)
    with refused(errno.EPERM):
        sysfs.chmod(0o644, USER)


def test_a_directory_counts_its_subdirectories_as_links():
    home = Dir(SYSFS)
    home.add("f", a_file(SYSFS))
    home.dir("x")
    home.dir("y")
    assert home.stat().nlink == 4
    assert home.stat().mode == stat.S_IFDIR | 0o755


def test_children_may_come_and_go_with_the_model():
    there = {"1": a_file(PROC)}
    home = Dir(PROC, find=there.get, more=lambda: list(there))
    home.add("fixed", a_file(PROC))
    assert list(home.names()) == ["fixed", "1"]
    assert home.lookup("1") is there.pop("1")
    with refused(errno.ENOENT):
        home.lookup("1")


def test_links_are_followed_as_a_program_would():
    root = Root()
    root.dir("cpu/cpu1").add_files([Attr("online", 0o644, show, store)], Box("1\n"))
    root.dir("node/node0").add("cpu1", Link("../../cpu/cpu1"))
    assert root.read_text("/node/node0/cpu1/online") == "1\n"
    assert isinstance(root.resolve("node/node0/cpu1"), Link)
    with refused(errno.ENOTDIR):
        root.resolve("cpu/cpu1/online/x")


def test_a_ring_of_links_is_eloop():
    root = Root()
    root.add("a", Link("b"))
    root.add("b", Link("a"))
    with refused(errno.ELOOP):
        root.follow("a")
