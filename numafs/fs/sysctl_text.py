# SPDX-License-Identifier: MIT
"""How a sysctl file reads numbers: kernel/sysctl.c:{proc_get_long,__do_proc_dointvec}() (v6.1).

The grammar is not that of sysfs: blanks may stand in front, what follows the numbers that are
wanted is not looked at, and a file without any number is refused.

Simplified: a write with more than is wanted takes all of it, where the kernel takes the first part.
"""

from __future__ import annotations

import re

from numafs.kernel.errors import EINVAL

__all__ = ["INT_MAX", "get_int", "get_ints", "get_ulong"]

INT_MAX = 2**31 - 1
_BLANKS = b" \t\n\v\f\r"
_NUMBER = re.compile(rb"(-?)(0[xX][0-9a-fA-F]+|[0-9]+)")
_LONGEST = 20
"""Digits and sign that fit the kernel's buffer (TMPBUFLEN), so that it knows what follows."""


def get_long(text: bytes) -> tuple[int, bytes]:
    """The number that `text` begins with, and what follows it. kernel/sysctl.c:proc_get_long() (v6.1)."""
    match = _NUMBER.match(text)
    if not match or len(match[0]) > _LONGEST:
        raise EINVAL(f"{text[:40]!r} is no number")
    rest = text[match.end() :]
    if rest[:1] not in (b"", b" ", b"\t", b"\n"):
        raise EINVAL(f"{text[:40]!r} has something behind its number")
    digits = match[2].lower()
    base = 16 if digits.startswith(b"0x") else 8 if digits.startswith(b"0") else 10
    try:
        value = int(digits, base)
    except ValueError:
        raise EINVAL(f"{digits!r} is no octal number") from None
    if value >= 2**64:
        raise EINVAL(f"{value} is more than 64 bits")
    return -value if match[1] else value, rest


def get_int(data: bytes, low: int | None = None, high: int | None = None) -> int:
    """One int in [low, high]."""
    return get_ints(data, 1, low, high)[0]


def get_ints(data: bytes, count: int, low: int | None = None, high: int | None = None) -> list[int]:
    """Up to `count` ints in [low, high]: those before the first that is wrong.

    Raises EINVAL if there is not even one. kernel/sysctl.c:__do_proc_dointvec() (v6.1).
    """
    out: list[int] = []
    rest = data[:4095].lstrip(_BLANKS)
    while rest and len(out) < count:
        try:
            value, rest = get_long(rest)
            check_range(value, low, high)
        except OSError:
            if not out:
                raise
            return out
        out.append(value)
        rest = rest.lstrip(_BLANKS)
    if not out:
        raise EINVAL("no number")
    return out


def check_range(value: int, low: int | None, high: int | None) -> None:
    """Is `value` an int, and in its range (do_proc_dointvec_minmax_conv)?"""
    if not -INT_MAX - 1 <= value <= INT_MAX:
        raise EINVAL(f"{value} is no int")
    if low is not None and value < low:
        raise EINVAL(f"{value} is below {low}")
    if high is not None and value > high:
        raise EINVAL(f"{value} is above {high}")


def get_ulong(data: bytes, low: int = 0) -> int | None:
    """An unsigned long, or None for a negative number, which is passed over (do_proc_doulongvec_minmax)."""
    rest = data[:4095].lstrip(_BLANKS)
    if not rest:
        raise EINVAL("no number")
    value, _ = get_long(rest)
    if rest.startswith(b"-"):
        return None
    if value < low:
        raise EINVAL(f"{value} is below {low}")
    return value
