# SPDX-License-Identifier: MIT
"""Quantities as people write them: `512M`, `2GiB`, `80us`, `10GB/s`, `0-3,8`.

Memory counts in powers of two whichever way it is spelled (`MB` means MiB), as in QEMU and
on the kernel's command line; bandwidths count in powers of ten, as on a data sheet. A value
that makes no sense raises ValueError with what is wrong; `numafs.machine.table` says where.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

__all__ = [
    "bandwidth_mb_s", "bandwidth_text", "list_text", "parse_list", "size_bytes", "size_text", "time_ns", "time_text",
]

SIZES = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
TIMES = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
RATES = {"MB/s": 1, "GB/s": 1_000, "TB/s": 1_000_000}
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(B|([KMGTP])(?:i?B)?)", re.IGNORECASE)
NUMBER = re.compile(r"(\d+(?:\.\d+)?)\s*(\S*)")
RANGE = re.compile(r"(\d+)(?:-(\d+))?")
LIST_MAX = 1 << 20
"""Beyond any mask of CPUs, nodes or blocks: a range this long is a slip of the finger."""


def size_bytes(text: str) -> int:
    """Bytes of `512M`, `2GiB`, `1.5G`, `64k`."""
    match = SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f'{text!r} is no size, such as "512M" or "2GiB"')
    number, unit, letter = match.groups()
    return whole(text, number, SIZES[(letter or unit).upper()])


def time_ns(text: str) -> int:
    """Nanoseconds of `90ns`, `80us`, `5ms`, `1s`."""
    return scaled(text, TIMES, 'a time, such as "90ns" or "80us"')


def bandwidth_mb_s(text: str) -> int:
    """Megabytes (10**6) a second of `500MB/s`, `10GB/s`."""
    return scaled(text, RATES, 'a bandwidth, such as "500MB/s" or "20GB/s"')


def scaled(text: str, units: dict[str, int], what: str) -> int:
    """The number before one of `units`, times the unit."""
    match = NUMBER.fullmatch(text.strip())
    if match is None or match[2] not in units:
        raise ValueError(f"{text!r} is not {what}")
    return whole(text, match[1], units[match[2]])


def whole(text: str, number: str, unit: int) -> int:
    """`number` units, if that is a whole number of the smallest one."""
    value = Fraction(number) * unit
    if value.denominator != 1:
        raise ValueError(f"{text!r} is not a whole number")
    return value.numerator


def parse_list(text: str) -> list[int]:
    """Numbers of `0-3,8`, in the order given; an empty text is an empty list."""
    numbers: list[int] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        match = RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f'{text!r} is no list of numbers, such as "0-3,8"')
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last > LIST_MAX:
            raise ValueError(f"{part!r} is no range of numbers from the smaller to the larger, below {LIST_MAX}")
        numbers.extend(range(first, last + 1))
    return numbers


def size_text(size: int) -> str:
    """The shortest exact way to write a size: `512M`."""
    for letter in "PTGMK":
        if size and size % SIZES[letter] == 0:
            return f"{size // SIZES[letter]}{letter}"
    return f"{size}B"


def time_text(ns: int) -> str:
    """The shortest exact way to write a time: `80us`."""
    for unit in ("s", "ms", "us"):
        if ns and ns % TIMES[unit] == 0:
            return f"{ns // TIMES[unit]}{unit}"
    return f"{ns}ns"


def bandwidth_text(mb_s: int) -> str:
    """The shortest exact way to write a bandwidth: `20GB/s`."""
    return f"{mb_s // 1000}GB/s" if mb_s and mb_s % 1000 == 0 else f"{mb_s}MB/s"


def list_text(numbers: Iterable[int]) -> str:
    """`0-3,8`: neighbours in a row become a range; `parse_list` gives the same numbers back."""
    spans: list[tuple[int, int]] = []
    for number in numbers:
        if spans and spans[-1][1] == number - 1:
            spans[-1] = (spans[-1][0], number)
        else:
            spans.append((number, number))
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in spans)
