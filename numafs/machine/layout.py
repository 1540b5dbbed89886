# SPDX-License-Identifier: MIT
"""From the size of each node to its zones, memory blocks and what is in use after boot.

arch/x86/mm/{init,init_64}.c, mm/page_alloc.c:free_area_init() (v6.1). Nodes lie one behind the
other in physical memory, from 0 up, as QEMU and most firmware place them.

Simplified: what the kernel reserves at boot is a rule of thumb here (page structs, a kernel image
on the first node, a fixed share for each node; on 32 bits, HighMem pays for its own page structs);
a machine file can give zones to the page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .spec import BootUse, Zone

__all__ = ["ARCHES", "Arch", "block_size", "blocks_of", "boot_use", "place", "zones_of"]

MIB = 1 << 20
GIB = 1 << 30
Extent = tuple[int, int]
"""First page frame, and the first one behind it."""


@dataclass(frozen=True)
class Arch:
    """What of a machine's layout its architecture decides."""

    zone_types: tuple[str, ...]
    limits: tuple[tuple[str, int], ...]
    """Address below which each type of zone ends, ascending; the last one takes the rest."""
    highmem: str | None
    page_sizes: tuple[int, ...]
    """The first is the usual one."""
    section_bytes: int
    page_struct_bytes: int
    low_hole: Extent | None = None
    """Page frames near 0 that no memory map offers."""


ARCHES = {
    "x86_64": Arch(
        zone_types=("DMA", "DMA32", "Normal", "Movable", "Device"),
        limits=(("DMA", 16 * MIB), ("DMA32", 4 * GIB), ("Normal", 1 << 63)),
        highmem=None, page_sizes=(4096, 16384), section_bytes=128 * MIB, page_struct_bytes=64, low_hole=(0x9F, 0x100),
    ),
    "i686": Arch(
        zone_types=("DMA", "Normal", "HighMem", "Movable"),
        limits=(("DMA", 16 * MIB), ("Normal", 896 * MIB), ("HighMem", 1 << 63)),
        highmem="HighMem", page_sizes=(4096,), section_bytes=512 * MIB, page_struct_bytes=32, low_hole=(0x9F, 0x100),
    ),
    "ia64": Arch(
        zone_types=("DMA32", "Normal", "Movable"),
        limits=(("DMA32", 4 * GIB), ("Normal", 1 << 63)),
        highmem=None, page_sizes=(16384, 4096), section_bytes=GIB, page_struct_bytes=64,
    ),
}

KERNEL_IMAGE_BYTES = 32 * MIB
DMA_RESERVED = 95
"""Pages below 16 MiB that x86 keeps: trampolines, tables of the firmware."""
BOOT_FIRST = {
    "anon": 512, "file": 2048, "slab_reclaimable": 512, "slab_unreclaimable": 1024, "page_tables": 64,
    "kernel_stack": 144, "kernel": 4096,
}
BOOT_OTHER = {"slab_reclaimable": 128, "slab_unreclaimable": 640, "kernel_stack": 112, "kernel": 1536}


def place(sizes: Sequence[int], page_size: int, pci_hole_bytes: int = 0) -> list[list[Extent]]:
    """Extents of nodes of `sizes` bytes, one behind the other; memory that would lie in the
    `pci_hole_bytes` below 4 GiB goes above 4 GiB instead."""
    hole = (4 * GIB - pci_hole_bytes, 4 * GIB)
    extents: list[list[Extent]] = []
    at = 0
    for size in sizes:
        own: list[Extent] = []
        while size:
            if hole[0] <= at < hole[1]:
                at = hole[1]
            stop = min(at + size, hole[0]) if at < hole[0] else at + size
            own.append((at // page_size, stop // page_size))
            size -= stop - at
            at = stop
        extents.append(own)
    return extents


def zones_of(
    arch: Arch, extents: Sequence[Extent], page_size: int, *, first: bool = False, movable: int = 0
) -> tuple[Zone, ...]:
    """The zones of a node with these extents. Its last `movable` pages are ZONE_MOVABLE; the `first` node
    with memory holds the kernel image."""
    low, movable = cut_movable(extents, movable)
    bounds = [0, *(limit // page_size for _, limit in arch.limits)]
    shares = [
        (type_, within(low, bounds[index], bounds[index + 1])) for index, (type_, _) in enumerate(arch.limits)
    ]
    shares.append(("Movable", within(extents, low[-1][1] if low else 0, 1 << 63) if movable else []))
    zones = [zone(arch, type_, share, page_size) for type_, share in shares if share]
    return tuple(with_kernel_image(zones, arch, page_size) if first else zones)


def cut_movable(extents: Sequence[Extent], movable: int) -> tuple[list[Extent], int]:
    """The extents without their last `movable` pages, and how many pages were cut."""
    rest, left = list(extents), movable
    while left and rest:
        start, stop = rest.pop()
        taken = min(left, stop - start)
        left -= taken
        if taken < stop - start:
            rest.append((start, stop - taken))
    return rest, movable - left


def within(extents: Iterable[Extent], start: int, stop: int) -> list[Extent]:
    """The parts of `extents` in [start, stop)."""
    cut = ((max(first, start), min(last, stop)) for first, last in extents)
    return [(first, last) for first, last in cut if first < last]


def zone(arch: Arch, type_: str, extents: Sequence[Extent], page_size: int) -> Zone:
    """One zone of what is left of `extents` when the firmware's low pages and the page structs are taken."""
    start, stop = extents[0][0], extents[-1][1]
    present = sum(last - first for first, last in extents)
    reserved = 0
    if start == 0 and arch.low_hole is not None:
        start = 1
        first, last = arch.low_hole
        present -= 1 + max(0, min(last, stop) - first)
        reserved = min(DMA_RESERVED, present // 16)
    reserved += -(-present * arch.page_struct_bytes // page_size)
    if type_ != "DMA":
        reserved += min(present // 512, 168)
    return Zone(type_, start, stop - start, present, present - reserved)


def with_kernel_image(zones: list[Zone], arch: Arch, page_size: int) -> list[Zone]:
    """The zones, with the kernel image taken from the largest that the kernel itself can use."""
    usable = [index for index, each in enumerate(zones) if each.type not in (arch.highmem, "Movable")]
    if not usable:
        return zones
    at = max(usable, key=lambda index: zones[index].managed)
    old = zones[at]
    image = min(KERNEL_IMAGE_BYTES // page_size, old.managed // 16)
    zones[at] = Zone(old.type, old.start_pfn, old.spanned, old.present, old.managed - image)
    return zones


def block_size(arch: Arch, total_bytes: int) -> int:
    """Bytes of a memory block: arch/x86/mm/init_64.c:probe_memory_block_size() on bare metal (v6.1)."""
    if arch is ARCHES["x86_64"] and total_bytes >= 64 * GIB:
        return 2 * GIB
    return arch.section_bytes


def blocks_of(extents: Iterable[Extent], page_size: int, block_bytes: int) -> tuple[int, ...]:
    """Numbers of the memory blocks that hold pages of `extents`."""
    pages = block_bytes // page_size
    return tuple(sorted({block for start, stop in extents for block in range(start // pages, (stop - 1) // pages + 1)}))


def boot_use(arch: Arch, zones: Sequence[Zone], page_size: int, *, first: bool) -> BootUse:
    """What a small system holds after boot: most of it on the `first` node, next to nothing on a small one,
    nothing where the kernel's own allocations cannot go."""
    room = sum(each.managed for each in zones if each.type not in (arch.highmem, "Movable")) // 32
    amounts = BOOT_FIRST if first else BOOT_OTHER
    return BootUse(**{use: min(pages * 4096 // page_size, room) for use, pages in amounts.items()}, free={})
