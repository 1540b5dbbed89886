# SPDX-License-Identifier: MIT
"""What a real process has mapped, and which of its pages are there: /proc/PID/{maps,pagemap}.

PAGEMAP_SCAN (Linux 6.7) names stretches of pages; older kernels are asked for each page. PROCMAP_QUERY (6.11)
finds the mapping of an address without a list of all.
fs/proc/task_mmu.c, include/uapi/linux/fs.h.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Area", "Present", "areas_between", "can_scan", "maps", "maps_text", "present", "resident"]

PAGE = mmap.PAGESIZE
TASK_SIZE = 0x7FFF_FFFF_F000

PAGEMAP_SCAN = 0xC060_6610
IS_FILE, IS_PRESENT, IS_SWAPPED, IS_PFNZERO, IS_HUGE = 1 << 2, 1 << 3, 1 << 4, 1 << 5, 1 << 6
SCAN_ARG = struct.Struct("=12Q")
"""struct pm_scan_arg."""
PROCMAP_QUERY, COVERING_OR_NEXT_VMA, QUERY_SHARED = 0xC068_6611, 0x10, 0x08
QUERY = struct.Struct("=9Q4I2Q")
"""struct procmap_query."""
REGION = struct.Struct("=3Q")
"""struct page_region."""
VECTOR = 4096
BIT_PRESENT, BIT_SWAPPED, BIT_FILE = 63, 62, 61
"""Of an entry of pagemap."""


@dataclass(frozen=True, slots=True)
class Area:
    """A mapping, a line of /proc/PID/maps; addresses and offset in pages."""

    start: int
    stop: int
    rights: str
    pgoff: int
    device: str
    inode: int
    path: str

    @property
    def shared(self) -> bool:
        return self.rights[3] == "s"

    @property
    def write(self) -> bool:
        return self.rights[1] == "w"

    @property
    def exec_(self) -> bool:
        return self.rights[2] == "x"

    @property
    def special(self) -> bool:
        """Made by the kernel, without pages that anybody counts."""
        return self.path.startswith(("[vdso", "[vvar", "[vsyscall", "[uprobes"))


class Present(NamedTuple):
    """A stretch of pages that are there, or swapped out."""

    start: int
    stop: int
    file: bool
    """Of the page cache or of shared memory."""
    huge: bool


def maps_text(pid: int) -> bytes:
    """The mappings of a process as the kernel lists them; nothing of one that has exited."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            return file.read()
    except OSError:
        return b""


def maps(text: bytes) -> list[Area]:
    """The mappings of a process, ascending."""
    return [area for line in text.splitlines() if (area := _area(line)).stop * PAGE <= TASK_SIZE + PAGE]


def areas_between(pid: int, start: int, stop: int) -> list[Area]:
    """The mappings that have a page in [start, stop)."""
    found = []
    try:
        with open(f"/proc/{pid}/maps", "rb", buffering=0) as file:
            while start < stop and (area := _query(file.fileno(), start)) is not None and area.start < stop:
                found.append(area)
                start = area.stop
    except OSError:
        return [area for area in maps(maps_text(pid)) if area.start < stop and area.stop > start]
    return found


def _query(descriptor: int, page: int) -> Area | None:
    """The mapping of a page or the next above it; None if there is none (PROCMAP_QUERY, Linux 6.11)."""
    name = ctypes.create_string_buffer(4096)
    argument = bytearray(QUERY.pack(
        QUERY.size, COVERING_OR_NEXT_VMA, page * PAGE, 0, 0, 0, 0, 0, 0, 0, 0, len(name), 0, ctypes.addressof(name), 0,
    ))
    try:
        fcntl.ioctl(descriptor, PROCMAP_QUERY, argument, True)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise
    _, _, _, start, end, flags, _, offset, inode, major, minor, length, _, _, _ = QUERY.unpack(argument)
    rights = "".join(letter if flags & 1 << i else "-" for i, letter in enumerate("rwx"))
    path = os.fsdecode(name.raw[: max(length - 1, 0)])
    device = f"{major:02x}:{minor:02x}"
    return Area(start // PAGE, end // PAGE, rights + ("s" if flags & QUERY_SHARED else "p"), offset // PAGE, device,
                inode, path)


def _area(line: bytes) -> Area:
    where, rights, offset, device, inode, *path = line.split(None, 5)
    start, _, stop = where.partition(b"-")
    name = os.fsdecode(path[0]) if path else ""
    return Area(int(start, 16) // PAGE, int(stop, 16) // PAGE, rights.decode(), int(offset, 16) // PAGE,
                device.decode(), int(inode), name.replace("\\012", "\n"))


def present(pid: int, areas: Sequence[Area], start: int = 0, stop: int = TASK_SIZE // PAGE) -> list[Present]:
    """The pages of [start, stop) that are there, ascending; the zero page is none. `areas` are what is mapped there."""
    try:
        descriptor = os.open(f"/proc/{pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        if can_scan(descriptor):
            return _scan(descriptor, start * PAGE, min(stop * PAGE, TASK_SIZE))
        return [
            found for area in areas if not area.special
            for found in _read(descriptor, max(start, area.start), min(stop, area.stop))
        ]
    finally:
        os.close(descriptor)


def resident(pid: int) -> int:
    """About how many pages a process has, for a twentieth of what a scan costs."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError):
        return 0


_scans: bool | None = None


def can_scan(descriptor: int) -> bool:
    """Does this kernel have PAGEMAP_SCAN?"""
    global _scans
    if _scans is None:
        try:
            _ioctl(descriptor, 0, PAGE, ctypes.create_string_buffer(REGION.size), 1)
            _scans = True
        except OSError:
            _scans = False
    return _scans


def _ioctl(descriptor: int, start: int, end: int, vector: ctypes.Array[ctypes.c_char], length: int) -> int:
    wanted = IS_PRESENT | IS_SWAPPED
    argument = SCAN_ARG.pack(
        SCAN_ARG.size, 0, start, end, 0, ctypes.addressof(vector), length, 0, 0, 0, wanted,
        wanted | IS_FILE | IS_PFNZERO | IS_HUGE,
    )
    return int(fcntl.ioctl(descriptor, PAGEMAP_SCAN, bytearray(argument), True))


def _scan(descriptor: int, start: int, end: int) -> list[Present]:
    """One walk over the addresses [start, end).

    The kernel's `walk_end` lags behind once its buffer was flushed: a full vector is gone on with behind its
    last region.
    """
    vector = ctypes.create_string_buffer(VECTOR * REGION.size)
    found: list[Present] = []
    while True:
        n = _ioctl(descriptor, start, end, vector, VECTOR)
        for a, b, categories in REGION.iter_unpack(memoryview(vector)[: n * REGION.size]):
            if not categories & IS_PFNZERO:
                _append(found, a // PAGE, b // PAGE, bool(categories & IS_FILE), bool(categories & IS_HUGE))
            start = b
        if n < VECTOR:
            return found


def _append(found: list[Present], start: int, stop: int, file: bool, huge: bool) -> None:
    """Add a stretch, or let the last one go on."""
    if found and found[-1].stop == start and found[-1][2:] == (file, huge):
        start = found.pop().start
    found.append(Present(start, stop, file, huge))


def _read(descriptor: int, start: int, stop: int) -> list[Present]:
    """The entries of [start, stop), page by page."""
    import numpy as np

    data = os.pread(descriptor, (stop - start) * 8, start * 8)
    entries = np.frombuffer(data, np.uint64)
    there = (entries >> np.uint64(BIT_SWAPPED)) != 0
    of_file = (entries >> np.uint64(BIT_FILE) & np.uint64(1)) != 0
    state = there * (1 + of_file)
    edges = np.flatnonzero(np.diff(state, prepend=0, append=0))
    found: list[Present] = []
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if state[a]:
            _append(found, start + a, start + b, bool(state[a] == 2), False)
    return found
