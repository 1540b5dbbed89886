# SPDX-License-Identifier: MIT
"""The grammar of task verbs: what may follow a verb, said by its usage line.

`R [OFF LEN] [--touch] [--mbind SPEC] [sync]` reads: a region, perhaps an offset and a length, a
flag, an option with a value, a keyword. Words in capitals name kinds of values, and `KINDS`
says how each is read. Nothing here knows of a kernel, and nothing is done before the whole line
has been understood.
"""

from __future__ import annotations

import errno
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numafs.kernel.nodemask import Mask

__all__ = [
    "KINDS", "MODES", "MODE_FLAGS", "QUERY", "Grammar", "PolicySpec", "Verb", "bad", "doing", "node_list",
    "policy_spec", "size", "split_line",
]

QUERY = -2
"""What `NODE|query` is for `query`."""

MODES = ("default", "preferred", "bind", "interleave", "local", "preferred-many", "weighted-interleave")
MODE_FLAGS = {"static": 1 << 15, "relative": 1 << 14, "balancing": 1 << 13}
MAXNODE = 1024


def bad(why: str) -> OSError:
    """A line that cannot be understood."""
    return OSError(errno.EINVAL, why)


@contextmanager
def doing(what: str) -> Iterator[None]:
    """Let an error say what failed, as perror(3) does: `set_mempolicy: Invalid argument: ...`."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{what}: {error.strerror}") from error


class PolicySpec(NamedTuple):
    """`bind=static:0-2`: the arguments of set_mempolicy(2)."""

    mode: int
    nodes: Mask | None
    """None: a null pointer was given for the nodes."""


def size(text: str) -> int:
    """Bytes: `4096`, `0x1000`, `300M`, `2g`, or pages as `16p` (of 4 KiB)."""
    match = re.fullmatch(r"(0[xX][0-9a-fA-F]+|\d+)([kKmMgGp]?)", text)
    if not match:
        raise bad(f"bad size '{text}'")
    digits, unit = match.groups()
    base = 8 if re.fullmatch(r"0[0-7]+", digits) else 0
    try:
        number = int(digits, base)
    except ValueError:
        raise bad(f"bad size '{text}'") from None
    return number << {"": 0, "k": 10, "m": 20, "g": 30, "p": 12}[unit.lower()]


def number(text: str) -> int:
    """A whole number, decimal or hexadecimal, that may be negative."""
    try:
        return int(text, 0) if not re.fullmatch(r"-?0\d+", text) else int(text)
    except ValueError:
        raise bad(f"bad number '{text}'") from None


def node_list(text: str, what: str = "node") -> Mask:
    """`0-2,5`, or `none`, as a set of numbers below 1024."""
    mask = 0
    for part in text.removesuffix(",").split(",") if text not in ("", "none") else ():
        match = re.fullmatch(r"(\d{1,20})(?:-(\d{1,20}))?", part)
        if not match:
            raise bad(f"bad {what} list '{text}'")
        first, last = int(match[1]), int(match[2] or match[1])
        if last >= MAXNODE:
            raise bad(f"bad {what} list '{text}'")
        for member in range(first, last + 1):
            mask |= 1 << member
    return mask


def cpu_list(text: str) -> Mask:
    """`0-2,5` as a set of CPUs."""
    return node_list(text, "cpu")


def policy_spec(text: str) -> PolicySpec:
    """`MODE[=FLAG+FLAG][:NODES]`; the mode by its name or its number."""
    head, colon, nodes = text.partition(":")
    name, equals, flags = head.partition("=")
    mode = 0
    for flag in flags.split("+") if equals else ():
        if flag not in MODE_FLAGS:
            raise bad(f"bad policy flag '{flag}'")
        mode |= MODE_FLAGS[flag]
    if name.isdecimal() and len(name) <= 20:
        mode |= int(name)
    elif name in MODES:
        mode |= MODES.index(name)
    else:
        raise bad(f"bad policy mode '{name}'")
    return PolicySpec(mode, node_list(nodes) if colon else None)


def node_or_query(text: str) -> int:
    """A node, or QUERY for `query`."""
    return QUERY if text == "query" else number(text)


KINDS: dict[str, Callable[[str], Any]] = {
    "ADJ": number, "ADVICE": str, "BLOCK": number, "CACHE": str, "COUNT": number, "DEVICE": str, "FLAGS": number,
    "LEN": size, "LIST": cpu_list, "MAXNODE": number, "N": number, "NAME": str, "NEW": node_list, "NODE": number,
    "NODE|query": node_or_query, "OFF": size, "OLD": node_list, "ORDER": number, "PAGE": number, "PATH": str,
    "PID": number, "R": number, "SECONDS": number, "SIZE": size, "SPEC": policy_spec, "STRIDE": number, "VERB": str,
}
"""How the value named by a word in capitals is read."""


class Option(NamedTuple):
    """`--name VALUE`; without a kind, a flag."""

    key: str
    kind: str


@dataclass
class Grammar:
    """What a usage line allows."""

    usage: str
    required: list[str] = field(default_factory=list)
    optional: list[list[str]] = field(default_factory=list)
    """Groups that come together or not at all, in order."""
    options: dict[str, Option] = field(default_factory=dict)
    keywords: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for part in re.findall(r"\[[^]]*\]|\S+", self.usage):
            self._declare(part)

    def _declare(self, part: str) -> None:
        if not part.startswith("["):
            self.required.append(part)
            return
        words = part[1:-1].split()
        if words[0].startswith("--"):
            self.options[words[0]] = Option(words[0][2:], words[1] if len(words) > 1 else "")
        elif words[0].islower():
            self.keywords.add(words[0])
        else:
            self.optional.append(words)

    def parse(self, verb: str, words: Sequence[str]) -> dict[str, Any]:
        """The values in `words` by their names in small letters, options in the order given; raises EINVAL."""
        values: dict[str, Any] = {}
        plain: list[str] = []
        rest = iter(words)
        for word in rest:
            if word in self.options:
                self._option(verb, word, rest, values)
            elif word in self.keywords:
                values[word] = True
            elif word.startswith("--"):
                raise bad(f"{verb}: bad argument '{word}'")
            else:
                plain.append(word)
        self._positional(verb, plain, values)
        return values

    def take_options(self, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
        """The options of this grammar among `words`, and the other words."""
        values: dict[str, Any] = {}
        others = []
        rest = iter(words)
        for word in rest:
            if word in self.options:
                self._option("task", word, rest, values)
            else:
                others.append(word)
        return values, others

    def _option(self, verb: str, word: str, rest: Any, values: dict[str, Any]) -> None:
        option = self.options[word]
        if not option.kind:
            values[option.key] = True
            return
        value = next(rest, None)
        if value is None:
            raise bad(f"{verb}: {word} needs a value")
        values[option.key] = KINDS[option.kind](value)

    def _positional(self, verb: str, plain: list[str], values: dict[str, Any]) -> None:
        names = list(self.required)
        if len(plain) < len(names):
            raise bad(f"{verb}: no {_spoken(names[len(plain)])}")
        for group in self.optional:
            if len(plain) >= len(names) + len(group):
                names += group
        if len(plain) > len(names):
            raise bad(f"{verb}: bad argument '{plain[len(names)]}'")
        for name, word in zip(names, plain, strict=True):
            values[name.lower().partition("|")[0]] = KINDS[name](word)


def _spoken(kind: str) -> str:
    return {"R": "region", "N": "number of pages", "NODE|query": "node", "SPEC": "policy"}.get(kind, kind.lower())


def split_line(text: str) -> list[list[str]]:
    """The commands of a text, as words: they end with a newline or a `;` that stands alone or ends a word."""
    commands: list[list[str]] = []
    for line in text.split("\n"):
        lexer = shlex.shlex(line, posix=True, punctuation_chars=";")
        lexer.whitespace_split = True
        lexer.commenters = "#"
        words: list[str] = []
        try:
            for word in lexer:
                if set(word) == {";"}:
                    commands.append(words)
                    words = []
                else:
                    words.append(word)
        except ValueError as error:
            raise bad(f"{line.strip()}: {error}") from None
        commands.append(words)
    return [words for words in commands if words]


@dataclass(frozen=True)
class Verb:
    """One row of the table: what may be said, what it is for, and the function that does it."""

    name: str
    usage: str
    help: str
    do: Callable[..., str]
    """Called with the kernel, the task and the values of the line by name; returns the reply."""

    @property
    def grammar(self) -> Grammar:
        """Its usage line, understood."""
        return Grammar(self.usage)
