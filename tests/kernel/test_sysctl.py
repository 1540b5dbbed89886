# SPDX-License-Identifier: MIT
"""Setting a knob has its effect."""

from __future__ import annotations

import pytest

from numafs.kernel.mmzone import Wmark
from numafs.kernel.sysctl import Sysctl
from numafs.kernel.vmstat import NumaStat

from .machines import small_kernel


def test_defaults_of_lowmem_reserve_follow_the_zone_types():
    assert Sysctl(("DMA", "DMA32", "Normal", "Movable", "Device")).lowmem_reserve_ratio == [256, 256, 32, 0, 0]
    assert Sysctl(("DMA", "Normal", "HighMem", "Movable")).lowmem_reserve_ratio == [256, 32, 0, 0]


def test_min_free_kbytes_moves_the_watermarks_and_is_remembered_as_the_users():
    kernel = small_kernel()
    before = kernel.zones()[0].watermark[Wmark.MIN]
    kernel.vm.set(kernel, "vm.min_free_kbytes", 4 * kernel.vm.min_free_kbytes)
    assert kernel.zones()[0].watermark[Wmark.MIN] == pytest.approx(4 * before, abs=4)
    assert kernel.vm.user_min_free_kbytes == kernel.vm.min_free_kbytes


def test_a_scale_factor_widens_the_gaps():
    kernel = small_kernel()
    kernel.vm.set(kernel, "watermark_scale_factor", 1000)
    zone = kernel.zones()[0]
    assert zone.watermark[Wmark.HIGH] - zone.watermark[Wmark.LOW] == zone.managed // 10


def test_negative_reserve_ratios_are_none():
    kernel = small_kernel()
    kernel.vm.set(kernel, "lowmem_reserve_ratio", [-1, 256, 32, 0, 0])
    assert kernel.vm.lowmem_reserve_ratio[0] == 0


def test_numa_events_are_cleared_when_they_are_switched_off():
    kernel = small_kernel()
    kernel.zones()[0].numa[NumaStat.NUMA_HIT] = 5
    kernel.vm.set(kernel, "numa_stat", 1)
    assert kernel.zones()[0].numa[NumaStat.NUMA_HIT] == 5
    kernel.vm.set(kernel, "numa_stat", 0)
    assert kernel.zones()[0].numa[NumaStat.NUMA_HIT] == 0


@pytest.mark.parametrize(("name", "cleared"), [
    ("dirty_ratio", "dirty_bytes"), ("dirty_bytes", "dirty_ratio"),
    ("dirty_background_ratio", "dirty_background_bytes"), ("dirty_background_bytes", "dirty_background_ratio"),
    ("overcommit_ratio", "overcommit_kbytes"), ("overcommit_kbytes", "overcommit_ratio"),
])
def test_a_ratio_and_its_absolute_limit_exclude_each_other(name, cleared):
    kernel = small_kernel()
    setattr(kernel.vm, cleared, 7)
    kernel.vm.set(kernel, name, 9)
    assert (getattr(kernel.vm, name), getattr(kernel.vm, cleared)) == (9, 0)


def test_an_unknown_knob_is_enoent():
    kernel = small_kernel()
    with pytest.raises(FileNotFoundError, match="no knob"):
        kernel.vm.set(kernel, "vm.nonsense", 1)
