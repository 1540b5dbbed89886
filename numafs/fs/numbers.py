# SPDX-License-Identifier: MIT
"""Numbers, switches and words as sysfs files read them: lib/kstrtox.c and lib/string.c (v6.1)."""

from __future__ import annotations

import re

from numafs.kernel.errors import EINVAL, ERANGE

__all__ = ["kstrtobool", "kstrtol", "kstrtoul", "sysfs_word"]

_UNSIGNED = re.compile(rb"\+?(0[xX][0-9a-fA-F]+|[0-9a-fA-F]+)\n?")


def kstrtoul(data: bytes, base: int = 10, limit: int = 2**64 - 1) -> int:
    """An unsigned number of at most `limit`: one optional plus, digits, one optional newline (kstrtoull()).

    Base 0 goes by the prefix: 0x hexadecimal, 0 octal, else decimal.
    """
    text = data.split(b"\0", 1)[0]
    match = _UNSIGNED.fullmatch(text)
    if not match:
        raise EINVAL(f"{text!r} is no unsigned number")
    digits = match[1].lower()
    if digits.startswith(b"0x"):
        if base not in (0, 16):
            raise EINVAL(f"{text!r} is not of base {base}")
        base = 16
    elif base == 0:
        base = 8 if digits.startswith(b"0") else 10
    try:
        value = int(digits, base)
    except ValueError:
        raise EINVAL(f"{text!r} is not of base {base}") from None
    if value > limit:
        raise ERANGE(f"{value} exceeds {limit}")
    return value


def kstrtol(data: bytes, base: int = 10, limit: int = 2**63 - 1) -> int:
    """A signed number between -limit-1 and limit (kstrtoll())."""
    if data.startswith(b"-"):
        if data[1:2] == b"+":
            raise EINVAL(f"{data!r} is no number")
        return -kstrtoul(data[1:], base, limit + 1)
    return kstrtoul(data, base, limit)


def kstrtobool(data: bytes) -> bool:
    """y, Y, 1, on; n, N, 0, off: what follows is not looked at (kstrtobool())."""
    text = data.split(b"\0", 1)[0].lower()
    if text[:1] in (b"y", b"1") or text[:2] == b"on":
        return True
    if text[:1] in (b"n", b"0") or text[:2] == b"of":
        return False
    raise EINVAL(f"{data!r} is neither yes nor no")


def sysfs_word(data: bytes) -> str:
    """The word written, without one trailing newline (sysfs_streq())."""
    return data.split(b"\0", 1)[0].removesuffix(b"\n").decode("ascii", "replace")
