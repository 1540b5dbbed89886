# SPDX-License-Identifier: MIT
"""numafs/: requests and their replies, time, the checker."""

from __future__ import annotations

import errno
import os

import pytest

from numafs.fs.attr import Caller
from numafs.fs.tasks_ctl import numafs_dir, parse_duration
from numafs.fs.tree import ROOT_CALLER, Dir, Root
from numafs.kernel.kernel import Kernel


@pytest.fixture
def root(kernel: Kernel) -> Root:
    """A tree with nothing but numafs/."""
    root = Root()
    root.add("numafs", numafs_dir(kernel))
    return root


def ask(root: Root, path: str, request: str, caller: Caller = ROOT_CALLER) -> str:
    """One open, one write, one read from where the write ended."""
    handle = root.open_path(path, os.O_RDWR, caller)
    end = handle.write(0, request.encode(), caller)
    return handle.read(end, 4096, caller).decode()


def test_the_reply_is_read_where_the_request_was_written(root: Root) -> None:
    pid = int(ask(root, "numafs/tasks/create", "idle --node 1\n"))
    assert ask(root, f"numafs/tasks/{pid}/ctl", "alloc 4M --touch\n") == "r0\n"
    assert ask(root, f"numafs/tasks/{pid}/ctl", "where") == "N1=1024\n"
    assert root.read_text(f"numafs/tasks/{pid}/reply") == "N1=1024\n"
    assert root.read_text("numafs/tasks/create") == f"{pid}\n"


def test_a_reply_is_read_in_pieces_and_again_from_the_start(root: Root) -> None:
    handle = root.open_path("numafs/tasks/run", os.O_RDWR)
    end = handle.write(0, b"runson --cpu 2")
    assert [handle.read(end, 5), handle.read(end + 5, 100), handle.read(end + 11, 100)] == [b"cpu2 ", b"node1\n", b""]
    assert handle.read(0, 100) == b"cpu2 node1\n"
    assert handle.read(11, 100) == b""


def test_a_request_that_fails_says_why_on_the_same_open_file(root: Root) -> None:
    handle = root.open_path("numafs/tasks/create", os.O_RDWR)
    with pytest.raises(OSError) as error:
        handle.write(0, b"idle --policy bind:9")
    assert error.value.errno == errno.EINVAL
    assert handle.read(0, 100).startswith(b"set_mempolicy: Invalid argument")


def test_a_task_s_directory_goes_with_it(root: Root) -> None:
    pid = int(ask(root, "numafs/tasks/create", "idle"))
    handle = root.open_path(f"numafs/tasks/{pid}/ctl", os.O_RDWR)
    handle.write(0, b"exit")
    with pytest.raises(FileNotFoundError):
        root.resolve(f"numafs/tasks/{pid}/ctl")
    with pytest.raises(ProcessLookupError):
        handle.write(0, b"where")


def test_a_task_belongs_to_who_made_it(root: Root) -> None:
    user, other = Caller(pid=7, uid=1000, gid=1000), Caller(pid=8, uid=1001, gid=1001)
    pid = int(ask(root, "numafs/tasks/create", "idle", user))
    assert ask(root, f"numafs/tasks/{pid}/ctl", "runson", user) == "cpu0 node0\n"
    with pytest.raises(PermissionError):
        root.open_path(f"numafs/tasks/{pid}/ctl", os.O_RDWR, other)


def test_a_real_process_is_adopted_with_options(kernel: Kernel, root: Root) -> None:
    kernel.tasks.find_real = lambda pid: kernel.tasks.adopt(kernel, pid, pid, "sh", 0, 0) if pid == 4321 else None
    assert ask(root, "numafs/tasks/adopt", "self --node 2 --policy bind:1", Caller(pid=4321)) == "4321\n"
    assert ask(root, "numafs/tasks/4321/ctl", "runson; getpolicy") == "cpu4 node2\nbind:1\n"
    with pytest.raises(ProcessLookupError):
        ask(root, "numafs/tasks/adopt", "4322")


def test_time_passes_by_the_step(kernel: Kernel, root: Root) -> None:
    kernel.clock.now = 0
    root.write_text("numafs/step", "1.5\n")
    assert root.read_text("numafs/clock") == "1.500000000\n"
    for text in ("soon", "-1", "1h", "86401"):
        with pytest.raises(OSError) as error:
            root.write_text("numafs/step", text)
        assert error.value.errno == errno.EINVAL
    assert root.read_text("numafs/clock") == "1.500000000\n"


@pytest.mark.parametrize(
    ("text", "ns"), [("2", 2_000_000_000), ("0.3", 300_000_000), ("20ms", 20_000_000), (" 5us\n", 5_000),
                     ("1m", 60 * 10**9)],
)
def test_durations_have_units(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


def test_the_checker_can_be_read(kernel: Kernel, root: Root) -> None:
    assert root.read_text("numafs/check") == "ok\n"
    kernel.nodes[0].populated_zones[0].stat[0] -= 1
    assert "node0" in root.read_text("numafs/check")


def test_the_log_has_what_the_kernel_said(kernel: Kernel, root: Root) -> None:
    kernel.printk("something happened")
    assert root.read_text("numafs/log").endswith("something happened\n")
    assert "alloc SIZE" in root.read_text("numafs/help")
    assert root.read_text("numafs/seed") == f"{kernel.machine.seed}\n"


@pytest.mark.parametrize(("name", "before"), [("adopt", ""), ("run", "policy bind:"), ("run", "policy ")])
def test_numbers_of_thousands_of_digits_are_refused(kernel: Kernel, name: str, before: str) -> None:
    tasks = numafs_dir(kernel).lookup("tasks")
    assert isinstance(tasks, Dir)
    with pytest.raises(OSError) as caught:
        tasks.lookup(name).open(ROOT_CALLER, os.O_RDWR).write(0, before.encode() + b"1" * 5000, ROOT_CALLER)
    assert caught.value.errno == errno.EINVAL
