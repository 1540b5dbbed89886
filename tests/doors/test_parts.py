# SPDX-License-Identifier: MIT
"""The parts of the door that need no mount."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from numafs.doors.mounts import mounts
from numafs.doors.notify import sd_notify
from numafs.doors.pace import Pace
from numafs.doors.real_tasks import RealTasks
from numafs.doors.service import reason
from numafs.kernel.clock import Clock
from numafs.kernel.cpuset import attach
from numafs.kernel.errors import EINVAL
from numafs.kernel.kernel import Kernel


def test_the_clock_follows_the_wall_and_waits_where_the_model_is_ahead() -> None:
    wall = iter([100, 160, 170, 400])
    clock = Clock()
    pace = Pace(clock, 2.0, lambda: next(wall), 1)
    pace.tick()
    assert clock.now == 120
    clock.advance(100)
    pace.tick()
    assert clock.now == 220
    pace.tick()
    assert clock.now == 600


def test_a_reason_is_the_name_of_the_errno_and_what_the_model_said() -> None:
    assert reason(EINVAL("node 9 is not on line")) == "EINVAL: node 9 is not on line"
    assert reason(OSError(errno.EACCES, os.strerror(errno.EACCES))) == "EACCES"


def test_the_mount_table_is_read_with_its_escapes(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_text(
        "22 1 0:21 / /proc rw - proc proc rw\n"
        "40 22 0:50 / /mnt/with\\040blank rw,nosuid - fuse.numafs ring4 rw,user_id=0\n"
    )
    assert [(mount.directory, mount.source) for mount in mounts(str(table))] == [("/mnt/with blank", "ring4")]


def test_the_service_manager_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        assert sd_notify("READY=1")
        assert manager.recv(100) == b"READY=1"
    assert not sd_notify("READY=1")


@pytest.fixture
def tasks(kernel: Kernel) -> Iterator[RealTasks]:
    made = RealTasks(kernel)
    yield made
    made.close()


@pytest.fixture
def child() -> Iterator[subprocess.Popen[str]]:
    """A process that makes a child (and says its pid) for each line that it reads."""
    script = """if True:
        import os, sys
        for line in sys.stdin:
            pid = os.fork()
            if not pid:
                os.execvp("sleep", ["sleep", "60"])
            print(pid, flush=True)
    """
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, process_group=0
    ) as process:
        yield process
        os.killpg(process.pid, 9)


def new_child(process: subprocess.Popen[str]) -> int:
    assert process.stdin and process.stdout
    process.stdin.write("\n")
    process.stdin.flush()
    return int(process.stdout.readline())


def test_a_living_process_is_adopted_when_its_pid_is_asked_for(
    kernel: Kernel, tasks: RealTasks, child: subprocess.Popen[str]
) -> None:
    task = kernel.tasks.find(child.pid)
    assert task is not None and task.real and task.mm is None
    assert kernel.tasks.find(4_194_300) is None


def test_a_process_leaves_when_it_exits(kernel: Kernel, tasks: RealTasks, child: subprocess.Popen[str]) -> None:
    attach(kernel, kernel.cpusets.root, child.pid, whole_process=True)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    tasks.reap()
    assert kernel.tasks.get(child.pid) is None


def test_children_follow_but_not_those_it_had_before(
    kernel: Kernel, tasks: RealTasks, child: subprocess.Popen[str]
) -> None:
    before = new_child(child)
    parent = kernel.tasks.find(child.pid)
    after = new_child(child)
    tasks.follow()
    task = kernel.tasks.get(after)
    assert task is not None and parent is not None and task.cpuset is parent.cpuset
    assert kernel.tasks.get(before) is None
