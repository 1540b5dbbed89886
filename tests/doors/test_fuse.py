# SPDX-License-Identifier: MIT
"""The FUSE door, through the kernel, on the toy tree."""

from __future__ import annotations

import errno
import os
import pwd
import stat
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from toy import toy_tree

from numafs.doors import mounts
from numafs.doors.daemon import background, end
from numafs.doors.fuse import FuseDoor, binding
from numafs.doors.service import Service

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def errno_of(action: Callable[[], object]) -> int:
    with pytest.raises(OSError) as caught:
        action()
    assert caught.value.errno is not None
    return caught.value.errno


def test_a_file_of_any_size_is_read_whole(toy: Path) -> None:
    assert (toy / "sys/node/value").read_text() == "1\n"
    assert len(set((toy / "sys/node/count").read_text().split())) == 1


def test_the_content_of_one_open_is_one_snapshot_until_it_is_read_from_the_start(toy: Path) -> None:
    with open(toy / "sys/node/count", "rb", buffering=0) as file:
        first = file.read(2)
        assert file.read(2) == first
        file.seek(0)
        assert file.read(2) != first


def test_stat_shows_type_mode_owner_and_links(toy: Path) -> None:
    file, directory = os.stat(toy / "sys/node/value"), os.stat(toy / "sys")
    assert (stat.S_IMODE(file.st_mode), file.st_uid, file.st_nlink) == (0o644, 0, 1)
    assert stat.S_ISDIR(directory.st_mode) and directory.st_nlink == 3
    assert os.readlink(toy / "link") == "sys/node/value"
    assert file.st_ino == os.stat(toy / "link").st_ino


def test_a_directory_lists_names_with_their_types(toy: Path) -> None:
    kinds = {entry.name: entry.is_dir(follow_symlinks=False) for entry in os.scandir(toy)}
    assert kinds == {"sys": True, "link": False, "groups": True, "again": True}


def test_a_write_reaches_store_and_what_truncates_or_creates_a_file_that_exists_does_no_harm(toy: Path) -> None:
    path = toy / "sys/node/value"
    path.write_text("2\n")
    os.truncate(path, 0)
    assert path.read_text() == "2\n"
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC), "wb", buffering=0) as file:
        os.ftruncate(file.fileno(), 5)
        assert os.pwrite(file.fileno(), b"1\n", 5) == 2
    assert path.read_text() == "1\n"


def test_the_writer_gets_the_errno_that_store_raised(toy: Path) -> None:
    assert errno_of(lambda: (toy / "sys/node/value").write_text("no\n")) == errno.EINVAL


def test_modes_bind_even_root_in_sysfs(toy: Path) -> None:
    assert errno_of((toy / "sys/node/secret").read_text) == errno.EACCES
    assert errno_of(lambda: (toy / "sys/node/count").write_text("x")) == errno.EACCES


def test_names_that_cannot_be_made_or_removed(toy: Path) -> None:
    node = toy / "sys/node"
    assert errno_of(lambda: (node / "new").write_text("x")) == errno.EACCES
    assert errno_of((node / "new").mkdir) == errno.EPERM
    assert errno_of((node / "value").unlink) == errno.EPERM
    assert errno_of(lambda: (node / "new").symlink_to("x")) == errno.EPERM
    assert errno_of(lambda: os.open(node / "value", os.O_CREAT | os.O_EXCL)) == errno.EEXIST
    assert errno_of(lambda: os.open(node / "value", os.O_DIRECTORY)) == errno.ENOTDIR
    assert errno_of(lambda: os.open(node, os.O_WRONLY)) == errno.EISDIR
    assert errno_of(lambda: os.open(node / "value", os.O_DIRECT)) == errno.EINVAL
    assert errno_of((node / "missing").read_text) == errno.ENOENT


def test_a_bug_is_eio_and_the_mount_goes_on(toy: Path) -> None:
    assert errno_of((toy / "sys/node/bug").read_text) == errno.EIO
    assert (toy / "sys/node/value").read_text() == "1\n"


def test_what_changes_at_one_path_is_seen_at_once_at_the_other(toy: Path) -> None:
    for _ in range(3):
        (toy / "groups/a").mkdir()
        assert (toy / "again/a/value").read_text() == "1\n"
        (toy / "again/a").rmdir()
        assert not (toy / "groups/a").exists()


def test_a_file_that_was_open_when_its_group_went_is_enodev(toy: Path) -> None:
    (toy / "groups/b").mkdir()
    with open(toy / "groups/b/value", "rb", buffering=0) as file:
        (toy / "groups/b").rmdir()
        assert errno_of(lambda: file.read(1)) == errno.ENODEV


def test_a_group_can_be_renamed(toy: Path) -> None:
    (toy / "groups/c").mkdir()
    (toy / "groups/c").rename(toy / "groups/d")
    assert (toy / "groups/d/value").read_text() == "1\n" and not (toy / "groups/c").exists()
    (toy / "groups/d").rmdir()


def test_chmod_chown_and_utime_stick(toy: Path) -> None:
    (toy / "groups/e").mkdir(0o750)
    path = toy / "groups/e"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    path.chmod(0o700)
    os.utime(path, ns=(5, 7_000_000_001))
    got = path.stat()
    assert (stat.S_IMODE(got.st_mode), got.st_atime_ns, got.st_mtime_ns) == (0o700, 5, 7_000_000_001)
    path.rmdir()


def test_groups_have_extended_attributes_and_sysfs_has_none(toy: Path) -> None:
    (toy / "groups/f").mkdir()
    os.setxattr(toy / "groups/f", "user.note", b"hi")
    assert os.getxattr(toy / "groups/f", "user.note") == b"hi"
    assert os.listxattr(toy / "groups/f") == ["user.note"]
    assert errno_of(lambda: os.getxattr(toy / "groups/f", "user.other")) == errno.ENODATA
    assert errno_of(lambda: os.setxattr(toy / "sys/node", "user.note", b"hi")) == errno.EOPNOTSUPP
    (toy / "groups/f").rmdir()


@root_only
def test_a_write_carries_the_writers_thread_and_the_openers_uid(toy: Path) -> None:
    (toy / "groups/g").mkdir()
    file = os.open(toy / "groups/g/value", os.O_WRONLY)
    os.chmod(toy / "groups/g/value", 0o666)
    child = os.fork()
    if child == 0:
        os.setuid(1000)
        os._exit(0 if os.write(file, b"x") == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
    os.close(file)
    assert (toy / "groups/g/who").read_text() == f"{child} 0\n"
    (toy / "groups/g").rmdir()


@root_only
def test_others_may_do_what_the_modes_let_them(toy: Path) -> None:
    (toy / "groups/h").mkdir(0o755)
    (toy / "groups/i").mkdir(0o700)
    script = f"""
        cat {toy}/sys/node/value; echo x > {toy}/sys/node/value; mkdir {toy}/groups/new; cat {toy}/groups/i/value
        test -w {toy}/groups/h/value || echo read-only
    """
    done = subprocess.run(["sh", "-c", script], user=1000, group=1000, capture_output=True, text=True, check=False)
    assert done.stdout == "1\nread-only\n"
    assert done.stderr.count("Permission denied") == 3
    (toy / "groups/h").rmdir()
    (toy / "groups/i").rmdir()


@root_only
def test_a_user_mounts_for_themself_and_is_the_machines_root(fuse: None) -> None:
    """In a child, which becomes that user: nobody else sees such a mount. It may not be able to read root's modules."""
    binding()
    user = pwd.getpwnam("nobody")
    directory = tempfile.mkdtemp(prefix="numafs-user-")
    os.chown(directory, user.pw_uid, user.pw_gid)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        os._exit(use_own_mount(Path(directory)))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.rmdir(directory)


def use_own_mount(directory: Path) -> int:
    """Mount the toy tree as who we are, write to it as its root would; 0 if all went well."""
    pid, problem = background(
        lambda ready: FuseDoor(Service(toy_tree()), ready=ready).serve(str(directory), ["fsname=toy", "subtype=numafs"])
    )
    if problem:
        return 1
    try:
        (directory / "groups/mine").mkdir()
        (directory / "groups/mine/value").write_text("mine\n")
        well = (directory / "groups/mine/who").read_text().split()[1] == "0"
    finally:
        mounts.unmount(str(directory))
        end(pid)
    return 0 if well else 2
