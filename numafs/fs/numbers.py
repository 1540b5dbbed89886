# SPDX-License-Identifier: MIT
"""Numbers, switches and words as sysfs files read them: lib/kstrtox.c and lib/string.c (v6.1)."""

from __future__ import annotations

import re

from numafs.kernel.errors import EINVAL, ERANGE

__all__ = ["kstrtobool", "kstrtol", "kstrtoul", "memparse", "sysfs_word"]

_DIGITS = {8: re.compile(rb"[0-7]*"), 10: re.compile(rb"[0-9]*"), 16: re.compile(rb"[0-9a-fA-F]*")}


def kstrtoul(data: bytes, base: int = 10, limit: int = 2**64 - 1) -> int:
    """An unsigned number of at most `limit`: one optional plus, digits, one optional newline (kstrtoull()).

    Base 0 goes by the prefix: 0x hexadecimal, 0 octal, else decimal.
    """
    text = data.split(b"\0", 1)[0]
    base, digits, rest = _parse_integer(text.removeprefix(b"+"), base)
    value = int(digits, base) if digits else 0
    if value >= 2**64:
        raise ERANGE(f"{text!r} has more than 64 bits, whatever comes behind")
    if not digits or rest not in (b"", b"\n"):
        raise EINVAL(f"{text!r} is no unsigned number of base {base}")
    if value > limit:
        raise ERANGE(f"{value} exceeds {limit}")
    return value


def _parse_integer(text: bytes, base: int) -> tuple[int, bytes, bytes]:
    """(base, digits of that base, what follows): _parse_integer_fixup_radix(), _parse_integer()."""
    prefixed = re.match(rb"0[xX](?=[0-9a-fA-F])", text)
    if base == 0:
        base = 16 if prefixed else 8 if text.startswith(b"0") else 10
    if base == 16 and text[:2].lower() == b"0x":
        text = text[2:]
    match = _DIGITS[base].match(text)
    digits = match[0] if match else b""
    return base, digits, text[len(digits) :]


def kstrtol(data: bytes, base: int = 10, limit: int = 2**63 - 1) -> int:
    """A signed number between -limit-1 and limit (kstrtoll())."""
    if data.startswith(b"-"):
        if data[1:2] == b"+":
            raise EINVAL(f"{data!r} is no number")
        return -kstrtoul(data[1:], base, limit + 1)
    return kstrtoul(data, base, limit)


def memparse(text: str) -> tuple[int, str]:
    """The size that `text` begins with, with K, M, G, T, P or E behind it, and what follows (lib/cmdline.c)."""
    match = re.match(r"(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9]\d*)([kKmMgGtTpPeE]?)", text)
    if not match:
        raise EINVAL(f"{text!r} begins with no size")
    digits, suffix = match[1].lower(), match[2].upper()
    base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
    return int(digits, base) << 10 * (" KMGTPE".index(suffix) if suffix else 0), text[match.end() :]


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
