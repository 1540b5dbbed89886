# SPDX-License-Identifier: MIT
"""Zones and memory blocks from sizes, compared with what Linux 6.1 printed for the same machine."""

from __future__ import annotations

import pytest

from numafs.machine import layout
from numafs.machine.layout import ARCHES
from numafs.machine.presets import resolve
from numafs.machine.spec import BootUse, Machine
from numafs.machine.toml import loads

GIB = 1 << 30


def zones(machine: Machine) -> list[list[str]]:
    return [[zone.type for zone in node.zones] for node in machine.nodes]


def test_the_derived_ring_is_the_recorded_one_but_for_what_the_kernel_reserved() -> None:
    derived, recorded = resolve("4x2:512M:14,20"), resolve("oracle/seed4")
    for ours, theirs in zip(derived.nodes[:3], recorded.nodes[:3], strict=True):
        assert [(z.type, z.start_pfn, z.spanned, z.present) for z in ours.zones] == [
            (z.type, z.start_pfn, z.spanned, z.present) for z in theirs.zones
        ]
        assert ours.memory_blocks == theirs.memory_blocks
        for mine, real in zip(ours.zones, theirs.zones, strict=True):
            assert mine.managed == pytest.approx(real.managed, rel=0.04)
    assert derived.distance == recorded.distance
    assert derived.nodes[1].zones[0].managed == recorded.nodes[1].zones[0].managed == 128856
    assert derived.nodes[0].zones[0].managed == 3840


def test_only_low_memory_is_dma_and_only_what_lies_above_4_gib_is_normal() -> None:
    machine = loads('nodes = 3\ncpus = 1\nmemory = "3G"')
    assert zones(machine) == [["DMA", "DMA32"], ["DMA32", "Normal"], ["Normal"]]


def test_a_pci_hole_moves_memory_above_4_gib() -> None:
    machine = loads('nodes = 4\ncpus = 2\nmemory = "2G"\npci_hole = "1G"')
    assert zones(machine) == [["DMA", "DMA32"], ["DMA32", "Normal"], ["Normal"], ["Normal"]]
    low, high = machine.nodes[1].zones
    assert (low.start_pfn, low.present) == (0x80000, 0x40000)
    assert (high.start_pfn, high.present) == (0x100000, 0x40000)
    assert machine.nodes[1].memory_blocks == (*range(16, 24), *range(32, 40))


def test_without_a_hole_nothing_is_moved() -> None:
    assert layout.place([GIB, GIB], 4096) == [[(0, 1 << 18)], [(1 << 18, 1 << 19)]]


def test_movable_memory_is_the_end_of_a_node() -> None:
    machine = loads('nodes = 2\ncpus = 1\nmemory = "1G"\nmovable = "256M"')
    assert zones(machine) == [["DMA", "DMA32", "Movable"], ["DMA32", "Movable"]]
    movable = machine.nodes[1].zones[1]
    assert (movable.start_pfn, movable.present) == ((2 << 18) - (1 << 16), 1 << 16)


def test_a_node_can_be_all_movable() -> None:
    machine = loads('[[node]]\ncpus = 1\nmemory = "1G"\n[[node]]\nmemory = "1G"\nmovable = true')
    assert zones(machine)[1] == ["Movable"]


def test_a_32_bit_kernel_reaches_896_mib_of_the_first_node() -> None:
    machine = resolve("i386-highmem")
    assert zones(machine) == [["DMA", "Normal", "HighMem"], ["HighMem"]]
    assert machine.nodes[0].zones[2].start_pfn == 896 << 8
    assert machine.highmem == "HighMem"
    assert "DMA32" not in machine.zone_types


def test_pages_of_16_kib_make_a_quarter_of_the_pages() -> None:
    machine = resolve("itanium-16k")
    assert machine.nodes[1].present == (4 * GIB) // 16384
    assert machine.zone_types == ("DMA32", "Normal", "Movable")


def test_memory_blocks_are_128_mib_below_64_gib_and_2_gib_from_there() -> None:
    assert layout.block_size(ARCHES["x86_64"], 64 * GIB - 1) == 128 << 20
    assert layout.block_size(ARCHES["x86_64"], 64 * GIB) == 2 * GIB


@pytest.mark.parametrize("text", ["4x2:512M", "2x1:16M", "64x8:192G", "1x1:32M", "3x2:11000K"])
def test_what_is_in_use_at_boot_leaves_most_memory_free(text: str) -> None:
    for node in resolve(text).nodes:
        managed = sum(zone.managed for zone in node.zones)
        used = sum(getattr(node.boot, use) for use in layout.BOOT_FIRST)
        assert 0 < managed <= node.present
        assert used < managed / 3


def test_nothing_is_in_use_where_the_kernel_cannot_go() -> None:
    machine = resolve("i386-highmem")
    assert machine.nodes[0].boot.slab_unreclaimable > 0
    assert machine.nodes[1].boot == BootUse()


def test_an_empty_boot_uses_nothing() -> None:
    machine = loads('nodes = 1\ncpus = 1\nmemory = "1G"\nboot = "empty"')
    assert not any(getattr(machine.nodes[0].boot, use) for use in layout.BOOT_FIRST)
