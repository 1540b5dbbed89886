# SPDX-License-Identifier: MIT
"""The life of a mounted machine: beginning, end, what happens between."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from numafs.doors import mounts
from numafs.machine.presets import resolve
from numafs.machine.toml import dumps

pytestmark = pytest.mark.usefixtures("fuse")
ONLINE = "sys/devices/system/node/online"
NUMAFS = [sys.executable, "-m", "numafs"]


def numafs(*argv: str) -> subprocess.CompletedProcess[str]:
    """Run the command; what it says and its exit code."""
    return subprocess.run([*NUMAFS, *argv], capture_output=True, text=True, check=False)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A directory on which nothing is mounted in the end."""
    path = tmp_path / "mount point"
    path.mkdir()
    yield path
    if mounts.mount_at(str(path)):
        mounts.unmount(str(path), lazy=True)


@pytest.fixture
def foreground(directory: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `numafs mount -f` on `directory` and returns when it answers."""
    started: list[subprocess.Popen[str]] = []

    def start(machine: str, *options: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        daemon = subprocess.Popen(
            [*NUMAFS, "mount", "-f", *options, machine, str(directory)], stderr=subprocess.PIPE, text=True,
            env={**os.environ, **(env or {})},
        )
        started.append(daemon)
        wait_for_mount(directory)
        assert (directory / "sys").exists()  # answered when the daemon is ready, for signals too
        return daemon

    yield start
    for daemon in started:
        daemon.kill()
        daemon.communicate()


def wait_for_mount(directory: Path) -> None:
    """Wait until something is mounted there: the mount table polls as changed when it is."""
    with open("/proc/self/mountinfo", "rb") as table:
        changes = select.poll()
        changes.register(table, select.POLLPRI)
        while not mounts.mount_at(str(directory)):
            assert changes.poll(10_000), "nothing was mounted"


def said(daemon: subprocess.Popen[str], what: str) -> str:
    """Read the log until a line has `what` in it; that line."""
    assert daemon.stderr
    return next(line for line in daemon.stderr if what in line)


@pytest.mark.parametrize("how", [["numafs"], ["umount"], ["fusermount3", "-u"]])
def test_mount_returns_when_it_answers_and_each_way_to_unmount_ends_the_daemon(
    how: list[str], directory: Path
) -> None:
    done = numafs("mount", "2x2:256M", str(directory))
    assert (done.returncode, done.stderr) == (0, "")
    assert (directory / ONLINE).read_text() == "0-1\n"
    pidfd = os.pidfd_open(daemon_of(directory))
    command = [*NUMAFS, "umount"] if how == ["numafs"] else how
    subprocess.run([*command, str(directory)], check=True)
    assert select.select([pidfd], [], [], 10)[0], "the daemon goes on"
    assert not mounts.mount_at(str(directory))
    os.close(pidfd)


def daemon_of(directory: Path) -> int:
    """The process whose command line mounted on `directory`."""
    command = re.compile(rf"numafs\0mount\0.*{re.escape(str(directory))}")
    found = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if command.search(text_of(path))]
    assert len(found) == 1
    return found[0]


def text_of(path: Path) -> str:
    """What a file of /proc says; nothing if the process is gone."""
    with suppress(OSError):
        return path.read_text(errors="replace")
    return ""


def test_a_second_mount_on_the_same_directory_is_refused(directory: Path) -> None:
    assert numafs("mount", "2x2:256M", str(directory)).returncode == 0
    again = numafs("mount", "2x2:256M", str(directory))
    assert again.returncode == 32 and "is mounted there already" in again.stderr
    assert numafs("umount", str(directory)).returncode == 0


def test_a_mount_that_libfuse_refuses_is_32(directory: Path) -> None:
    done = numafs("mount", "-o", "max_read=nonsense", "2x2:256M", str(directory))
    assert done.returncode == 32 and done.stderr


def test_the_stale_mount_of_a_killed_daemon_is_replaced_with_a_message(
    directory: Path, foreground: Callable[..., subprocess.Popen[str]]
) -> None:
    daemon = foreground("2x2:256M")
    daemon.kill()
    daemon.wait()
    assert mounts.is_stale(str(directory)) and mounts.mount_at(str(directory))
    done = numafs("mount", "4x1:256M", str(directory))
    assert done.returncode == 0 and "replacing the stale mount of a killed daemon" in done.stderr
    assert (directory / ONLINE).read_text() == "0-3\n"
    assert len([mount for mount in mounts.mounts() if mount.directory == str(directory)]) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_unmounts(
    number: signal.Signals, directory: Path, foreground: Callable[..., subprocess.Popen[str]]
) -> None:
    daemon = foreground("2x2:256M")
    daemon.send_signal(number)
    assert daemon.wait(10) == 0
    assert not mounts.mount_at(str(directory))


def test_the_service_manager_hears_when_it_is_ready_and_when_it_stops(
    tmp_path: Path, directory: Path, foreground: Callable[..., subprocess.Popen[str]]
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        daemon = foreground("2x2:256M", env={"NOTIFY_SOCKET": str(tmp_path / "notify")})
        assert manager.recv(1000).startswith(b"READY=1\nSTATUS=")
        daemon.terminate()
        assert manager.recv(1000) == b"STOPPING=1"


def test_a_refused_write_is_logged_with_its_reason(
    directory: Path, foreground: Callable[..., subprocess.Popen[str]]
) -> None:
    daemon = foreground("2x2:256M")
    with pytest.raises(OSError):
        (directory / "sys/fs/cgroup/cpuset/cpuset.mems").write_text("7\n")
    assert '/sys/fs/cgroup/cpuset/cpuset.mems <- "7\\n": E' in said(daemon, "<-")


def test_an_edit_of_the_machine_file_plugs_a_node_in_and_a_bad_one_is_refused_with_a_reason(
    tmp_path: Path, directory: Path, foreground: Callable[..., subprocess.Popen[str]]
) -> None:
    file = tmp_path / "machine.toml"
    file.write_text('nodes = 2\ncpus = 2\nmemory = "256M"\n')
    daemon = foreground(str(file))
    file.write_text('nodes = 3\ncpus = 2\nmemory = "256M"\n')
    assert "node 2 added; memory4 added" in said(daemon, "node 2")
    assert (directory / ONLINE).read_text() == "0-2\n"
    assert (directory / "sys/devices/system/node/node2/meminfo").exists()
    file.write_text("nodes = many\n")
    assert f"{file}:1" in said(daemon, "edit refused")
    file.write_text(dumps(resolve("3x2:256M")).replace('page_size = "4K"', 'page_size = "16K"'))
    assert "cannot change while the machine runs" in said(daemon, "refused")
    assert (directory / ONLINE).read_text() == "0-2\n"


def test_a_real_process_joins_a_cpuset_with_its_children_and_leaves_when_it_exits(mount: Path) -> None:
    group = mount / "sys/fs/cgroup/cpuset/shell"
    group.mkdir()
    (group / "cpuset.cpus").write_text("0-1")
    (group / "cpuset.mems").write_text("1")
    script = 'echo $$ > tasks; echo 0 > tasks; cat tasks; grep -c . "$1/proc/$$/cpuset"; cat "$1/proc/$$/cpuset"'
    done = subprocess.run(["sh", "-c", script, "sh", str(mount)], cwd=group, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["1", "/shell"]
    assert len(done.stdout.splitlines()) == 4  # the shell and the cat that it started
    assert (group / "tasks").read_text() == ""
    group.rmdir()
    with pytest.raises(ProcessLookupError):
        (mount / "sys/fs/cgroup/cpuset/tasks").write_text("4194300\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_mount_numafs_speaks_the_protocol_of_mount8(directory: Path) -> None:
    helper = "import sys; from numafs.cli.mount import mount_helper; sys.exit(mount_helper())"
    command = [sys.executable, "-c", helper, "2x2:256M", str(directory), "-n", "-o", "rw,noauto,seed=3"]
    subprocess.run(command, check=True)
    assert (directory / "numafs/seed").read_text() == "3\n"
    subprocess.run(["umount", str(directory)], check=True)
