# SPDX-License-Identifier: MIT
"""Files of the profile 6.18: alone, and beside those of the running kernel if it is of that version."""

from __future__ import annotations

import errno
import os
import platform
import re
from pathlib import Path

import pytest

from numafs.fs.root import build
from numafs.fs.tree import Root
from numafs.kernel.boot import boot
from numafs.kernel.kernel import Kernel
from numafs.machine.toml import loads

from .conftest import Refused

MACHINE = """
kernel = "6.18"
nodes = 2
memory = "512M"
cpus = 2
"""
CONFIGURED = ("HardwareCorrupted", "Unaccepted", "Zswap", "Zswapped")
"""Lines of /proc/meminfo that a kernel may have been built without."""


@pytest.fixture
def kernel() -> Kernel:
    return boot(loads(MACHINE))


@pytest.fixture
def root(kernel: Kernel) -> Root:
    return build(kernel)


def running(path: str) -> str:
    """The file of the running kernel."""
    if not platform.release().startswith("6.18."):
        pytest.skip(f"the running kernel is {platform.release()}, not 6.18")
    if not Path("/sys/devices/system/node/node0").exists():
        pytest.skip("the running kernel has no NUMA nodes to show")
    return Path(path).read_text()


def names(text: str) -> list[str]:
    """The first word of each line."""
    return [line.split()[0].rstrip(":") for line in text.splitlines()]


def test_the_release_follows_the_profile(kernel: Kernel):
    assert kernel.machine.kernel_release == "6.18.0-numafs"


@pytest.mark.parametrize("path", ["proc/vmstat", "sys/devices/system/node/node0/vmstat"])
def test_vmstat_has_the_names_of_the_running_kernel_in_its_order(root: Root, path: str):
    assert names(root.read_text(path)) == names(running("/" + path))


def test_node_meminfo_has_the_shape_of_the_running_kernels(root: Root):
    def shape(text: str) -> list[str]:
        return [re.sub(r" *\d+( kB)?$", lambda match: f" {len(match[0])}", line) for line in text.splitlines()]

    path = "sys/devices/system/node/node0/meminfo"
    assert shape(root.read_text(path)) == shape(running("/" + path))


def test_meminfo_has_the_lines_of_the_running_kernel(root: Root):
    def lines(text: str) -> list[str]:
        return [name for name in names(text) if name not in CONFIGURED]

    assert lines(root.read_text("proc/meminfo")) == lines(running("/proc/meminfo"))


def test_zoneinfo_has_the_lines_of_the_running_kernel(root: Root):
    def populated(text: str) -> list[str]:
        zones = re.split(r"(?m)^(?=Node \d)", text)
        first = next(zone for zone in zones if "per-node stats" in zone)
        return list(dict.fromkeys(line.split()[0] for line in first.splitlines()[1:]))

    def widths(text: str) -> list[str]:
        return sorted({line[:24] for line in text.splitlines() if line.startswith("              ")})

    mine, theirs = root.read_text("proc/zoneinfo"), running("/proc/zoneinfo")
    assert populated(mine) == populated(theirs)
    assert widths(mine) == widths(theirs)


def test_buddyinfo_has_the_columns_of_the_running_kernel(root: Root):
    def shape(text: str) -> str:
        return re.sub(r" *\d+", "#", text.splitlines()[0])

    assert shape(root.read_text("proc/buddyinfo")) == shape(running("/proc/buddyinfo"))


def test_the_files_of_a_node_are_those_of_the_running_kernel(root: Root):
    running("/proc/version")
    theirs = {name for name in os.listdir("/sys/devices/system/node/node0") if not name.startswith("memory")}
    node = root.follow("sys/devices/system/node/node0")
    mine = {name for name in node.names() if not name.startswith("memory")}  # type: ignore[attr-defined]
    # x86 holds what a machine with SGX says of it; the CPUs are each machine's own.
    assert {name for name in mine if not name.startswith("cpu") or not name[3:].isdecimal()} - {"x86"} == {
        name for name in theirs if not name.startswith("cpu") or not name[3:].isdecimal()
    } - {"x86"}


def test_the_mempolicy_directory_is_that_of_the_running_kernel(root: Root):
    running("/proc/version")
    path = "sys/kernel/mm/mempolicy/weighted_interleave"
    for name in os.listdir("/" + path):
        assert root.follow(f"{path}/{name}").mode == os.stat(f"/{path}/{name}").st_mode & 0o777


def test_the_knobs_are_those_of_the_running_kernel(root: Root):
    running("/proc/version")
    mine = set(root.follow("proc/sys/vm").names())  # type: ignore[attr-defined]
    theirs = set(os.listdir("/proc/sys/vm"))
    assert {name for name in mine - theirs if not name.startswith("memory_failure")} == set()
    assert theirs - mine <= {"shrink_inodes_with_pagecache"}  # of this machine's kernel alone


def test_the_pressure_on_caches_is_a_fraction_of_the_denominator(root: Root, kernel: Kernel, refused: Refused):
    with refused(errno.EINVAL):
        root.write_text("proc/sys/vm/vfs_cache_pressure_denom", "99")
    root.write_text("proc/sys/vm/vfs_cache_pressure_denom", "1000")
    assert kernel.vm.vfs_cache_pressure_denom == 1000


@pytest.mark.parametrize("text", ["x", "-1", "1 foo", "1 swappiness=300", "1 swappiness=-1", "0x1000x", "1 1"])
def test_whatever_is_wrong_with_a_request_to_reclaim_is_eagain(root: Root, refused: Refused, text: str):
    with refused(errno.EAGAIN):
        root.write_text("sys/devices/system/node/node0/reclaim", text)


@pytest.mark.parametrize("text", ["0", "1", "1k", " 0", "1 swappiness=max", "4095 swappiness=0"])
def test_a_request_for_less_than_a_page_does_nothing(root: Root, kernel: Kernel, text: str):
    root.write_text("sys/devices/system/node/node0/reclaim", text)
    assert "pgscan_proactive 0\n" in root.read_text("proc/vmstat")


def test_an_older_kernel_has_none_of_it(refused: Refused):
    old = build(boot(loads(MACHINE.replace("6.18", "6.1"))))
    assert "  promo " not in old.read_text("proc/zoneinfo")
    assert "zone_reclaim_success" not in old.read_text("proc/vmstat")
    for path in ("sys/devices/system/node/node0/reclaim", "sys/kernel/mm/mempolicy"):
        with refused(errno.ENOENT):
            old.follow(path)
    old.write_text("proc/sys/vm/compact_memory", "7")


def test_compact_memory_takes_nothing_but_1(root: Root, refused: Refused):
    root.write_text("proc/sys/vm/compact_memory", "1")
    for text in ("0", "2", "x", "\n"):
        with refused(errno.EINVAL):
            root.write_text("proc/sys/vm/compact_memory", text)


def test_weights_are_1_and_automatic_until_somebody_writes_one(root: Root, refused: Refused):
    home = "sys/kernel/mm/mempolicy/weighted_interleave"
    assert (root.read_text(f"{home}/node1"), root.read_text(f"{home}/__auto_type")) == ("1\n", "true\n")
    for text in ("0", "256", "x", "\n", "1x"):
        with refused(errno.EINVAL):
            root.write_text(f"{home}/node1", text)
    root.write_text(f"{home}/node1", "3\n")
    assert (root.read_text(f"{home}/node1"), root.read_text(f"{home}/__auto_type")) == ("3\n", "false\n")
    root.write_text(f"{home}/__auto_type", "1")
    assert root.read_text(f"{home}/node1") == "1\n"
