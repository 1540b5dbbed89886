# SPDX-License-Identifier: MIT
"""/sys/devices/system/cpu and the PCI devices' view of it."""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOENT

import pytest

from numafs.fs.root import build
from numafs.fs.tree import ROOT_CALLER
from numafs.kernel.boot import boot
from numafs.machine.presets import resolve

CPU = "sys/devices/system/cpu/"


@pytest.mark.parametrize(("name", "text"), [
    ("online", "0-7\n"), ("offline", "\n"), ("possible", "0-7\n"), ("present", "0-7\n"), ("kernel_max", "8191\n"),
    ("isolated", "\n"), ("cpu3/online", "1\n"), ("cpu3/topology/core_cpus_list", "3\n"),
    ("cpu3/topology/thread_siblings", "08\n"), ("cpu3/topology/package_cpus_list", "2-3\n"),
])
def test_what_eight_cpus_read(root, name, text):
    assert root.read_text(CPU + name) == text


def test_a_cpu_goes_off_line_and_comes_back(root, refused):
    root.write_text(CPU + "cpu3/online", "0")
    assert [root.read_text(CPU + name) for name in ("online", "offline", "cpu3/online")] == ["0-2,4-7\n", "3\n", "0\n"]
    assert not {"topology", "cache"} & set(root.follow(CPU + "cpu3").names())
    with refused(ENOENT):
        root.read_text(CPU + "cpu3/topology/core_id")
    assert root.read_text(CPU + "cpu2/topology/package_cpus_list") == "2\n"
    root.write_text(CPU + "cpu3/online", "0")
    root.write_text(CPU + "cpu3/online", "1\n")
    assert root.read_text(CPU + "online") == "0-7\n"
    assert root.read_text(CPU + "cpu3/topology/package_cpus_list") == "2-3\n"


def test_the_boot_cpu_has_no_switch(root, refused):
    """echo 0 > cpu0/online creates: EACCES."""
    with refused(ENOENT):
        root.resolve(CPU + "cpu0/online")
    with refused(EACCES):
        root.follow(CPU + "cpu0").create("online", 0o644, ROOT_CALLER)


@pytest.mark.parametrize("text", ["2", "x", ""])
def test_only_a_switchs_words_switch(root, refused, text):
    if not text:
        root.write_text(CPU + "cpu1/online", text)
        return
    with refused(EINVAL):
        root.write_text(CPU + "cpu1/online", text)


def test_caches_are_shared_as_the_machine_says():
    root = build(boot(resolve("epyc")))
    index = [name for name in root.follow(CPU + "cpu0/cache").names() if name.startswith("index")]
    assert len(index) >= 3
    types = {root.read_text(f"{CPU}cpu0/cache/{name}/type") for name in index}
    assert {"Data\n", "Instruction\n", "Unified\n"} <= types
    for name in index:
        shared = root.read_text(f"{CPU}cpu0/cache/{name}/shared_cpu_list")
        assert shared.startswith("0")
        assert root.read_text(f"{CPU}cpu0/cache/{name}/size").endswith("K\n")


def test_masks_of_many_cpus_are_in_groups_of_32():
    root = build(boot(resolve("epyc")))
    mask = root.read_text(CPU + "cpu0/topology/package_cpus").strip()
    cpus = len([name for name in root.follow(CPU).names() if name[3:].isdecimal()])
    assert len(mask.split(",")) == -(-cpus // 32)
    assert sum(int(group, 16).bit_count() for group in mask.split(",")) == cpus // 2


def test_pci_devices_have_their_nodes_cpus(refused):
    root = build(boot(resolve("oracle/seed4")))
    address = next(root.follow("sys/bus/pci/devices").names())
    device = f"sys/bus/pci/devices/{address}/"
    assert root.read_text(device + "numa_node") == "-1\n"
    assert root.read_text(device + "local_cpulist") == "0-7\n"
    assert root.read_text(device + "class") == "0x060000\n"
    root.write_text(device + "numa_node", "2")
    assert root.read_text(device + "local_cpus") == "30\n"
    with refused(EINVAL):
        root.write_text(device + "numa_node", "9")


def test_cpuinfo_has_a_paragraph_for_each_cpu_on_line(root):
    root.write_text(CPU + "cpu5/online", "0")
    paragraphs = root.read_text("proc/cpuinfo").strip().split("\n\n")
    numbers = [paragraph.splitlines()[0].split()[-1] for paragraph in paragraphs]
    assert numbers == ["0", "1", "2", "3", "4", "6", "7"]
    assert [line for line in root.read_text("proc/stat").splitlines() if line.startswith("cpu5")] == []
