# SPDX-License-Identifier: MIT
"""Page reclaim: kswapd, direct reclaim, node reclaim. mm/vmscan.c (v6.1)."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .gfp import Gfp
    from .kernel import Kernel
    from .mm import Task
    from .mmzone import Pgdat, Zone

__all__ = ["NodeReclaim", "can_reclaim_anon_pages", "node_reclaim", "try_to_free_pages", "wakeup_kswapd"]


class NodeReclaim(IntEnum):
    """What node_reclaim() achieved (mm/internal.h)."""

    NOSCAN = -2
    FULL = -1
    SOME = 0
    SUCCESS = 1


def wakeup_kswapd(kernel: Kernel, pgdat: Pgdat, order: int, highest: int) -> None:
    """Wake the node's kswapd unless the node is balanced."""


def node_reclaim(kernel: Kernel, task: Task | None, pgdat: Pgdat, gfp: Gfp, order: int) -> NodeReclaim:
    """Free page cache of the node itself before going to another one."""
    return NodeReclaim.NOSCAN


def try_to_free_pages(kernel: Kernel, task: Task | None, gfp: Gfp, zones: list[Zone], order: int) -> int:
    """Direct reclaim; returns the pages reclaimed."""
    return 0


def can_reclaim_anon_pages(kernel: Kernel) -> bool:
    """Is there swap space?"""
    return False
