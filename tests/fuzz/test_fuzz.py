# SPDX-License-Identifier: MIT
"""Every writable file bears whatever is written to it: no bug, no hang, an errno that fits, a sound machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import host, mount, tables
from .texts import kind_of


@pytest.mark.parametrize("seed", [1, 2])
def test_files_bear_what_is_written_to_them(seed: int) -> None:
    tally = tables.storm(1500, seed)
    assert tally["0"] > 200
    assert tally["EINVAL"] > 200


def test_files_of_a_mount_bear_what_is_written_to_them(mount_of_its_own: Path) -> None:
    tally = mount.storm(mount_of_its_own, 2000, seed=1)
    assert tally["0"] > 100
    assert tally["EINVAL"] > 100


@pytest.fixture
def mount_of_its_own(fuse: None, tmp_path: Path):  # type: ignore[no-untyped-def]
    from numafs.doors.mounting import mounted
    from numafs.doors.options import parse_options

    (tmp_path / "mount").mkdir()
    with mounted("ring4", tmp_path / "mount", parse_options([mount.OPTIONS])) as root:
        yield root


@pytest.mark.skipif(bool(host.why_not()), reason=host.why_not())
@pytest.mark.parametrize("seed", [1, 2])
def test_cpusets_of_this_machine_answer_alike(seed: int) -> None:
    assert host.differences(1500, seed) == []


def test_no_pid_of_somebody_else_is_written_to_this_machine() -> None:
    assert all(map(host.could_be_a_pid, (b"1", b" 77\n", b"0x10", b"+5", b"4294967297", b"090", b"-1 2")))
    assert not any(map(host.could_be_a_pid, (b"0", b"-0", b"2147483647", b"x", b"", b"\n")))


def test_a_file_is_written_to_what_it_takes() -> None:
    assert [kind_of(path) for path in ("a/tasks", "a/cpuset.mems", "dev/cpuset/cpus", "vm/swappiness")] == [
        "pid", "list", "list", "number",
    ]
