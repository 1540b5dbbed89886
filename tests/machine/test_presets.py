# SPDX-License-Identifier: MIT
"""The machines that come with numafs, and the words that mean one."""

from __future__ import annotations

from pathlib import Path

import pytest

from numafs.machine.errors import MachineError
from numafs.machine.presets import FIXTURES, path_of, presets, resolve
from numafs.machine.toml import dumps, loads

NAMES = sorted(presets())


def test_the_promised_machines_are_there() -> None:
    wanted = {"ring4", "two", "cxl", "eight", "epyc", "big64", "i386-highmem", "itanium-16k"}
    oracle = {"oracle/seed4", "oracle/seed4-swap", "oracle/two", "oracle/cxl", "oracle/eight"}
    assert wanted | oracle <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_preset_loads_says_what_it_is_for_and_survives_writing(name: str) -> None:
    machine = resolve(name)
    assert presets()[name].read_text().startswith("# ")
    assert machine.name == name.rpartition("/")[2]
    assert loads(dumps(machine)) == machine


def test_a_word_may_be_a_file_a_preset_or_a_short_form(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('nodes = 1\ncpus = 1\nmemory = "64M"\n')
    assert resolve(str(file)).name == "mine"
    assert resolve("ring4") == resolve("ring4.toml") == resolve(str(FIXTURES / "ring4.toml"))
    assert path_of("ring4") == FIXTURES / "ring4.toml"
    assert path_of("2x2:1G") is None


def test_a_short_form_counts_nodes_cpus_and_memory() -> None:
    machine = resolve("3x2:1.5G")
    assert machine.name == "3x2:1.5G"
    assert [len([c for c in machine.cpus if c.node == n]) for n in range(3)] == [2, 2, 2]
    assert machine.nodes[2].present == (3 << 29) // 4096
    assert machine.distance[0] == (10, 20, 20)


def test_a_short_form_may_say_distances_by_steps_around_the_ring() -> None:
    assert resolve("4x2:512M:14,20").distance == resolve("ring4").distance
    assert resolve("3x1:64M:33").distance[1] == (33, 10, 33)


@pytest.mark.parametrize(("text", "words"), [
    ("ring5", "did you mean 'ring4'?"), ("nothing-like-it", "presets are"), ("./none.toml", "is not there"),
    ("4x2:512Q", "no size"), ("0x2:1G", "out of range"), ("2x0:1G", "no CPU"), ("4x2:1G:10,20", "Linux ignores"),
    ("4x2:1G:14,20,30", "one for each step"), ("4x2", "no file, no preset"), ("", "no file, no preset"),
])
def test_a_word_that_means_nothing_is_refused(text: str, words: str) -> None:
    with pytest.raises(MachineError) as caught:
        resolve(text)
    assert words in str(caught.value)


def test_ring4_is_page_by_page_the_recorded_guest() -> None:
    ring, seed4 = resolve("ring4"), resolve("oracle/seed4")
    assert (ring.nodes, ring.cpus, ring.distance, ring.disks) == (seed4.nodes, seed4.cpus, seed4.distance, seed4.disks)
    managed = [zone.managed for node in ring.nodes for zone in node.zones]
    assert managed == [3840, 113438, 128856, 128856, 128298]
    assert not ring.swaps[0].active
    assert resolve("oracle/seed4-swap").swaps[0].active


def test_the_recorded_disks_have_the_files_of_the_scenarios() -> None:
    sizes = {file.path: file.size_bytes for file in resolve("oracle/two").disks[0].files}
    assert sizes["f1"] == 1 << 20
    assert sizes["f2400"] == 2400 << 20
    assert sizes["g3"] == 1 << 30
    assert sum(path.startswith("many/") for path in sizes) == 20_000


def test_big64_has_twelve_tebibytes() -> None:
    machine = resolve("big64")
    assert (len(machine.nodes), len(machine.cpus)) == (64, 512)
    assert sum(node.present for node in machine.nodes) * 4096 == pytest.approx(12 << 40, rel=1e-6)
    assert machine.block_size_bytes == 2 << 30
