# SPDX-License-Identifier: MIT
"""Machine files: `load` reads one, `dumps` writes one that `loads` reads back as an equal machine.

The comment that begins a file is what the machine is for (`Machine.about`).
A file may name another as its `base`: its own tables are laid over the base's, key by key;
anything that is no table replaces what the base has.
"""

from __future__ import annotations

import itertools
import re
import tomllib
from pathlib import Path
from typing import Any

from .errors import MachineError
from .parse import machine_of
from .positions import positions
from .spec import Machine
from .table import Source, Table
from .write import dumps

__all__ = ["dumps", "load", "loads"]

AT = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)")


def load(path: str | Path) -> Machine:
    """The machine in a file. Raises MachineError, also if the file cannot be read."""
    return loads(read(Path(path)), path)


def loads(text: str, path: str | Path = "") -> Machine:
    """The machine in `text`; `path` is the file it came from, for messages and for its `base`."""
    file = Path(path)
    data, bases = tables(text, file, ())
    try:
        table = Table(data, Source(str(path), positions(text)))
        return machine_of(table, file.stem or "machine", first_comment(text))
    except MachineError:
        for base in bases:
            load(base)  # what is wrong in a base is said of the base
        raise


def first_comment(text: str) -> str:
    """The comment that a file begins with: what the machine is for, unless `about` says it."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    words = (line.lstrip("#").strip() for line in lines)
    return " ".join(line for line in words if line and not line.startswith("SPDX-"))


def read(path: Path) -> str:
    """A file's text."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise MachineError(f"cannot be read: {error.strerror}", file=str(path)) from error
    except UnicodeDecodeError as error:
        raise MachineError("is no UTF-8 text", file=str(path)) from error


def tables(text: str, path: Path, above: tuple[Path, ...]) -> tuple[dict[str, Any], list[Path]]:
    """The text's tables laid over those of its base, and the files it is based on, the lowest first.

    `above` are the files that are based on this one.
    """
    data = parsed(text, path)
    if "base" not in data:
        return data, []
    base = data.pop("base")
    line = positions(text).get(("base",), 0)
    file = (path.parent / base).resolve() if isinstance(base, str) else None
    if file is None or not file.is_file():
        raise MachineError(f"{base!r} is no machine file beside this one", file=str(path), line=line, key="base")
    chain = (*above, path.resolve())
    if file in chain:
        raise MachineError(f"{base!r} is based on this file", file=str(path), line=line, key="base")
    below, bases = tables(read(file), file, chain)
    return overlaid(below, data), [*bases, file]


def parsed(text: str, path: Path) -> dict[str, Any]:
    """tomllib's reading of the text."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = AT.search(str(error))
        line = int(at[1]) if at and at[1] else text.count("\n") + 1
        problem = AT.sub("", str(error))
        raise MachineError(f"is no TOML: {problem}", file=str(path) if path.name else "", line=line) from error


def overlaid(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`: tables merge, everything else replaces."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        result[key] = overlaid(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result
