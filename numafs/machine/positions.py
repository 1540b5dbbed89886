# SPDX-License-Identifier: MIT
"""On which line of a TOML text a key stands: tomllib doesn't say, and an error message should.

Only headers and the keys that begin a line are found; a key inside an inline table is placed
at the key that holds it.
"""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["Path", "line_of", "positions"]

Path = tuple[str | int, ...]
HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]#]+?)\s*\]\]?\s*(#.*)?$")
KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=(.*)$""")
PART = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")
STRING = re.compile(r"""\"(?:[^"\\]|\\.)*"|'[^']*'|\#.*""")


def positions(text: str) -> dict[Path, int]:
    """Line of each table and key; an element of an array of tables is its number in the path."""
    found: dict[Path, int] = {}
    arrays: Counter[Path] = Counter()
    table: Path = ()
    depth = 0
    for number, line in enumerate(text.splitlines(), 1):
        if depth == 0 and (header := HEADER.match(line)):
            table = header_path(header, arrays)
            if header[1] == "[[":
                found.setdefault(table[:-1], number)
            found.setdefault(table, number)
            continue
        value = line
        if depth == 0 and (key := KEY.match(line)):
            found.setdefault(table + key_parts(key[1]), number)
            value = key[2]
        bare = STRING.sub("", value)
        depth = max(0, depth + bare.count("[") + bare.count("{") - bare.count("]") - bare.count("}"))
    return found


def header_path(header: re.Match[str], arrays: Counter[Path]) -> Path:
    """The path of a header line; counts the elements of arrays of tables."""
    path: Path = ()
    parts = key_parts(header[2])
    for part in parts[:-1]:
        path += (part,)
        if arrays[path]:
            path += (arrays[path] - 1,)
    path += (parts[-1],)
    if header[1] == "[[":
        arrays[path] += 1
        path += (arrays[path] - 1,)
    return path


def key_parts(text: str) -> Path:
    """`a."b c".d` as a path."""
    return tuple(part.strip("\"'") for part in PART.findall(text))


def line_of(path: Path, found: dict[Path, int]) -> int:
    """Line of the key at `path`, or of the nearest thing that holds it; 0 if nothing does."""
    while path and path not in found:
        path = path[:-1]
    return found.get(path, 0)
