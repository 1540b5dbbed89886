# SPDX-License-Identifier: MIT
"""/sys/devices/system/node, as measured on Linux 6.1 with four nodes."""

from __future__ import annotations

import os
import stat
from errno import EACCES, EINVAL, EIO, ENODEV, ENOENT, EPERM

import pytest

from numafs.fs.root import build
from numafs.fs.tree import ROOT_CALLER
from numafs.kernel import cpu as cpu_hotplug
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.machine.presets import resolve

NODE = "sys/devices/system/node/"


@pytest.mark.parametrize(("name", "text"), [
    ("online", "0-3\n"), ("possible", "0-3\n"), ("has_cpu", "0-3\n"), ("has_memory", "0-3\n"),
    ("has_normal_memory", "0-3\n"), ("has_generic_initiator", "\n"), ("uevent", ""), ("node1/cpulist", "2-3\n"),
    ("node1/cpumap", "0c\n"), ("node0/distance", "10 14 20 14\n"), ("node1/uevent", ""), ("power/control", "auto\n"),
])
def test_what_a_ring_of_four_nodes_reads(root, name, text):
    assert root.read_text(NODE + name) == text


@pytest.mark.parametrize(("name", "mode", "size"), [
    ("online", 0o444, 4096), ("node1/cpulist", 0o444, 28672), ("node1/cpumap", 0o444, 4096),
    ("node1/meminfo", 0o444, 4096), ("node1/compact", 0o200, 4096), ("node1/uevent", 0o644, 4096),
    ("node1/hugepages/hugepages-2048kB/nr_hugepages", 0o644, 4096),
])
def test_modes_and_sizes(root, name, mode, size):
    shown = root.resolve(NODE + name).stat()
    assert (stat.S_IMODE(shown.mode), shown.size, shown.nlink, shown.uid) == (mode, size, 1, 0)


@pytest.mark.parametrize("name", ["online", "node1/cpulist", "node1/distance", "node1/meminfo"])
def test_a_read_only_file_cannot_be_opened_for_writing_even_by_root(root, refused, name):
    with refused(EACCES):
        root.open_path(NODE + name, os.O_WRONLY | os.O_TRUNC)


def test_compact_can_be_written_but_not_read(kernel, root, refused):
    with refused(EACCES):
        root.read_text(NODE + "node1/compact")
    root.write_text(NODE + "node1/compact", "1")
    check(kernel)


def test_nothing_can_be_made_or_removed(root, refused):
    top = root.follow(NODE)
    with refused(EPERM):
        top.mkdir("node9", 0o755, ROOT_CALLER)
    with refused(EPERM):
        top.rmdir("node1", ROOT_CALLER)
    with refused(EACCES):
        top.create("newfile", 0o644, ROOT_CALLER)
    with refused(ENOENT):
        root.read_text(NODE + "node9/distance")


@pytest.mark.parametrize("name", ["node01", "node", "node-1", "nodex", "node١"])
def test_a_name_that_only_looks_like_a_node_is_not_one(root, refused, name):
    with refused(ENOENT):
        root.resolve(NODE + name)


def test_links_lead_to_the_nodes_cpus_and_memory(root):
    node = root.follow(NODE + "node1")
    names = list(node.names())
    assert {"cpu2", "cpu3", "subsystem"} <= set(names) and "cpu0" not in names
    memory = next(name for name in names if name.startswith("memory"))
    assert root.read_text(f"{NODE}node1/cpu2/online") == "1\n"
    assert root.read_text(f"{NODE}node1/{memory}/state") == "online\n"
    assert "node1" in root.follow(f"{NODE}node1/{memory}").names()
    assert "node1" in root.follow(f"{NODE}node1/subsystem/devices").names()


def test_a_cpu_off_line_leaves_the_lists_but_not_the_links(kernel, root):
    cpu_hotplug.cpu_down(kernel, 3)
    assert root.read_text(NODE + "node1/cpulist") == "2\n"
    cpu_hotplug.cpu_down(kernel, 2)
    read = [root.read_text(NODE + name) for name in ("node1/cpulist", "node1/cpumap", "has_cpu")]
    assert read == ["\n", "00\n", "0,2-3\n"]
    assert {"cpu2", "cpu3"} <= set(root.follow(NODE + "node1").names())


def test_a_node_off_line_disappears_and_what_was_open_answers_enodev(kernel, root, refused):
    handle = root.open_path(NODE + "node3/meminfo")
    handle.read(0, 100)
    kernel.node_online &= ~8
    kernel.nodes[3].online = False
    with refused(ENODEV):
        handle.read(0, 100)
    with refused(ENOENT):
        root.resolve(NODE + "node3")
    assert root.read_text(NODE + "node0/distance") == "10 14 20\n"
    kernel.node_online = 0b1110
    assert root.read_text(NODE + "node1/distance") == " 10 14 20\n"


def test_meminfo_says_what_the_counters_say_and_is_kept_while_they_stay(kernel, root):
    before = root.read_text(NODE + "node1/meminfo")
    assert root.read_text(NODE + "node1/meminfo") == before
    task = kernel.tasks.spawn(kernel, "memtool", cpu=2)
    after = dict(line.split()[2:4] for line in root.read_text(NODE + "node1/meminfo").splitlines())
    pgdat = kernel.nodes[1]
    assert int(after["MemFree:"]) == pgdat.free * 4
    assert int(after["MemUsed:"]) == (pgdat.managed - pgdat.free) * 4
    assert int(after["AnonPages:"]) > 0
    kernel.tasks.do_exit(kernel, task)
    assert root.read_text(NODE + "node1/meminfo") != before or pgdat.free * 4 == int(after["MemFree:"])


def test_the_nodes_sum_to_the_machine(kernel, root):
    kernel.tasks.spawn(kernel, "memtool", cpu=4)
    machine = dict(line.split(":") for line in root.read_text("proc/meminfo").splitlines())
    texts = [root.read_text(f"{NODE}node{nid}/meminfo") for nid in range(4)]
    nodes = [{line.split()[2][:-1]: int(line.split()[3]) for line in text.splitlines()} for text in texts]
    for label in ("MemTotal", "MemFree", "Active", "Inactive(anon)", "Mapped", "AnonPages", "Slab", "KernelStack"):
        assert sum(node[label] for node in nodes) == int(machine[label].split()[0]), label


def test_numastat_and_vmstat_agree(kernel, root):
    kernel.tasks.spawn(kernel, "memtool", cpu=2)
    numastat = dict(line.split() for line in root.read_text(NODE + "node1/numastat").splitlines())
    vmstat = dict(line.split() for line in root.read_text(NODE + "node1/vmstat").splitlines())
    assert int(numastat["local_node"]) > 0
    pairs = (("numa_hit", "numa_hit"), ("interleave_hit", "numa_interleave"), ("local_node", "numa_local"))
    assert all(numastat[a] == vmstat[b] for a, b in pairs)
    assert list(numastat) == [
        "numa_hit", "numa_miss", "numa_foreign", "interleave_hit", "local_node", "other_node",
    ]


def test_a_nodes_pool_of_huge_pages_is_best_effort(kernel, root, refused):
    pool = NODE + "node1/hugepages/hugepages-2048kB/"
    root.write_text(pool + "nr_hugepages", "8\n")
    assert [root.read_text(pool + name) for name in ("nr_hugepages", "free_hugepages", "surplus_hugepages")] == [
        "8\n", "8\n", "0\n",
    ]
    root.write_text(pool + "nr_hugepages", "100000")
    assert 8 < int(root.read_text(pool + "nr_hugepages")) < 256
    for bad in ("x", "-1", ""):
        if bad:
            with refused(EINVAL):
                root.write_text(pool + "nr_hugepages", bad)
    with refused(EACCES):
        root.write_text(pool + "free_hugepages", "1")
    check(kernel)


@pytest.mark.parametrize(("name", "good", "bad"), [("power/control", "on\n", "off"), ("uevent", "change\n", "party")])
def test_device_switches_take_their_words_only(root, refused, name, good, bad):
    root.write_text(NODE + "node0/" + name, good)
    with refused(EINVAL):
        root.write_text(NODE + "node0/" + name, bad)


def test_autosuspend_is_eio(root, refused):
    with refused(EIO):
        root.read_text(NODE + "node0/power/autosuspend_delay_ms")


def test_a_memory_only_node_has_no_cpus(kernel):
    cxl = build(boot(resolve("cxl")))
    assert cxl.read_text(NODE + "has_cpu") == "0-1\n"
    assert cxl.read_text(NODE + "has_memory") == "0-2\n"
    assert cxl.read_text(NODE + "node2/cpulist") == "\n"


def test_a_highmem_machine_says_which_nodes_have_it():
    root = build(boot(resolve("i386-highmem")))
    assert "has_high_memory" in root.follow(NODE).names()
    assert root.read_text(NODE + "has_normal_memory") != root.read_text(NODE + "has_high_memory")


def test_where_the_firmware_knows_speeds_a_node_names_its_best_initiators():
    root = build(boot(resolve("cxl")))
    far = root.follow(NODE + "node2/access0")
    assert {"initiators", "targets", "power", "uevent"} == set(far.names())
    initiators = set(root.follow(NODE + "node2/access0/initiators").names())
    assert {"read_latency", "write_latency", "read_bandwidth", "write_bandwidth"} < initiators
    assert root.read_text(NODE + "node2/access0/initiators/read_latency") == "260\n"
    near = next(name for name in initiators if name.startswith("node"))
    assert "node2" in set(root.follow(f"{NODE}{near}/access0/targets").names())
    assert root.read_text(f"{NODE}node2/access0/initiators/{near}/cpulist") != "\n"


def test_where_it_does_not_there_is_no_access(root):
    assert "access0" not in set(root.follow(NODE + "node0").names())
