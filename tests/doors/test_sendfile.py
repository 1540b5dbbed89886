# SPDX-License-Identifier: MIT
"""sendfile(2), by which busybox's cat reads: it reads no further than the size that the kernel was told of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VM = "proc/sys/vm/"
NODE = "sys/devices/system/node/"


def sent(path: Path) -> bytes:
    """What sendfile finds in a file that was just opened."""
    reader, writer = os.pipe()
    source = os.open(path, os.O_RDONLY)
    try:
        out = b""
        while count := os.sendfile(writer, source, None, 4096):
            out += os.read(reader, count)
        return out
    finally:
        for descriptor in (source, reader, writer):
            os.close(descriptor)


@pytest.mark.parametrize("name", [
    VM + "swappiness", "proc/cgroups", "proc/zoneinfo", "dev/cpuset/cpus", NODE + "node0/meminfo", NODE + "online",
])
def test_sendfile_reads_what_read_does(shared_mount, name):
    assert sent(shared_mount / name) == (shared_mount / name).read_bytes() != b""


def test_a_text_that_grew_is_sent_whole(mount):
    lists = mount / "sys/devices/system/cpu/online"
    assert sent(lists) == b"0-7\n"
    (mount / "sys/devices/system/cpu/cpu3/online").write_text("0")
    assert sent(lists) == b"0-2,4-7\n"


def test_stat_shows_the_size_that_the_kernels_own_file_has(shared_mount):
    names = (VM + "swappiness", NODE + "online", NODE + "node0/cpulist")
    assert [os.stat(shared_mount / name).st_size for name in names] == [0, 4096, 28672]
