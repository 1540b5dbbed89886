# SPDX-License-Identifier: MIT
"""Which machine a word means: a file, a preset's name, or a short form such as `4x2:512M`."""

from __future__ import annotations

import difflib
import re
from pathlib import Path

from .errors import MachineError
from .spec import Machine
from .toml import load, loads

__all__ = ["FIXTURES", "path_of", "presets", "resolve"]

FIXTURES = Path(__file__).parent.parent / "fixtures"
"""The machine files that come with numafs: fixtures/ of the source tree."""
SHORT = re.compile(r"(\d+)x(\d+):([\w.]+?)(?::([\d,]+))?")


def presets() -> dict[str, Path]:
    """Name and file of each preset; `oracle/two` is a name too."""
    return {str(path.relative_to(FIXTURES).with_suffix("")): path for path in sorted(FIXTURES.rglob("*.toml"))}


def path_of(text: str) -> Path | None:
    """The file that `text` means, None for a short form."""
    if SHORT.fullmatch(text):
        return None
    path = Path(text)
    if path.is_file():
        return path
    found = presets().get(text.removesuffix(".toml"))
    if found is not None:
        return found
    if path.suffix == ".toml" or "/" in text:
        raise MachineError("is not there", file=text)
    near = difflib.get_close_matches(text, presets(), 1)
    hint = f"did you mean {near[0]!r}?" if near else f"presets are {', '.join(presets())}"
    raise MachineError(f"{text!r} is no file, no preset and no short form such as 4x2:512M", hint=hint)


def resolve(text: str) -> Machine:
    """The machine that `text` means. Raises MachineError."""
    path = path_of(text)
    return from_short(text) if path is None else load(path)


def from_short(text: str) -> Machine:
    """NODESxCPUS:MEMORY[:DISTANCES]: so many nodes of so many CPUs and so much memory.

    DISTANCES is one number for all pairs, or one for each number of steps around the ring of nodes:
    `4x2:512M:14,20` is 14 to a neighbour and 20 across.
    """
    match = SHORT.fullmatch(text)
    assert match is not None
    nodes, cpus, memory, steps = match.groups()
    lines = [f'name = "{text}"', f"nodes = {nodes}", f"cpus = {cpus}", f'memory = "{memory}"']
    if steps:
        lines.append(f"distances = {distances_of(text, int(nodes), [int(step) for step in steps.split(',') if step])}")
    try:
        return loads("\n".join(lines))
    except MachineError as error:
        raise MachineError(error.problem, file=text, key=error.key, hint=error.hint) from error


def distances_of(text: str, nodes: int, steps: list[int]) -> int | list[list[int]]:
    """The distances of a short form as a machine file has them."""
    if len(steps) == 1:
        return steps[0]
    if len(steps) != nodes // 2:
        hint = f"a ring of {nodes} nodes has {nodes // 2}: one for each step"
        raise MachineError(f"has {len(steps)} distances", file=text, hint=hint)
    ring = [10, *steps]
    return [[ring[min((a - b) % nodes, (b - a) % nodes)] for b in range(nodes)] for a in range(nodes)]
