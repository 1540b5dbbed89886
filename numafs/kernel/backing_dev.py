# SPDX-License-Identifier: MIT
"""What the flusher of the disks remembers: mm/backing-dev.c, struct bdi_writeback (v6.1).

Simplified: all disks share one flusher, of the first disk's speed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .clock import Event
    from .filemap import Inode

__all__ = ["BdiWriteback", "WritebackIo"]


@dataclass(eq=False, slots=True)
class WritebackIo:
    """Pages [start, stop) of a file on their way to the disk; `done` is when they have arrived."""

    inode: Inode
    start: int
    stop: int
    done: Event | None = None


@dataclass(slots=True)
class BdiWriteback:
    """The flusher: when it next wakes, and what it has under way."""

    timer: Event | None = None
    ios: dict[WritebackIo, None] = field(default_factory=dict)
    busy_until: int = 0
    """When the disk has done all writes that were given to it."""
    start_all: bool = False
    """WB_start_all: it was asked to write whatever is dirty."""
