# SPDX-License-Identifier: MIT
"""/sys/devices/system/memory, /sys/kernel/mm, /sys/kernel/slab and the memory tiers."""

from __future__ import annotations

from errno import EACCES, EINVAL, ENOENT

import pytest

from numafs.fs.root import build
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.hotplug import change_machine
from numafs.machine.presets import resolve
from numafs.machine.toml import loads

MEMORY = "sys/devices/system/memory/"
THP = "sys/kernel/mm/transparent_hugepage/"


def test_a_block_with_holes_stays_on_line(kernel, root, refused):
    last = kernel.nodes[3].memory_blocks[-1]  # the firmware's tables are at its end
    with refused(EINVAL):
        root.write_text(f"{MEMORY}memory{last}/state", "offline")


def test_a_block_goes_off_line_and_takes_its_memory_along(kernel, root, refused):
    block = f"{MEMORY}memory{kernel.nodes[3].memory_blocks[-2]}/"
    total = kernel.nodes[3].managed
    assert [root.read_text(block + name) for name in ("state", "online", "phys_device", "removable")] == [
        "online\n", "1\n", "0\n", "1\n",
    ]
    with refused(EINVAL):
        root.write_text(block + "state", "online")
    root.write_text(block + "state", "offline\n")
    assert [root.read_text(block + name) for name in ("state", "online")] == ["offline\n", "0\n"]
    assert kernel.nodes[3].managed < total
    check(kernel)
    root.write_text(block + "online", "1")
    assert kernel.nodes[3].managed == total
    check(kernel)


def test_states_are_four_words(kernel, root, refused):
    block = f"{MEMORY}memory{kernel.nodes[1].memory_blocks[0]}/"
    with refused(EINVAL):
        root.write_text(block + "state", "sideways")
    with refused(EACCES):
        root.write_text(block + "phys_index", "1")
    number = kernel.nodes[1].memory_blocks[0]
    assert root.read_text(block + "phys_index") == f"{number:08x}\n"
    assert root.read_text(MEMORY + "block_size_bytes") == "8000000\n"


def test_transparent_huge_pages_are_chosen_by_a_word(kernel, root, refused):
    root.write_text(THP + "enabled", "madvise")
    assert kernel.thp_enabled == "madvise"
    assert root.read_text(THP + "enabled") == "always [madvise] never\n"
    with refused(EINVAL):
        root.write_text(THP + "enabled", "sometimes")
    root.write_text(THP + "defrag", "defer+madvise")
    assert root.read_text(THP + "defrag") == "always defer [defer+madvise] madvise never\n"


def test_khugepaged_has_its_settings(kernel, root, refused):
    home = THP + "khugepaged/"
    assert {name: root.read_text(home + name) for name in root.resolve(home).names()} == {
        "alloc_sleep_millisecs": "60000\n", "defrag": "1\n", "full_scans": "0\n", "max_ptes_none": "511\n",
        "max_ptes_shared": "256\n", "max_ptes_swap": "64\n", "pages_collapsed": "0\n", "pages_to_scan": "4096\n",
        "scan_sleep_millisecs": "10000\n",
    }
    root.write_text(home + "scan_sleep_millisecs", "100")
    assert kernel.khugepaged.scan_sleep_millisecs == 100
    for name, text in (
        ("pages_to_scan", "0"), ("max_ptes_none", "512"), ("defrag", "2"), ("scan_sleep_millisecs", str(1 << 70)),
    ):
        with refused(EINVAL):
            root.write_text(home + name, text)


def test_defrag_says_how_hard_a_fault_tries(kernel, root):
    root.write_text(THP + "defrag", "defer")
    assert kernel.thp_defrag == "defer"


def test_the_pools_of_all_nodes_are_one_file(kernel, root):
    pool = "sys/kernel/mm/hugepages/hugepages-2048kB/"
    root.write_text(pool + "nr_hugepages", "4")
    assert [root.read_text(pool + name) for name in ("nr_hugepages", "free_hugepages")] == ["4\n", "4\n"]
    assert root.read_text("proc/sys/vm/nr_hugepages") == "4\n"
    check(kernel)


def test_demotion_is_a_switch(root, refused):
    switch = "sys/kernel/mm/numa/demotion_enabled"
    root.write_text(switch, "1")
    assert root.read_text(switch) == "true\n"
    with refused(EINVAL):
        root.write_text(switch, "2")


def test_all_system_memory_is_in_tier_4(root):
    tiers = "sys/devices/virtual/memory_tiering"
    assert root.read_text(f"{tiers}/memory_tier4/nodelist") == "0-3\n"
    assert [name for name in root.resolve(tiers).names() if name.startswith("memory_tier")] == ["memory_tier4"]


def test_slow_memory_is_a_tier_below():
    root = build(boot(resolve("cxl")))
    tiers = "sys/devices/virtual/memory_tiering"
    assert [root.read_text(f"{tiers}/memory_tier{n}/nodelist") for n in (4, 22)] == ["0-1\n", "2\n"]
    assert root.read_text("sys/bus/memory_tiering/devices/memory_tier22/nodelist") == "2\n"


def test_a_tier_comes_and_goes_with_its_memory(refused):
    dram = 'memory = "512M"\n[[node]]\ncount = 2\ncpus = 1\n'
    kernel = boot(loads(dram))
    root = build(kernel)
    slow = "sys/devices/virtual/memory_tiering/memory_tier22/nodelist"
    change_machine(kernel, loads(dram + "[[node]]\nslow = true\n"))
    assert root.read_text(slow) == "2\n"
    change_machine(kernel, loads(dram))
    with refused(ENOENT):
        root.read_text(slow)


@pytest.mark.parametrize("name", ["dentry", "kmalloc-64"])
def test_a_slab_cache_shows_where_it_lies(kernel, root, name):
    cache = f"sys/kernel/slab/{name}/"
    size, per_slab, order = (int(root.read_text(cache + row)) for row in ("slab_size", "objs_per_slab", "order"))
    assert per_slab == (4096 << order) // size
    total, *nodes = root.read_text(cache + "total_objects").split()
    assert int(total) == sum(int(node.split("=")[1]) for node in nodes)
    row = next(line for line in root.read_text("proc/slabinfo").splitlines() if line.split()[0] == name)
    assert int(row.split()[2]) == int(total)


def test_only_1_shrinks_a_cache(kernel, root, refused):
    with refused(EINVAL):
        root.write_text("sys/kernel/slab/dentry/shrink", "2")
    root.write_text("sys/kernel/slab/dentry/shrink", "1")
    check(kernel)
