# SPDX-License-Identifier: MIT
"""The OOM killer. mm/oom_kill.c (v6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .gfp import Gfp
    from .kernel import Kernel
    from .mm import Task
    from .page_alloc import Placement

__all__ = ["out_of_memory"]


def out_of_memory(kernel: Kernel, task: Task | None, gfp: Gfp, where: Placement, order: int) -> bool:
    """Kill a task to free memory; did it?"""
    return False
