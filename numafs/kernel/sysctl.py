# SPDX-License-Identifier: MIT
"""The knobs of /proc/sys/vm and /proc/sys/kernel that hold a number, and what setting one does.

kernel/sysctl.c, and the *_handler() functions of mm/ (v6.1). Parsing text, ranges and modes
are the files' own business; write-only knobs (drop_caches, compact_memory) are functions of
their modules, and nr_hugepages is a property of the hugetlb pools.

Simplified: what the model has no part for is stored and read back, and does nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from .errors import ENOENT

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = ["Sysctl"]


class Sysctl:
    """Every knob as an attribute of its file's name, `-` written `_`; values as of a kernel without memory."""

    # Reclaim and placement.
    zone_reclaim_mode = 0
    zone_reclaim_interval = 30
    """Seconds; only machines with the feature show it."""
    min_unmapped_ratio = 1
    min_slab_ratio = 5
    swappiness = 60
    vfs_cache_pressure = 100
    vfs_cache_pressure_denom = 100
    """Only kernels with the features show this one and the next two."""
    defrag_mode = 0
    memfd_noexec = 0
    # Watermarks.
    min_free_kbytes = 0
    user_min_free_kbytes = -1
    """What a user last wrote to min_free_kbytes."""
    watermark_scale_factor = 10
    watermark_boost_factor = 15000
    percpu_pagelist_high_fraction = 0
    # Statistics.
    numa_stat = 1
    stat_interval = 1
    # Compaction.
    compaction_proactiveness = 20
    extfrag_threshold = 500
    compact_unevictable_allowed = 1
    # Write-back.
    dirty_ratio = 20
    dirty_background_ratio = 10
    dirty_bytes = 0
    dirty_background_bytes = 0
    dirty_expire_centisecs = 3000
    dirty_writeback_centisecs = 500
    dirtytime_expire_seconds = 43200
    laptop_mode = 0
    # Overcommit and OOM.
    overcommit_memory = 0
    overcommit_ratio = 50
    overcommit_kbytes = 0
    admin_reserve_kbytes = 0
    user_reserve_kbytes = 0
    panic_on_oom = 0
    oom_kill_allocating_task = 0
    oom_dump_tasks = 1
    # Huge pages.
    nr_overcommit_hugepages = 0
    hugetlb_shm_group = 0
    hugetlb_optimize_vmemmap = 0
    # The rest.
    page_cluster = 3
    page_lock_unfairness = 5
    max_map_count = 65530
    mmap_min_addr = 65536
    mmap_rnd_bits = 28
    mmap_rnd_compat_bits = 8
    legacy_va_layout = 0
    memory_failure_early_kill = 0
    memory_failure_recovery = 1
    unprivileged_userfaultfd = 0
    # /proc/sys/kernel.
    numa_balancing = 0
    numa_balancing_promote_rate_limit_MBps = 65536

    def __init__(self, zone_types: tuple[str, ...]) -> None:
        self.lowmem_reserve_ratio = [_LOWMEM_RESERVE_RATIO.get(type_, 0) for type_ in zone_types]

    def set(self, kernel: Kernel, name: str, value: int | list[int]) -> None:
        """A write of a valid `value` to the knob whose file is called `name`, with its effect.

        `name` may have the directory before it, as in `vm.swappiness`.
        """
        attribute = attribute_of(name)
        if not hasattr(self, attribute):
            raise ENOENT(f"no knob {name!r}")
        setattr(self, attribute, value)
        effect = _EFFECTS.get(attribute)
        if effect:
            effect(kernel)


_LOWMEM_RESERVE_RATIO = {"DMA": 256, "DMA32": 256, "Normal": 32}
"""mm/page_alloc.c:sysctl_lowmem_reserve_ratio[]; zones above Normal protect nothing."""


def attribute_of(name: str) -> str:
    """The attribute of `Sysctl` that holds the knob `vm.page-cluster` or `page-cluster`."""
    return name.rpartition(".")[2].replace("-", "_")


def min_free_kbytes_sysctl_handler(kernel: Kernel) -> None:
    """mm/page_alloc.c:min_free_kbytes_sysctl_handler() (v6.1): the user's word counts from now on."""
    from .page_alloc import setup_per_zone_wmarks

    kernel.vm.user_min_free_kbytes = kernel.vm.min_free_kbytes
    setup_per_zone_wmarks(kernel)


def watermark_scale_factor_sysctl_handler(kernel: Kernel) -> None:
    """mm/page_alloc.c:watermark_scale_factor_sysctl_handler() (v6.1)."""
    from .page_alloc import setup_per_zone_wmarks

    setup_per_zone_wmarks(kernel)


def percpu_pagelist_high_fraction_sysctl_handler(kernel: Kernel) -> None:
    """mm/page_alloc.c:percpu_pagelist_high_fraction_sysctl_handler() (v6.1)."""
    from .page_alloc import zone_pcp_update

    zone_pcp_update(kernel)


def lowmem_reserve_ratio_sysctl_handler(kernel: Kernel) -> None:
    """mm/page_alloc.c:lowmem_reserve_ratio_sysctl_handler() (v6.1): ratios below 1 are 0."""
    from .page_alloc import setup_per_zone_lowmem_reserve

    kernel.vm.lowmem_reserve_ratio = [max(ratio, 0) for ratio in kernel.vm.lowmem_reserve_ratio]
    setup_per_zone_lowmem_reserve(kernel)


def sysctl_min_unmapped_ratio_sysctl_handler(kernel: Kernel) -> None:
    """mm/page_alloc.c (v6.1)."""
    from .page_alloc import setup_min_unmapped_ratio

    setup_min_unmapped_ratio(kernel)


def sysctl_min_slab_ratio_sysctl_handler(kernel: Kernel) -> None:
    """mm/page_alloc.c (v6.1)."""
    from .page_alloc import setup_min_slab_ratio

    setup_min_slab_ratio(kernel)


def sysctl_vm_numa_stat_handler(kernel: Kernel) -> None:
    """mm/vmstat.c:sysctl_vm_numa_stat_handler() (v6.1): switched off, the NUMA events are cleared."""
    if kernel.vm.numa_stat:
        return
    for pgdat in kernel.nodes:
        for zone in pgdat.zones:
            zone.numa[:] = [0] * len(zone.numa)


def sysctl_numa_balancing(kernel: Kernel) -> None:
    """kernel/sched/core.c:sysctl_numa_balancing() (v6.1): tiering mode begins with new thresholds."""
    from .numa_promotion import reset_memory_tiering

    tiering = bool(kernel.vm.numa_balancing & 2)
    if tiering and not kernel.tiers.promoting:
        reset_memory_tiering(kernel)
    kernel.tiers.promoting = tiering


def dirty_ratio_handler(kernel: Kernel) -> None:
    """mm/page-writeback.c:dirty_ratio_handler() (v6.1): a ratio ends the limit in bytes."""
    kernel.vm.dirty_bytes = 0


def dirty_bytes_handler(kernel: Kernel) -> None:
    """mm/page-writeback.c:dirty_bytes_handler() (v6.1)."""
    kernel.vm.dirty_ratio = 0


def dirty_background_ratio_handler(kernel: Kernel) -> None:
    """mm/page-writeback.c:dirty_background_ratio_handler() (v6.1)."""
    kernel.vm.dirty_background_bytes = 0


def dirty_background_bytes_handler(kernel: Kernel) -> None:
    """mm/page-writeback.c:dirty_background_bytes_handler() (v6.1)."""
    kernel.vm.dirty_background_ratio = 0


def overcommit_ratio_handler(kernel: Kernel) -> None:
    """mm/util.c:overcommit_ratio_handler() (v6.1)."""
    kernel.vm.overcommit_kbytes = 0


def overcommit_kbytes_handler(kernel: Kernel) -> None:
    """mm/util.c:overcommit_kbytes_handler() (v6.1)."""
    kernel.vm.overcommit_ratio = 0


_EFFECTS: dict[str, Callable[[Kernel], None]] = {
    "min_free_kbytes": min_free_kbytes_sysctl_handler,
    "watermark_scale_factor": watermark_scale_factor_sysctl_handler,
    "percpu_pagelist_high_fraction": percpu_pagelist_high_fraction_sysctl_handler,
    "lowmem_reserve_ratio": lowmem_reserve_ratio_sysctl_handler,
    "min_unmapped_ratio": sysctl_min_unmapped_ratio_sysctl_handler,
    "min_slab_ratio": sysctl_min_slab_ratio_sysctl_handler,
    "numa_stat": sysctl_vm_numa_stat_handler,
    "numa_balancing": sysctl_numa_balancing,
    "dirty_ratio": dirty_ratio_handler,
    "dirty_bytes": dirty_bytes_handler,
    "dirty_background_ratio": dirty_background_ratio_handler,
    "dirty_background_bytes": dirty_background_bytes_handler,
    "overcommit_ratio": overcommit_ratio_handler,
    "overcommit_kbytes": overcommit_kbytes_handler,
}
