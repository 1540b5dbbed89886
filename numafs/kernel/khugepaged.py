# SPDX-License-Identifier: MIT
"""What starting khugepaged does to the watermarks: mm/khugepaged.c (v6.1).

Simplified: khugepaged itself does not run; no huge page is made of small ones behind a task's back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .page_alloc import init_per_zone_wmark_min, nr_free_buffer_pages, setup_per_zone_wmarks
from .printk import Level

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = ["set_recommended_min_free_kbytes", "start_stop_khugepaged"]

PAGEBLOCK_NR_PAGES = 512
MIGRATE_PCPTYPES = 3


def start_stop_khugepaged(kernel: Kernel) -> None:
    """Called at boot and when transparent huge pages are switched. mm/khugepaged.c:start_stop_khugepaged() (v6.1)."""
    set_recommended_min_free_kbytes(kernel)


def set_recommended_min_free_kbytes(kernel: Kernel) -> None:
    """Raise min_free_kbytes so that pageblocks of each migrate type can stay apart.

    mm/khugepaged.c:set_recommended_min_free_kbytes() (v6.1).
    """
    if kernel.thp_enabled == "never":
        init_per_zone_wmark_min(kernel)
        return
    highest = kernel.machine.zone_types.index("Normal")
    nr_zones = sum(zone.index <= highest for zone in kernel.zones())
    recommended = PAGEBLOCK_NR_PAGES * nr_zones * (2 + MIGRATE_PCPTYPES * MIGRATE_PCPTYPES)
    recommended = min(recommended, nr_free_buffer_pages(kernel) // 20)
    recommended_kbytes = recommended * (kernel.machine.page_size // 1024)
    if recommended_kbytes > kernel.vm.min_free_kbytes:
        if kernel.vm.user_min_free_kbytes >= 0:
            kernel.printk(
                f"khugepaged: raising min_free_kbytes from {kernel.vm.min_free_kbytes} to {recommended_kbytes} "
                "to help transparent hugepage allocations", Level.INFO
            )
        kernel.vm.min_free_kbytes = recommended_kbytes
    setup_per_zone_wmarks(kernel)
