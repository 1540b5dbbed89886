# SPDX-License-Identifier: MIT
"""Transcripts: a scenario's commands with output, status and errno, and when two of them are equal.

In the output a number is exact, `~N` is compared with a tolerance, `?N` not at all. A command
marked `#~info` is shown but not compared, one marked `#~guest` only ran where the recording was made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Difference", "Step", "compare", "errno_of", "parse", "render", "step_difference"]

PERCENT, ABSOLUTE = 5.0, 2.0
"""How far `~N` may be off: the larger of the two."""

_ERRNO = (
    ("Invalid argument", "EINVAL"), ("No space left on device", "ENOSPC"), ("Permission denied", "EACCES"),
    ("Operation not permitted", "EPERM"), ("Device or resource busy", "EBUSY"), ("Resource busy", "EBUSY"),
    ("Input/output error", "EIO"), ("I/O error", "EIO"), ("Numerical result out of range", "ERANGE"),
    ("No such device or address", "ENXIO"), ("No such device", "ENODEV"), ("No such process", "ESRCH"),
    ("Argument list too long", "E2BIG"), ("File exists", "EEXIST"), ("Directory not empty", "ENOTEMPTY"),
    ("Is a directory", "EISDIR"), ("Not a directory", "ENOTDIR"), ("Bad address", "EFAULT"),
    ("Cannot allocate memory", "ENOMEM"), ("Out of memory", "ENOMEM"), ("Value too large", "EOVERFLOW"),
    ("Operation not supported", "EOPNOTSUPP"), ("No such file or directory", "ENOENT"),
    ("nonexistent directory", "ENOENT"), ("no such file", "ENOENT"),
    ("Resource temporarily unavailable", "EAGAIN"), ("Bad file descriptor", "EBADF"),
    ("Read-only file system", "EROFS"), ("File too large", "EFBIG"), ("Function not implemented", "ENOSYS"),
    ("Text file busy", "ETXTBSY"), ("Interrupted system call", "EINTR"), ("Invalid cross-device link", "EXDEV"),
    ("not found", "ENOTFOUND"),
)


@dataclass
class Step:
    """One command of a scenario, and what came of it."""

    command: str
    output: list[str] = field(default_factory=list)
    status: str = "0"
    errno: str = ""

    @property
    def tag(self) -> str:
        """`guest`, `info` or `quiet`, if it is marked."""
        match = re.search(r"#~(\w+)", self.command)
        return match[1] if match else ""


@dataclass
class Difference:
    """A command that did not do what was recorded."""

    scenario: str
    recorded: Step
    got: Step
    why: str


def errno_of(stderr: str) -> str:
    """The errnos that an error text tells of, one a line."""
    lines = (next((name for text, name in _ERRNO if text in line), "") for line in stderr.splitlines())
    return ",".join(filter(None, lines))


def parse(path: Path) -> list[Step]:
    """The steps of a transcript file."""
    steps: list[Step] = []
    for line in path.read_text(errors="replace").splitlines():
        tag, rest = line[:1], line[2:]
        if tag == "$":
            steps.append(Step(rest))
        elif not steps:
            continue
        elif tag == "+":
            steps[-1].command += f"\n{rest}"
        elif tag == "|":
            steps[-1].output.append(rest)
        elif tag == "=":
            steps[-1].status, _, steps[-1].errno = rest.partition(" ")
    return steps


def render(name: str, steps: Iterable[Step], mode: str = "local") -> str:
    """The text of a transcript."""
    lines = ["# oracle transcript 1", f"# scenario: {name}", f"# mode: {mode}"]
    for step in steps:
        first, *more = step.command.split("\n")
        lines += [f"$ {first}", *(f"+ {line}" for line in more), *(f"| {line}" for line in step.output)]
        lines.append(f"= {step.status} {step.errno}".rstrip())
    return "\n".join(lines) + "\n"


_TOKEN = re.compile(r"([~?]-?\+?\d+(?:\.\d+)?)")


def _lines_equal(a: str, b: str) -> bool:
    parts_a, parts_b = _TOKEN.split(a), _TOKEN.split(b)
    return len(parts_a) == len(parts_b) and all(map(_tokens_equal, parts_a, parts_b))


def _tokens_equal(a: str, b: str) -> bool:
    if a == b:
        return True
    if a[:1] not in ("~", "?") or a[:1] != b[:1] or not (_TOKEN.fullmatch(a) and _TOKEN.fullmatch(b)):
        return False
    if a[0] == "?":
        return True
    x, y = float(a[1:]), float(b[1:])
    return abs(x - y) <= max(ABSOLUTE, PERCENT / 100 * max(abs(x), abs(y)))


def step_difference(a: Step, b: Step) -> str:
    """In what the two differ; empty if in nothing that counts."""
    if a.tag == "info":
        return ""
    failed_alike = (a.status == "0") == (b.status == "0") and a.errno == b.errno
    if not failed_alike or (a.status != b.status and not a.errno):
        return f"status {a.status} {a.errno} / {b.status} {b.errno}"
    if len(a.output) != len(b.output):
        return f"{len(a.output)} / {len(b.output)} lines"
    for x, y in zip(a.output, b.output, strict=True):
        if not _lines_equal(x, y):
            return f"{x!r} / {y!r}"
    return ""


def compare(
    name: str, recorded: Sequence[Step], got: Sequence[Step], again: Sequence[Step] = ()
) -> tuple[int, int, list[Difference]]:
    """(equal, of how many, what differs). A command on which a second recording differs is not counted."""
    unsure = _unsure(recorded, again)
    ours = [i for i, step in enumerate(recorded) if step.tag != "guest"]
    wanted = [(i, recorded[i]) for i in ours if i not in unsure]
    by_place = dict(zip(ours, got, strict=False))
    differences = []
    for i, step in wanted:
        mine = by_place.get(i)
        why = "did not run" if mine is None else step_difference(step, mine)
        if mine is not None and mine.command != step.command:
            why = "another command"
        if why:
            differences.append(Difference(name, step, mine or Step(step.command, status="?"), why))
    return len(wanted) - len(differences), len(wanted), differences


def _unsure(recorded: Sequence[Step], again: Sequence[Step]) -> set[int]:
    """Places of the commands on which two recordings of the same scenario differ."""
    if [step.command for step in recorded] != [step.command for step in again]:
        return set()
    return {i for i, (a, b) in enumerate(zip(recorded, again, strict=True)) if step_difference(a, b)}
