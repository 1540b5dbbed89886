# SPDX-License-Identifier: MIT
"""The release agent of a mount, and the links by which a process finds itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from numafs.doors.mounting import mounted
from numafs.doors.options import parse_options

pytestmark = pytest.mark.usefixtures("fuse")
PATIENCE_S = 10


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, fuse: None) -> Iterator[Path]:
    """A mount that runs release agents."""
    with mounted("ring4", tmp_path_factory.mktemp("agents"), parse_options(["strict,check,release_agent"])) as mount:
        yield mount


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    """A program that writes down how it was called, into `said` beside it."""
    program = tmp_path / "agent"
    said = tmp_path / "said"
    program.write_text(
        f"#!{sys.executable} -IS\nimport os, sys\n"
        f"with open({str(said) + '.new'!r}, 'w') as file:\n"
        "    print(sys.argv[1:], os.getcwd(), sorted(open('/proc/self/environ').read().split('\\0')), file=file)\n"
        f"os.rename({str(said) + '.new'!r}, {str(said)!r})\n"
    )
    program.chmod(0o755)
    return program


def empty_a_group(root: Path, agent: Path) -> None:
    """Make a group that wants its agent, let a process in, and kill it."""
    cpusets = root / "sys/fs/cgroup/cpuset"
    (cpusets / "release_agent").write_text(str(agent))
    group = cpusets / "g"
    group.mkdir()
    for name, text in (("cpuset.cpus", "0"), ("cpuset.mems", "0"), ("notify_on_release", "1")):
        (group / name).write_text(text)
    with subprocess.Popen(["sleep", "60"]) as process:
        (group / "tasks").write_text(str(process.pid))
        process.kill()


def remove_the_group(root: Path) -> None:
    (root / "sys/fs/cgroup/cpuset/g").rmdir()


def wait_for(path: Path) -> str:
    """The text of a file that somebody is about to write."""
    until = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not come"
        os.sched_yield()
    return path.read_text()


def test_the_agent_runs_in_the_root_directory_with_the_path_and_an_environment_of_two(root: Path, agent: Path):
    empty_a_group(root, agent)
    assert wait_for(agent.parent / "said") == (
        "['/g'] / ['', 'HOME=/', 'PATH=/sbin:/bin:/usr/sbin:/usr/bin']\n"
    )
    assert f"cgroup: release agent: {agent} /g" in (root / "numafs/log").read_text()
    remove_the_group(root)


def test_without_the_option_the_agent_does_not_run_but_the_log_says_that_it_would(shared_mount: Path, agent: Path):
    empty_a_group(shared_mount, agent)
    remove_the_group(shared_mount)
    (shared_mount / "sys/fs/cgroup/cpuset/release_agent").write_text("\n")
    assert f"cgroup: release agent: {agent} /g" in (shared_mount / "numafs/log").read_text()
    assert not (agent.parent / "said").exists()


def test_a_process_finds_itself(root: Path):
    script = (
        "import os, sys; root = sys.argv[1]\n"
        "print(os.readlink(root + '/proc/self') == str(os.getpid()),"
        " os.readlink(root + '/proc/thread-self') == f'{os.getpid()}/task/{os.getpid()}',"
        " open(root + '/proc/self/comm').read() == open('/proc/self/comm').read())"
    )
    done = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout == "True True True\n"
