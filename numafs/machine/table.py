# SPDX-License-Identifier: MIT
"""A TOML table being read: hands out values of the type asked for, and refuses keys that nobody asked for.

Every complaint is a `MachineError` with the file, the line and the key.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

from . import units
from .errors import MachineError
from .positions import Path, line_of

__all__ = ["Source", "Table"]


@dataclass(frozen=True)
class Source:
    """Where a table comes from: the file's name, and the lines of its keys."""

    file: str = ""
    lines: dict[Path, int] = field(default_factory=dict)


class Table:
    """One table; `path` is where it stands in its file."""

    def __init__(self, data: dict[str, Any], source: Source, path: Path = ()) -> None:
        self.data = data
        self.source = source
        self.path = path
        self.known: set[str] = set()
        """Keys that were asked for."""

    def __contains__(self, key: str) -> bool:
        self.known.add(key)
        return key in self.data

    def fail(self, key: str, problem: str, hint: str = "") -> NoReturn:
        """Refuse what stands at `key`; an empty key is the table itself."""
        path = (*self.path, key) if key else self.path
        line = line_of(path, self.source.lines)
        raise MachineError(problem, file=self.source.file, line=line, key=dotted(path), hint=hint)

    @contextmanager
    def blaming(self, key: str) -> Iterator[None]:
        """A ValueError inside the block is the fault of what stands at `key`."""
        try:
            yield
        except ValueError as error:
            self.fail(key, str(error))

    def raw(self, key: str) -> Any:
        """The value as TOML has it, None if there is none."""
        self.known.add(key)
        return self.data.get(key)

    def done(self) -> None:
        """Refuse the keys that nobody asked for."""
        for key in self.data:
            if key in self.known:
                continue
            near = difflib.get_close_matches(key, sorted(self.known), 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(sorted(self.known))}"
            self.fail(key, "is not known", hint)

    def text(self, key: str, default: str = "") -> str:
        """A string."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, str):
            self.fail(key, f"is {toml_type(value)}, but should be a text")
        return value

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        """One of a few words."""
        word = self.text(key, default)
        if word not in choices:
            near = difflib.get_close_matches(word, choices, 1)
            self.fail(key, f"{word!r} is none of {', '.join(choices)}", f"did you mean {near[0]!r}?" if near else "")
        return word

    def flag(self, key: str, default: bool = False) -> bool:
        """true or false."""
        value = self.raw(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.fail(key, f"is {toml_type(value)}, but should be true or false")
        return value

    def integer(self, key: str, default: int = 0, *, low: int = 0, high: int = 1 << 60) -> int:
        """A whole number within bounds."""
        value = self.raw(key)
        if value is None:
            return default
        return self.bounded(key, value, low, high)

    def bounded(self, key: str, value: Any, low: int, high: int) -> int:
        """`value` if it is a whole number within bounds."""
        if not isinstance(value, int) or isinstance(value, bool):
            self.fail(key, f"is {toml_type(value)}, but should be a whole number")
        if not low <= value <= high:
            self.fail(key, f"{value} is out of range", f"from {low}" + (f" to {high}" if high < 1 << 60 else ""))
        return value

    def size(self, key: str, default: int = 0) -> int:
        """Bytes of "512M"; 0 needs no unit."""
        return self.quantity(key, default, units.size_bytes, '"512M" or "2GiB"')

    def duration(self, key: str, default: int) -> int:
        """Nanoseconds of "80us"."""
        return self.quantity(key, default, units.time_ns, '"90ns" or "80us"')

    def bandwidth(self, key: str, default: int) -> int:
        """MB/s of "10GB/s"."""
        return self.quantity(key, default, units.bandwidth_mb_s, '"500MB/s" or "20GB/s"')

    def quantity(self, key: str, default: int, parse: Callable[[str], int], example: str) -> int:
        """A number with a unit."""
        value = self.raw(key)
        if value is None:
            return default
        if value == 0 and not isinstance(value, bool):
            return 0
        if not isinstance(value, str):
            self.fail(key, f"is {toml_type(value)}, but needs a unit", f"write {example}")
        with self.blaming(key):
            return parse(value)

    def pages(self, key: str, page_size: int, default: int = 0) -> int:
        """A count of pages, or a size such as "4M" that is a whole number of them."""
        value = self.raw(key)
        if not isinstance(value, str):
            return self.integer(key, default)
        size = self.size(key)
        if size % page_size:
            self.fail(key, f"{value!r} is no multiple of the page size, {units.size_text(page_size)}")
        return size // page_size

    def numbers(self, key: str) -> tuple[int, ...]:
        """Numbers of "0-3,8", of [0, 1] or of one number."""
        value = self.raw(key)
        if isinstance(value, str):
            with self.blaming(key):
                value = units.parse_list(value)
        items = value if isinstance(value, list) else [] if value is None else [value]
        return tuple(self.bounded(key, item, 0, units.LIST_MAX) for item in items)

    def table(self, key: str) -> Table:
        """A table; an absent one is empty."""
        value = self.raw(key)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            self.fail(key, f"is {toml_type(value)}, but should be a table", f"write it as [{key}]")
        return Table(value, self.source, (*self.path, key))

    def tables(self, key: str) -> list[Table]:
        """An array of tables; an absent one is empty."""
        value = self.raw(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            self.fail(key, f"is {toml_type(value)}, but should be an array of tables", f"write each as [[{key}]]")
        return [Table(item, self.source, (*self.path, key, index)) for index, item in enumerate(value)]


def toml_type(value: Any) -> str:
    """What TOML calls the type of `value`."""
    names = {str: "a text", bool: "true or false", int: "a whole number", float: "a fraction", list: "an array"}
    return names.get(type(value), "a table" if isinstance(value, dict) else "a date or time")


def dotted(path: Path) -> str:
    """A path as people write it: `node[2].memory`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
