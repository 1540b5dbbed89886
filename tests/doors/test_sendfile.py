# SPDX-License-Identifier: MIT
"""sendfile(2) from files whose size says nothing: what busybox' cat does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SIZELESS = ("proc/vmstat", "proc/sys/vm/zone_reclaim_mode", "sys/fs/cgroup/cpuset/cpuset.mems", "proc/zoneinfo")


@pytest.mark.parametrize("name", SIZELESS)
def test_sendfile_reads_the_whole_file(mount: Path, tmp_path: Path, name: str) -> None:
    with open(tmp_path / "copy", "wb") as copy:
        source = os.open(mount / name, os.O_RDONLY)
        while os.sendfile(copy.fileno(), source, None, 1 << 24):
            pass
        os.close(source)
    assert len((tmp_path / "copy").read_bytes().split()) == len((mount / name).read_bytes().split()) > 0


@pytest.mark.parametrize("name", SIZELESS)
def test_stat_says_0_each_time(mount: Path, name: str) -> None:
    for _ in range(3):
        with open(mount / name) as file:
            assert file.read()
        assert os.stat(mount / name).st_size == 0


def test_a_text_that_grew_is_sent_whole(mount: Path, tmp_path: Path) -> None:
    online = mount / "sys/devices/system/cpu/online"
    sent = []
    for text in ("1", "0"):
        (mount / "sys/devices/system/cpu/cpu3/online").write_text(text)
        with open(tmp_path / "copy", "wb") as copy, open(online, "rb") as source:
            os.sendfile(copy.fileno(), source.fileno(), None, 4096)
        sent.append((tmp_path / "copy").read_text())
    assert sent == ["0-7\n", "0-2,4-7\n"]
