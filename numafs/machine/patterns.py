# SPDX-License-Identifier: MIT
"""Many names in one: `d{0..199}/{a,b}`, as a shell's brace expansion.

Numbers count up or down and keep leading zeros (`{00..15}`); braces don't nest.
"""

from __future__ import annotations

import itertools
import re

__all__ = ["count", "expand"]

BRACES = re.compile(r"\{([^{}]*)\}")
NUMBERS = re.compile(r"(\d+)\.\.(\d+)")


def expand(pattern: str) -> list[str]:
    """Every name that `pattern` stands for, the last brace running fastest; ValueError if it makes no sense."""
    parts = [choices(part) if odd else [part] for odd, part in pieces(pattern)]
    return ["".join(name) for name in itertools.product(*parts)]


def count(pattern: str) -> int:
    """How many names `expand` would return."""
    product = 1
    for odd, part in pieces(pattern):
        product *= len(choices(part)) if odd else 1
    return product


def pieces(pattern: str) -> list[tuple[bool, str]]:
    """The text cut at its braces: (is it the inside of a pair, text)."""
    parts = BRACES.split(pattern)
    for outside in parts[::2]:
        if "{" in outside or "}" in outside:
            raise ValueError("its braces do not match")
    return [(bool(index % 2), part) for index, part in enumerate(parts)]


def choices(inside: str) -> list[str]:
    """What one pair of braces stands for."""
    numbers = NUMBERS.fullmatch(inside)
    if numbers is None:
        if "," not in inside:
            raise ValueError(f"{{{inside}}} is neither a range such as {{0..99}} nor a list such as {{a,b}}")
        names = inside.split(",")
        if len(set(names)) < len(names):
            raise ValueError(f"{{{inside}}} has a name twice")
        return names
    first, last = numbers.groups()
    width = len(first) if first.startswith("0") and len(first) > 1 else 0
    step = 1 if int(first) <= int(last) else -1
    return [f"{number:0{width}}" for number in range(int(first), int(last) + step, step)]
