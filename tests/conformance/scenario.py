# SPDX-License-Identifier: MIT
"""Scenarios: plain sh, each complete command at the top level a step, with directives in comments."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["HERE", "Scenario", "scenarios"]

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Scenario:
    """A script, its steps and what it says it needs."""

    name: str
    steps: tuple[str, ...]
    topologies: tuple[str, ...]
    needs: frozenset[str]

    @property
    def group(self) -> str:
        """Its first letter: a formats, b placement, c reclaim, d cpusets, e calls, f tools, g the rest."""
        return self.name[0]

    @property
    def inside(self) -> bool:
        """Is it about programs that read the machine's files where those of a host are?"""
        return "tools" in self.needs

    def fixture(self, topology: str) -> str:
        """The machine it runs on."""
        for need in ("swap", "v2"):
            if need in self.needs:
                return f"{topology}-{need}"
        return topology


def read(path: Path) -> Scenario:
    """A scenario's file."""
    text = path.read_text()
    directives = dict(re.findall(r"^# *(topo|needs): *(.*)$", text, re.MULTILINE))
    topologies = directives.get("topo", "seed4").split()
    if topologies == ["all"]:
        topologies = ["seed4", "two", "cxl", "eight"]
    return Scenario(
        path.stem, tuple(_split(text)), tuple(topologies), frozenset(directives.get("needs", "").split())
    )


def _split(text: str) -> list[str]:
    """Complete commands: lines are added until the shell finds no syntax error."""
    steps: list[str] = []
    pending: list[str] = []
    for line in text.splitlines():
        if not pending and (not line.strip() or line.lstrip().startswith("#")):
            continue
        pending.append(line)
        source = "\n".join(pending)
        if not source.endswith("\\") and _complete(source):
            steps.append(source)
            pending = []
    return steps


def _complete(source: str) -> bool:
    if not re.search(r"\b(do|then|case)\b|[{('\"]", source):
        return True
    check = subprocess.run(["busybox", "sh", "-n"], check=False, input=f"{source}\n".encode(), capture_output=True)
    return check.returncode == 0


def scenarios() -> list[Scenario]:
    """All of them, by name."""
    return [read(path) for path in sorted((HERE / "scenarios").glob("*.sh"))]
