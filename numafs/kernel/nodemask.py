# SPDX-License-Identifier: MIT
"""Sets of nodes and of CPUs, as the kernel's bitmaps: an int, bit n for member n.

include/linux/nodemask.h and lib/bitmap.c (v6.1). Only the arithmetic, the printed form and
the parser of what users write are here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from .errors import EINVAL, EOVERFLOW, ERANGE

__all__ = [
    "Mask", "fold", "hex_mask", "list_text", "mask_of", "members", "next_member_in", "nth", "onto", "parse_hex",
    "parse_list", "position", "remap", "weight",
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


_BLANKS = " \t\n\v\f\r\xa0"
_SEPARATORS = (*_BLANKS, ",")
_DIGITS = "0123456789"
_UINT = (1 << 32) - 1


def parse_hex(text: str, bits: int) -> Mask:
    """The set written as `f0` or `1,00000000`: groups of up to 8 hex digits, the last one lowest, within `bits` bits.

    What follows a newline is ignored. Raises OSError with EINVAL (grammar) or EOVERFLOW (too many digits or bits).
    lib/bitmap.c:bitmap_parse() (v6.1).
    """
    mask = 0
    for k, group in enumerate(reversed(re.split(r"[,\s]+", text.split("\n", 1)[0].strip(", \t\r\v\f")))):
        if not group and not k:
            return 0
        if not re.fullmatch(r"[0-9a-fA-F]+", group):
            raise EINVAL(f"{group!r} is no group of hexadecimal digits")
        if len(group) > 8 or 32 * k >= bits:
            raise EOVERFLOW(f"{text!r} has more than {bits} bits")
        mask |= int(group, 16) << 32 * k
    if mask >> bits:
        raise EOVERFLOW(f"{text!r} has more than {bits} bits")
    return mask


def parse_list(text: str, bits: int) -> Mask:
    """The set written as `0-3,5` or `0-7:2/4`, within `bits` bits.

    Raises OSError with EINVAL (grammar), ERANGE (a number of `bits` or more) or EOVERFLOW
    (more than 32 bits). lib/bitmap.c:bitmap_parselist() (v6.1).
    """
    mask = 0
    at: int | None = 0
    while at is not None:
        while _at(text, at) in _SEPARATORS:
            at += 1
        if not _at(text, at):
            break
        start, end, used, group, at = _parse_region(text, at, bits - 1)
        if start > end or group == 0 or used > group:
            raise EINVAL(f"bad region in list {text!r}")
        if end >= bits:
            raise ERANGE(f"{end} in list {text!r} is beyond {bits - 1}")
        for first in range(start, end + 1, group):
            mask |= (1 << min(end - first + 1, used)) - 1 << first
    return mask


def _at(text: str, at: int) -> str:
    return text[at : at + 1]


def _parse_region(text: str, at: int, last: int) -> tuple[int, int, int, int, int | None]:
    """(start, end, used, group, where to go on) of the region at `at`; None: the input ends behind it.

    A newline directly behind a region without a group ends the input (bitmap_parse_region).
    """
    if text[at : at + 3].lower() == "all":
        start, end, at = 0, last, at + 3
    else:
        start, at = _parse_number(text, at, last)
        end = start
        if _at(text, at) and _at(text, at) not in _SEPARATORS:
            end, at = _parse_number(text, _expect(text, at, "-"), last)
    if _at(text, at) and _at(text, at) not in _SEPARATORS:
        used, at = _parse_number(text, _expect(text, at, ":"), last)
        group, at = _parse_number(text, _expect(text, at, "/"), last)
        return start, end, used, group, at
    whole = end + 1 & _UINT
    return start, end, whole, whole, None if _at(text, at) in ("", "\n") else at


def _parse_number(text: str, at: int, last: int) -> tuple[int, int]:
    """A decimal number, or `N` for the highest; and the position behind it (bitmap_getnum)."""
    if _at(text, at) == "N":
        return last, at + 1
    stop = at
    while _at(text, stop) and text[stop] in _DIGITS:
        stop += 1
    if stop == at:
        raise EINVAL(f"no number at {text[at:]!r} in list")
    number = int(text[at:stop].lstrip("0")[:20] or "0")
    if number > _UINT:
        raise EOVERFLOW(f"{text[at:stop]} in list has more than 32 bits")
    return number, stop


def _expect(text: str, at: int, character: str) -> int:
    if _at(text, at) != character:
        raise EINVAL(f"{text[at:]!r} in list where {character!r} was expected")
    return at + 1
