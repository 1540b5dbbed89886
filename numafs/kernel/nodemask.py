# SPDX-License-Identifier: MIT
"""Sets of nodes and of CPUs, as the kernel's bitmaps: an int, bit n for member n.

include/linux/nodemask.h and lib/bitmap.c (v6.1). Only the arithmetic and the printed forms
are here; parsing what users write, with its errno, is `parse_list`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

__all__ = [
    "Mask", "fold", "hex_mask", "list_text", "mask_of", "members", "next_member_in", "nth", "onto", "parse_list",
    "position", "remap", "weight",
]

Mask = int


def mask_of(numbers: Iterable[int]) -> Mask:
    """The set that holds `numbers`."""
    mask = 0
    for number in numbers:
        mask |= 1 << number
    return mask


def members(mask: Mask) -> Iterator[int]:
    """The members of `mask`, ascending."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def weight(mask: Mask) -> int:
    """How many members `mask` has."""
    return mask.bit_count()


def position(mask: Mask, number: int) -> int:
    """How many members of `mask` are below `number` (bitmap_pos_to_ord)."""
    return (mask & ((1 << number) - 1)).bit_count()


def nth(mask: Mask, n: int) -> int:
    """The n-th member of `mask`, counted from 0 (bitmap_ord_to_pos)."""
    for _ in range(n):
        mask &= mask - 1
    return (mask & -mask).bit_length() - 1


def next_member_in(mask: Mask, after: int) -> int:
    """The first member behind `after`, else the first of all (next_node_in)."""
    above = mask >> (after + 1) << (after + 1)
    chosen = above or mask
    return (chosen & -chosen).bit_length() - 1


def remap(mask: Mask, old: Mask, new: Mask) -> Mask:
    """Each member of `old` in `mask` becomes the member of `new` at its position modulo |new| (bitmap_remap)."""
    if not new:
        return mask
    count = weight(new)
    out = 0
    for number in members(mask):
        out |= 1 << (nth(new, position(old, number) % count) if old >> number & 1 else number)
    return out


def fold(mask: Mask, size: int) -> Mask:
    """Members modulo `size` (bitmap_fold)."""
    return mask_of(number % size for number in members(mask))


def onto(mask: Mask, relmap: Mask) -> Mask:
    """Member n of `mask` becomes the n-th member of `relmap`, if it has that many (bitmap_onto)."""
    count = weight(relmap)
    return mask_of(nth(relmap, number) for number in members(mask) if number < count)


def list_text(mask: Mask) -> str:
    """`0-3,5`: ascending, runs of two and more joined by a dash (`%*pbl`)."""
    parts = []
    while mask:
        start = (mask & -mask).bit_length() - 1
        run = mask >> start
        length = (~run & (run + 1)).bit_length() - 1
        parts.append(str(start) if length == 1 else f"{start}-{start + length - 1}")
        mask &= ~(((1 << length) - 1) << start)
    return ",".join(parts)


def hex_mask(mask: Mask, bits: int) -> str:
    """`00000000,0000000f`: groups of 32 bits, leading zeros kept for `bits` bits (`%*pb`)."""
    groups = []
    while bits > 0:
        width = min(bits % 32 or 32, bits)
        shift = bits - width
        groups.append(f"{mask >> shift & ((1 << width) - 1):0{(width + 3) // 4}x}")
        bits = shift
    return ",".join(groups)


_REGION = re.compile(r"(all|\d+|N)(?:-(\d+|N))?(?::(\d*)/(\d*))?", re.IGNORECASE)


def parse_list(text: str, bits: int) -> Mask:
    """The set written as `0-3,5` or `0-7:2/4`, within `bits` bits.

    Raises OSError with EINVAL (grammar), ERANGE (a number of `bits` or more) or EOVERFLOW
    (more than 32 bits). lib/bitmap.c:bitmap_parselist() (v6.1).
    """
    raise NotImplementedError
