# SPDX-License-Identifier: MIT
"""Machine files: the short ones, and what is said about wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from numafs.machine.errors import MachineError
from numafs.machine.spec import BootUse, Performance, Zone
from numafs.machine.toml import load, loads

SMALL = 'nodes = 2\ncpus = 2\nmemory = "1G"\n'


def refusal(text: str) -> MachineError:
    with pytest.raises(MachineError) as caught:
        loads(text, "m.toml")
    return caught.value


def test_five_lines_make_a_machine() -> None:
    machine = loads('name = "ring"\nnodes = 4\ncpus = 2\nmemory = "512M"\ndistances = 20\n')
    assert (machine.name, len(machine.nodes), len(machine.cpus)) == ("ring", 4, 8)
    assert machine.distance[0] == (10, 20, 20, 20)
    assert machine.zone_reclaim_mode == "0"


def test_a_machine_without_a_name_has_its_file_s() -> None:
    assert loads(SMALL, "/somewhere/lab.toml").name == "lab"


def test_what_a_machine_is_for_is_its_first_comment() -> None:
    comment = "# SPDX-License-Identifier: MIT\n# For a look\n#  around.\n\n# Not this.\n"
    assert loads(comment + SMALL).about == "For a look around."
    assert loads(comment + SMALL + 'about = "mine"').about == "mine"


def test_distances_come_as_a_number_levels_or_a_matrix() -> None:
    assert loads(SMALL).distance == ((10, 20), (20, 10))
    assert loads(SMALL + "distances = 31").distance == ((10, 31), (31, 10))
    levels = "[[distances]]\nnodes = 2\ndistance = 12\n[[distances]]\ndistance = 32\n"
    assert loads(SMALL.replace("nodes = 2", "nodes = 4") + levels).distance[2] == (32, 32, 10, 12)
    assert loads(SMALL + "distances = [[10, 15], [21, 10]]").distance == ((10, 15), (21, 10))


def test_a_node_says_what_all_nodes_do_not() -> None:
    machine = loads('cpus = 2\nmemory = "1G"\n[[node]]\n[[node]]\ncpus = 0\nid = 4\nmemory = "2G"\n')
    assert [(node.nid, node.present) for node in machine.nodes] == [(0, (1 << 18) - 98), (4, 1 << 19)]
    assert {cpu.node for cpu in machine.cpus} == {0}


def test_zones_can_be_given_to_the_page() -> None:
    machine = loads("""
[[node]]
cpus = 1
boot = {anon = 10, slab_reclaimable = "40K"}
zone = [{type = "DMA32", start_pfn = 4096, spanned = "16M", present = 4000, managed = 3900, free = 3800}]
performance = {latency = "90ns", write_latency = "110ns", bandwidth = "20GB/s"}
""")
    node = machine.nodes[0]
    assert node.zones == (Zone("DMA32", 4096, 4096, 4000, 3900),)
    assert node.boot == BootUse(anon=10, slab_reclaimable=10, free={"DMA32": 3800})
    assert node.performance == Performance(90, 110, 20_000, 20_000)
    assert node.memory_blocks == (0,)


def test_a_node_of_slow_memory_has_the_distance_of_cxl() -> None:
    text = 'memory = "64M"\n[[node]]\ncpus = 1\n[[node]]\nslow = true\n[[node]]\nabstract_distance = 700\n'
    assert [node.abstract_distance for node in loads(text).nodes] == [576, 2880, 700]


def test_slow_and_a_distance_exclude_each_other() -> None:
    with pytest.raises(MachineError, match="stands beside abstract_distance"):
        loads('memory = "64M"\n[[node]]\ncpus = 1\n[[node]]\nslow = true\nabstract_distance = 700\n')


def test_a_pattern_stands_for_many_files_in_one_line() -> None:
    machine = loads(SMALL + '[[disk]]\nfiles = {"many/d{0..199}/{0..99}" = 0, "big{0..3}" = "1G", "empty/" = 0}\n')
    disk = machine.disks[0]
    assert len(disk.content) == 3
    assert len(disk.files) == 20_005
    assert [disk.files[n].path for n in (0, 19_999, 20_003, 20_004)] == ["many/d0/0", "many/d199/99", "big3", "empty"]
    assert disk.files[20_003].size_bytes == 1 << 30
    assert disk.files[20_004].directory


def test_sysctls_are_named_with_dots_in_either_way() -> None:
    text = '[sysctl]\nvm.swappiness = 10\n"kernel.numa_balancing" = 0\n'
    assert loads(SMALL + text).sysctl == {"kernel.numa_balancing": 0, "vm.swappiness": 10}


def test_swap_has_a_header_page() -> None:
    swap = loads(SMALL + '[[swap]]\npath = "/dev/vdb"\nsize = "2G"\n').swaps[0]
    assert (swap.pages, swap.priority, swap.active) == ((2 << 18) - 1, None, True)


def test_compatibility_switches_are_features() -> None:
    machine = loads(SMALL + 'zone_reclaim_mode = "auto"\nzone_reclaim_interval = true\n')
    assert machine.zone_reclaim_mode == "auto"
    assert "zone_reclaim_interval" in machine.features
    assert "zone_reclaim_interval" not in loads(SMALL).features


def test_a_device_sits_in_a_node_or_in_none() -> None:
    text = '[[device]]\naddress = "3B:00.0"\nnode = 1\nclass = "nvme"\n[[device]]\naddress = "0000:00:00.0"\n'
    near, nowhere = loads(SMALL + text).devices
    assert (near.address, near.numa_node, near.class_code) == ("0000:3b:00.0", 1, 0x010802)
    assert nowhere.numa_node == -1


def test_a_file_can_be_laid_over_another(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text(SMALL + '[sysctl]\nvm.swappiness = 1\nvm.page_cluster = 2\n')
    (tmp_path / "over.toml").write_text('base = "base.toml"\nmemory = "2G"\n[sysctl]\nvm.swappiness = 60\n')
    machine = load(tmp_path / "over.toml")
    assert machine.nodes[1].present == 2 << 18
    assert machine.sysctl == {"vm.page_cluster": 2, "vm.swappiness": 60}


def test_what_is_wrong_in_a_base_is_said_of_the_base(tmp_path: Path) -> None:
    (tmp_path / "base.toml").write_text('nodes = 2\ncpus = 2\nmemory = "1Q"\n')
    (tmp_path / "over.toml").write_text('base = "base.toml"\n')
    with pytest.raises(MachineError, match=r"base\.toml:3: memory: '1Q' is no size"):
        load(tmp_path / "over.toml")


@pytest.mark.parametrize("base", ["over.toml", "none.toml", "."])
def test_a_base_must_be_another_file(tmp_path: Path, base: str) -> None:
    (tmp_path / "over.toml").write_text(f'base = "{base}"\n')
    with pytest.raises(MachineError, match=r"over\.toml:1: base"):
        load(tmp_path / "over.toml")


def test_an_unreadable_file_is_a_machine_error(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="cannot be read: No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "bin.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(MachineError, match="no UTF-8"):
        load(tmp_path / "bin.toml")


def test_broken_toml_is_placed_in_its_line() -> None:
    error = refusal("nodes = 2\ncpus = = 2\n")
    assert (error.file, error.line) == ("m.toml", 2)
    assert "no TOML" in str(error)


def test_an_unknown_key_gets_a_suggestion() -> None:
    error = refusal(SMALL + "distnaces = 20\n")
    assert str(error) == "m.toml:4: distnaces: is not known; did you mean 'distances'?"


def test_an_unknown_key_of_a_node_is_found_in_its_line() -> None:
    error = refusal('[[node]]\ncpus = 1\nmemory = "1G"\n\n[[node]]\n# far\nmemroy = "1G"\n')
    assert str(error) == "m.toml:7: node[1].memroy: is not known; did you mean 'memory'?"


@pytest.mark.parametrize(("text", "line", "key", "words"), [
    ("", 0, "", "no nodes"),
    ('nodes = 2\ncpus = 2\nmemory = 512\n', 3, "memory", "needs a unit"),
    ('nodes = 2\ncpus = 2\nmemory = "512Q"\n', 3, "memory", "no size"),
    ('nodes = 2\ncpus = 2\nmemory = "1M"\n', 3, "memory", "too little"),
    ('nodes = 2\ncpus = 2\nmemory = "16777217B"\n', 3, "memory", "whole number of pages"),
    ('nodes = 2\ncpus = 2\nmemory = "1P"\n', 0, "", "at most 1P"),
    ('nodes = 9\ncpus = 1000\nmemory = "1G"\n', 0, "", "at most 8192"),
    (SMALL + 'pci_hole = "4G"\n', 4, "pci_hole", "up to 3G"),
    (SMALL + 'block_size = "4K"\n', 4, "block_size", "from 64M up"),
    ('[[node]]\ncpus = 1\nzone = [{type = "DMA", spanned = 999999999999}]\n', 3, "node[0].zone[0].spanned", "beyond"),
    ('nodes = 2\ncpus = 2\n', 0, "", "no memory"),
    ('nodes = 2\nmemory = "1G"\n', 0, "", "no CPU"),
    ('nodes = true\n', 1, "nodes", "whole number"),
    ('nodes = 0\n', 1, "nodes", "out of range"),
    ('nodes = 2000\n', 1, "nodes", "out of range"),
    (SMALL + "node = 3\n", 4, "node", "array of tables"),
    (SMALL + "[[node]]\n", 1, "nodes", "stands beside"),
    (SMALL + "distances = 10\n", 4, "distances", "out of range"),
    (SMALL + "distances = [[10, 20]]\n", 4, "distances", "rows"),
    (SMALL + "distances = [[10, 20], [20, 11]]\n", 4, "distances", "to itself"),
    (SMALL + "distances = [[10, 5], [20, 10]]\n", 4, "distances", "from node 0 to node 1"),
    (SMALL + "distances = [[10, 256], [20, 10]]\n", 4, "distances", "out of range"),
    (SMALL + 'distances = [["a", 20], [20, 10]]\n', 4, "distances", "whole number"),
    (SMALL + "[[distances]]\nnodes = 1\ndistance = 12\n", 4, "distances", "last level"),
    (SMALL + 'arch = "x86-64"\n', 4, "arch", "did you mean 'x86_64'"),
    (SMALL + 'page_size = "64K"\n', 4, "page_size", "none of 4K, 16K"),
    (SMALL + 'block_size = "100M"\n', 4, "block_size", "power of two"),
    (SMALL + 'thp = "on"\n', 4, "thp", "none of always"),
    (SMALL + "zone_reclaim_mode = \"on\"\n", 4, "zone_reclaim_mode", "no mode"),
    (SMALL + "zone_reclaim_mode = -1\n", 4, "zone_reclaim_mode", "out of range"),
    (SMALL + "possible_cpus = 2\n", 4, "possible_cpus", "CPU 3 is there"),
    (SMALL + "topology = {threads = 4}\n", 2, "cpus", "no whole cores"),
    (SMALL + "topology = {sockets = 3}\n", 4, "topology", "shared out"),
    (SMALL + "[sysctl]\nswappiness = 1\n", 5, "sysctl.swappiness", "below vm or kernel"),
    (SMALL + '[sysctl]\nvm.swappiness = "1"\n', 5, "sysctl.vm.swappiness", "whole number"),
    (SMALL + '[[swap]]\nsize = "1G"\n', 4, "swap[0].path", "no path"),
    (SMALL + '[[swap]]\npath = "/s"\nsize = "4K"\n', 6, "swap[0].size", "too small"),
    (SMALL + '[[disk]]\nread = "fast"\n', 5, "disk[0].read", "not a bandwidth"),
    (SMALL + '[[disk]]\n[disk.files]\n"/etc" = 0\n', 6, "disk[0].files./etc", "no path below data/"),
    (SMALL + '[[disk]]\n[disk.files]\n"a/../b" = 0\n', 6, "disk[0].files.a/../b", "no path below data/"),
    (SMALL + '[[disk]]\n[disk.files]\n"f{1..2" = 0\n', 6, "disk[0].files.f{1..2", "do not match"),
    (SMALL + '[[disk]]\n[disk.files]\n"f{1..2}" = 0\nf1 = 0\n', 4, "disk", "f1 a second time"),
    (SMALL + '[[disk]]\n[disk.files]\n"a/b" = 0\na = 0\n', 4, "disk", "a is a file"),
    (SMALL + '[[disk]]\n[disk.files]\n"f{1..999}{1..9999}" = 0\n', 6, "disk[0].files.f{1..999}{1..9999}", "stands for"),
    (SMALL + '[[device]]\naddress = "3b"\n', 5, "device[0].address", "no PCI address"),
    (SMALL + '[[device]]\naddress = "3b:00.0"\nnode = 7\n', 6, "device[0].node", "not there"),
    (SMALL + '[latency]\nfault = "1h"\n', 5, "latency.fault", "not a time"),
    (SMALL + '[[cache]]\nlevel = 1\nsize = "33K"\nways = 7\n', 6, "cache[0].size", "whole sets"),
    (SMALL + '[[cpu]]\ncpu = 0\n', 2, "cpus", "stands beside"),
    ('nodes = 1\nmemory = "1G"\ncpu = [{cpu = 0}, {cpu = 0}]\n', 3, "cpu", "CPU 0 twice"),
    ('nodes = 1\nmemory = "1G"\ncpu = [{cpu = 0, node = 1}]\n', 3, "cpu", "node 1"),
    ('[[node]]\ncpus = "0-1"\nmemory = "1G"\n[[node]]\ncpus = "1"\n', 1, "node", "CPU 1 twice"),
    ('[[node]]\ncpus = 1\nmemory = "1G"\n[[node]]\ncpus = "1"\n', 1, "node", "a list"),
    ('[[node]]\nid = 1\ncpus = 1\nmemory = "1G"\n[[node]]\nid = 1\n', 1, "node", "one of its own"),
    ('[[node]]\ncpus = 1\nzone = [{type = "DMA33", spanned = 5}]\n', 3, "node[0].zone[0].type", "none of DMA"),
    ('[[node]]\ncpus = 1\nzone = [{type = "DMA", spanned = 5, present = 6}]\n', 3, "node[0].zone[0]", "spans 5"),
    ('[[node]]\ncpus = 1\nzone = [{type = "DMA", spanned = 5, free = 6}]\n', 3, "node[0].zone[0].free", "more than"),
    ('[[node]]\ncpus = 1\nboot = {anon = 6}\nzone = [{type = "DMA", spanned = 5}]\n', 3, "node[0].boot", "holds 6"),
    ('[[node]]\ncpus = 1\nmemory = "1G"\nzone = [{type = "DMA", spanned = 5}]\n', 4, "node[0].zone", "beside memory"),
    ('[[node]]\ncpus = 1\nmemory = "1G"\nmovable = "2G"\n', 4, "node[0].movable", "no part"),
])
def test_a_wrong_file_is_refused_with_the_place_and_the_reason(text: str, line: int, key: str, words: str) -> None:
    error = refusal(text)
    assert (error.line, error.key) == (line, key)
    assert words in str(error)
    assert error.file == "m.toml"
