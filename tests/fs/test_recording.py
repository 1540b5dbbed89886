# SPDX-License-Identifier: MIT
"""Every file that a real kernel with four nodes showed is there, reads alike, and links lead to the same places."""

from __future__ import annotations

import pytest

from numafs.fs.root import build
from numafs.fs.tree import ROOT_CALLER, File, Link, Root
from numafs.kernel.boot import boot
from numafs.machine.presets import resolve

from .recording import read_recording, shape

RECORDED = read_recording("seed4.txt")

COUNTS = ("meminfo", "vmstat", "numastat", "zoneinfo", "buddyinfo", "pagetypeinfo")
"""Files whose numbers are the history of that machine."""

OWN = {
    "proc/version", "proc/cmdline", "proc/PID/numa_maps", "proc/PID/status",
    "sys/fs/cgroup/cpuset/tasks", "sys/fs/cgroup/cpuset/cgroup.procs",
    "sys/fs/cgroup/cpuset/a/cpuset.cpus", "sys/fs/cgroup/cpuset/a/cpuset.mems",
    "sys/fs/cgroup/cpuset/a/cpuset.effective_cpus", "sys/fs/cgroup/cpuset/a/cpuset.effective_mems",
}
"""Files that say what was set up or run on that machine; they only have to be there."""

SET_AT_RECORDING = {
    "proc/sys/vm/min_free_kbytes", "proc/sys/vm/user_reserve_kbytes", "proc/sys/kernel/numa_balancing", "proc/cgroups",
    "proc/cpuinfo", "proc/PID/stat", "proc/PID/statm",
}
"""Only the numbers differ, by what that machine was told or ran."""


@pytest.fixture(scope="module")
def tree() -> tuple[Root, int]:
    kernel = boot(resolve("oracle/seed4"))
    root = build(kernel)
    cpuset = root.follow("sys/fs/cgroup/cpuset")
    cpuset.mkdir("a", 0o755, ROOT_CALLER)
    return root, kernel.tasks.spawn(kernel, "memtool", cpu=2).pid


@pytest.mark.parametrize("path", sorted(RECORDED))
def test_a_recorded_file_is_there_and_reads_alike(tree, path):
    root, pid = tree
    recorded = RECORDED[path]
    node = root.resolve(path.replace("PID", str(pid)))
    if recorded.target is not None or isinstance(node, Link):
        assert isinstance(node, Link) and node.readlink() == (recorded.target or recorded.text)
        return
    assert isinstance(node, File)
    if node.attr.show is None or path.endswith("autosuspend_delay_ms") or path in OWN:
        return
    if path in SET_AT_RECORDING or path.endswith(COUNTS):
        assert shape(node.text()) == shape(recorded.text)
    else:
        assert node.text() == recorded.text


@pytest.mark.parametrize("path", ["sys/devices/system/node/node1/meminfo", "proc/meminfo", "proc/slabinfo"])
def test_numbers_stay_in_their_columns(tree, path):
    root, _ = tree
    lines = root.read_text(path).splitlines()
    if path in RECORDED:
        assert [len(line) for line in lines] == [len(line) for line in RECORDED[path].text.splitlines()]
    else:
        assert all(len(line) == len(lines[2]) for line in lines[2:])


def test_a_nodes_directory_holds_what_the_kernels_does(tree):
    root, _ = tree
    names = set(root.follow("sys/devices/system/node/node1").names())
    prefix = "sys/devices/system/node/node1/"
    recorded = {path.removeprefix(prefix).split("/")[0] for path in RECORDED if path.startswith(prefix)}
    assert names == recorded | {"x86"}
