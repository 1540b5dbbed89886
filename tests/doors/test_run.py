# SPDX-License-Identifier: MIT
"""`numafs run`: what becomes of the command, and of the host."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import numafs
from numafs.doors import mounts
from numafs.doors.namespace import needs_mount_table, why_refused

NUMAFS = [sys.executable, "-m", "numafs"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(numafs.__file__).parent.parent)}
ALONE = "3x1:192M"
"""A machine that only these tests make."""
WAIT_S = 10.0


pytestmark = [
    pytest.mark.usefixtures("fuse"),
    pytest.mark.skipif(bool(why_refused()), reason=why_refused()),
]


def run(*argv: str) -> subprocess.CompletedProcess[str]:
    """`numafs run`; what was said and the exit code."""
    return subprocess.run(
        [*NUMAFS, "run", *argv], capture_output=True, text=True, check=False, timeout=60, env=ENVIRONMENT,
    )


@pytest.fixture(scope="module")
def inside(shared_mount: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a shell command inside the machine that all tests share."""
    return lambda command, *options: run("--at", str(shared_mount), *options, "--", "sh", "-c", command)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def ours() -> set[int]:
    """Launchers, daemons and mounters of a private machine of these tests."""
    found = set()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path("/proc", name, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if ALONE.encode() in words:
            found.add(int(name))
    return found


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(("command", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", -signal.SIGTERM),
                                               ("kill -KILL $$", -signal.SIGKILL)])
def test_the_exit_status_is_the_commands(inside, command: str, code: int) -> None:
    assert inside(command).returncode == code


def test_a_program_that_is_not_there_or_no_program_is_told_as_a_shell_tells_it(shared_mount: Path) -> None:
    at = ("--at", str(shared_mount), "--")
    assert run(*at, "no-such-program").returncode == 127
    assert run(*at, "/etc/passwd").returncode == 126
    assert run("--at", "/", "--", "true").returncode == 125
    assert run("--machine", "no-such-machine", "--", "true").returncode == 125


def test_the_command_has_the_process_of_the_launcher_and_what_it_was_given(shared_mount: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    command = f"cat; echo $$ $PWD $WORD; echo passed > /proc/$$/fd/{writer}"
    started = subprocess.Popen(
        [*NUMAFS, "run", "--at", str(shared_mount), "--", "sh", "-c", command], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE, text=True, cwd="/usr", env={**ENVIRONMENT, "WORD": "word"}, pass_fds=[writer],
    )
    out, _ = started.communicate("given\n", timeout=60)
    os.close(writer)
    assert out == f"given\n{started.pid} /usr word\n"
    assert os.read(reader, 100) == b"passed\n"  # and nobody else holds it: what follows is its end
    assert os.read(reader, 100) == b""
    os.close(reader)


def test_signals_reach_the_command(shared_mount: Path) -> None:
    command = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.05; done"
    started = subprocess.Popen(
        [*NUMAFS, "run", "--at", str(shared_mount), "--", "sh", "-c", command], stdout=subprocess.PIPE, text=True,
        env=ENVIRONMENT,
    )
    assert started.stdout
    assert started.stdout.readline() == "ready\n"
    started.send_signal(signal.SIGINT)
    assert started.communicate(timeout=60)[0] == "caught\n"
    assert started.returncode == 3


# ---------------------------------------------------------------- what it sees


def test_the_machines_files_lie_over_the_hosts(inside, shared_mount: Path) -> None:
    files = ("/sys/devices/system/node/online", "/sys/devices/system/cpu/possible", "/proc/sys/vm/zone_reclaim_mode",
             "/sys/fs/cgroup/cpuset/cpuset.mems", "/proc/swaps", "/sys/kernel/mm/numa/demotion_enabled")
    shown = inside(f"cat {' '.join(files)}").stdout
    assert shown == "".join((shared_mount / file[1:]).read_text() for file in files)
    assert inside("cat /sys/devices/system/node/node0/cpu1/node0/cpulist").stdout == "0-1\n"


def test_each_process_sees_its_own_place_in_the_machine(inside) -> None:
    shown = inside("""
        grep -h _allowed_list /proc/self/status /proc/$$/status
        cat /proc/self/cpuset; (read line < /proc/self/cgroup; echo $line)
        sh -c 'grep -c default /proc/self/numa_maps >/dev/null && echo maps'
    """).stdout
    places = "Cpus_allowed_list:\t0-7\nMems_allowed_list:\t0-3\n"
    assert shown.startswith(places * 2 + "/\n")
    assert "cpuset" in shown.splitlines()[5]
    assert shown.endswith("maps\n")


def test_a_process_that_moves_to_a_cpuset_finds_itself_there(inside) -> None:
    shown = inside("""
        cd /sys/fs/cgroup/cpuset && mkdir run && echo 2-3 > run/cpuset.mems && echo 4 > run/cpuset.cpus
        echo $$ > run/tasks; cat /proc/self/cpuset; grep -h _allowed_list /proc/self/status; nproc
        echo $$ > tasks; rmdir run
    """)
    assert shown.stdout == "/run\nCpus_allowed_list:\t4\nMems_allowed_list:\t2-3\n1\n"
    assert not shown.stderr


def test_with_files_alone_system_calls_are_the_hosts(inside) -> None:
    shown = inside("nproc; grep Mems_allowed_list /proc/$$/status", "--no-syscalls").stdout.split()
    assert shown == [str(len(os.sched_getaffinity(0))), "Mems_allowed_list:", "0-3"]


def test_a_run_inside_a_run_shows_the_inner_machines_files(inside) -> None:
    nested = inside(f"{sys.executable} -m numafs run --machine two -- cat /sys/devices/system/node/online; "
                    "cat /sys/devices/system/node/online")
    assert nested.stdout == "0-1\n0-3\n"
    assert "another run's machine answers system calls" in nested.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may take the host's cgroups away")
def test_where_the_host_has_no_hierarchy_of_cpusets_the_mount_table_shows_the_machines(shared_mount: Path) -> None:
    shown = subprocess.run(
        ["unshare", "-m", "sh", "-c", 'umount -R /sys/fs/cgroup; exec "$@"', "sh", *NUMAFS, "run", "--at",
         str(shared_mount), "--", "cat", "/proc/self/mounts"],
        capture_output=True, text=True, check=False, env=ENVIRONMENT,
    ).stdout.splitlines()
    assert "cgroup /sys/fs/cgroup/cpuset cgroup rw,relatime,cpuset 0 0" in shown
    assert not [line for line in shown if " /sys/fs/cgroup/cpuset fuse" in line]


def test_the_mount_table_is_needed_where_it_names_no_cpusets(tmp_path: Path) -> None:
    table = tmp_path / "mounts"
    table.write_text("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n")
    assert needs_mount_table(str(table))
    table.write_text("cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n")
    assert not needs_mount_table(str(table))


# ---------------------------------------------------------------- the host


def _host() -> tuple[list[str], list[str], list[str]]:
    """What a run might leave behind: mounts, cpusets, directories in /tmp."""
    mounted = [mount.directory for mount in mounts.mounts() if mount.source == ALONE]
    cpusets = [name for name, *_ in os.walk("/sys/fs/cgroup/cpuset") if name.endswith("/run-test")]
    return mounted, cpusets, [name for name in os.listdir("/tmp") if name.startswith("numafs-run-")]


@pytest.mark.parametrize(
    "command", ["true", "mkdir /sys/fs/cgroup/cpuset/run-test; echo 1 > /proc/sys/vm/swappiness", "kill -9 $$"]
)
def test_nothing_of_the_host_is_changed_by_a_private_machine(command: str) -> None:
    before, processes, swappiness = _host(), ours(), Path("/proc/sys/vm/swappiness").read_text()
    run("--machine", ALONE, "--", "sh", "-c", command)
    assert _host() == before
    assert Path("/proc/sys/vm/swappiness").read_text() == swappiness
    wait_until(lambda: ours() <= processes)


def test_a_private_machine_lives_as_long_as_a_background_process_in_it() -> None:
    processes = ours()
    out = run("--machine", ALONE, "--", "sh", "-c", "sleep 60 >/dev/null 2>&1 & echo $!").stdout
    sleeper = int(out)
    assert ours() - processes
    assert Path(f"/proc/{sleeper}/root/sys/devices/system/node/online").read_text() == "0-2\n"
    os.kill(sleeper, signal.SIGKILL)
    wait_until(lambda: ours() <= processes)


def test_a_machine_of_several_commands_forgets_a_session_when_it_is_over(inside, shared_mount: Path) -> None:
    out = inside("echo $$; cat /sys/fs/cgroup/cpuset/tasks").stdout.split()
    assert out[0] in out[1:]
    wait_until(lambda: out[0] not in (shared_mount / "sys/fs/cgroup/cpuset/tasks").read_text().split())


# ---------------------------------------------------------------- ordinary users


@pytest.fixture
def nobody() -> Iterator[list[str]]:
    """What runs numafs as an ordinary user."""
    if os.geteuid() != 0:
        yield NUMAFS
        return
    who = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--inh-caps=-all"]
    if not shutil.which("setpriv"):
        pytest.skip("setpriv is not there")
    command = [*who, *NUMAFS]
    probe = [*who, sys.executable, "-c", "import numafs, numpy, watchdog"]
    if subprocess.run(probe, capture_output=True, check=False, env=ENVIRONMENT).returncode:
        pytest.skip("nobody may read this interpreter, its packages or numafs")
    yield command


def test_an_ordinary_user_is_root_of_a_private_machine(nobody: list[str]) -> None:
    command = "mkdir /sys/fs/cgroup/cpuset/a && echo 1 > /proc/sys/vm/zone_reclaim_mode && echo written; nproc"
    done = subprocess.run(
        [*nobody, "run", "--machine", "two", "--", "sh", "-c", command], capture_output=True, text=True, check=False,
        env=ENVIRONMENT,
    )
    assert done.stdout.split() == ["written", "8"], done.stderr


def test_check_says_what_works() -> None:
    done = run("--check")
    assert done.returncode == 0
    assert done.stdout.splitlines()[1].startswith("ok    mount namespace")
    assert len(done.stdout.splitlines()) == 7
