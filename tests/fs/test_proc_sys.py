# SPDX-License-Identifier: MIT
"""/proc/sys/vm: what each knob takes, and what it does. Values as measured on Linux 6.1."""

from __future__ import annotations

import errno
import os
from errno import EACCES, EINVAL, ENOENT, EPERM

import pytest

from numafs.fs.proc_sys import KERNEL, VM
from numafs.fs.root import build
from numafs.fs.tree import ROOT_CALLER
from numafs.fs.verbs import run_verb
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.vmstat import NodeStat
from numafs.machine.presets import resolve

VM_DIR = "proc/sys/vm/"


@pytest.mark.parametrize(("name", "text", "reads"), [
    ("zone_reclaim_mode", "1\n", "1\n"), ("zone_reclaim_mode", "8", "8\n"), ("zone_reclaim_mode", "0x5\n", "5\n"),
    ("zone_reclaim_mode", "010\n", "8\n"), ("zone_reclaim_mode", "3 4\n", "3\n"),
    ("zone_reclaim_mode", " 6 \n", "6\n"), ("zone_reclaim_mode", "2147483647", "2147483647\n"),
    ("min_unmapped_ratio", "100", "100\n"), ("swappiness", "200", "200\n"),
    ("watermark_scale_factor", "3000", "3000\n"), ("numa_stat", "0", "0\n"),
    ("percpu_pagelist_high_fraction", "8", "8\n"), ("lowmem_reserve_ratio", "128", "128\t256\t32\t0\t0\n"),
    ("lowmem_reserve_ratio", "1 2 3 4 5", "1\t2\t3\t4\t5\n"), ("lowmem_reserve_ratio", "-4", "0\t256\t32\t0\t0\n"),
    ("lowmem_reserve_ratio", "junk", "256\t256\t32\t0\t0\n"), ("page-cluster", "0", "0\n"),
    ("overcommit_kbytes", "-1", "0\n"), ("numa_zonelist_order", "n", "Node\n"),
    ("numa_zonelist_order", "Default", "Node\n"), ("dirty_bytes", "16777216", "16777216\n"),
])
def test_a_good_value_reads_back(root, name, text, reads):
    root.write_text(VM_DIR + name, text)
    assert root.read_text(VM_DIR + name) == reads


@pytest.mark.parametrize(("name", "text"), [
    ("zone_reclaim_mode", "-1"), ("zone_reclaim_mode", "abc"), ("zone_reclaim_mode", "\n"),
    ("zone_reclaim_mode", "1abc"), ("zone_reclaim_mode", "99999999999"), ("min_unmapped_ratio", "101"),
    ("min_slab_ratio", "-1"), ("swappiness", "201"), ("watermark_scale_factor", "0"),
    ("watermark_scale_factor", "3001"), ("watermark_boost_factor", "-1"), ("numa_stat", "2"),
    ("percpu_pagelist_high_fraction", "7"), ("numa_zonelist_order", "Zone"), ("drop_caches", "0"),
    ("drop_caches", "5"), ("drop_caches", "x"), ("compaction_proactiveness", "101"), ("dirty_ratio", "101"),
    ("dirty_bytes", "8191"), ("nr_hugepages", "x"),
])
def test_a_bad_value_is_einval_and_changes_nothing(root, refused, name, text):
    readable = name != "drop_caches"
    before = root.read_text(VM_DIR + name) if readable else None
    with refused(EINVAL):
        root.write_text(VM_DIR + name, text)
    assert not readable or root.read_text(VM_DIR + name) == before


@pytest.mark.parametrize("name", ["drop_caches", "compact_memory"])
def test_a_command_cannot_be_read_even_by_root(root, refused, name):
    with refused(EACCES):
        root.open_path(VM_DIR + name, os.O_RDONLY)
    root.write_text(VM_DIR + name, "1")


def test_stat_refresh_reads_empty(root):
    assert root.read_text(VM_DIR + "stat_refresh") == ""
    root.write_text(VM_DIR + "stat_refresh", "1")


def test_nothing_can_be_made_in_proc_sys_and_modes_are_fixed(root, refused):
    vm = root.follow(VM_DIR)
    with refused(ENOENT):
        vm.create("new", 0o644, ROOT_CALLER)
    with refused(EPERM):
        vm.lookup("swappiness").chmod(0o600)


def test_every_knob_reads_its_default(kernel, root):
    for directory, rows in (("vm", VM), ("kernel", KERNEL)):
        for row in rows:
            if row.show is not None:
                assert root.read_text(f"proc/sys/{directory}/{row.name}").endswith("\n") or row.name == "stat_refresh"


def test_the_watermark_scale_moves_the_watermarks(kernel, root):
    high = [zone.watermark[2] for zone in kernel.zones()]
    root.write_text(VM_DIR + "watermark_scale_factor", "1000")
    assert all(new > old for new, old in zip([zone.watermark[2] for zone in kernel.zones()], high, strict=True))
    check(kernel)


def test_switching_numa_stat_off_clears_the_counters(kernel, root):
    kernel.tasks.spawn(kernel, "memtool", cpu=0)
    numastat = "sys/devices/system/node/node0/numastat"
    assert "numa_hit 0" not in root.read_text(numastat)
    root.write_text(VM_DIR + "numa_stat", "0")
    assert [line.split()[1] for line in root.read_text(numastat).splitlines()] == ["0"] * 6


def test_huge_pages_are_spread_over_the_nodes(kernel, root):
    root.write_text(VM_DIR + "nr_hugepages", "8")
    pools = "sys/devices/system/node/node{}/hugepages/hugepages-2048kB/nr_hugepages"
    assert [root.read_text(pools.format(nid)) for nid in range(4)] == ["2\n"] * 4
    assert root.read_text(VM_DIR + "nr_hugepages") == "8\n"
    assert "HugePages_Total:       8\n" in root.read_text("proc/meminfo")
    assert "Node 1 HugePages_Total:     2\n" in root.read_text("sys/devices/system/node/node1/meminfo")
    root.write_text(VM_DIR + "nr_hugepages", "-3")
    assert root.read_text(VM_DIR + "nr_hugepages") == "8\n"
    check(kernel)


def test_drop_caches_empties_the_page_cache(kernel, root):
    reader = kernel.tasks.spawn(kernel, "cat", cpu=0)
    path = next(item.path for disk in kernel.machine.disks for item in disk.files if item.size_bytes > 2**20)
    cached = kernel.nodes[0].stat[NodeStat.NR_FILE_PAGES]
    run_verb(kernel, reader, f"read {path}")
    assert kernel.nodes[0].stat[NodeStat.NR_FILE_PAGES] > cached
    root.write_text(VM_DIR + "drop_caches", "3")
    assert kernel.nodes[0].stat[NodeStat.NR_FILE_PAGES] <= cached
    assert "drop_pagecache 1\n" in root.read_text("proc/vmstat")
    check(kernel)


def test_zone_reclaim_interval_is_there_only_where_the_machine_asks(root, refused):
    with refused(errno.ENOENT):
        root.resolve(VM_DIR + "zone_reclaim_interval")
    itanium = build(boot(resolve("itanium-16k")))
    itanium.write_text(VM_DIR + "zone_reclaim_interval", "5")
    assert itanium.read_text(VM_DIR + "zone_reclaim_interval") == "5\n"
