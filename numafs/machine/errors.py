# SPDX-License-Identifier: MIT
"""The one thing that goes wrong with a machine file: it says something that no machine is."""

from __future__ import annotations

__all__ = ["MachineError"]


class MachineError(Exception):
    """Says where (file, line, key), what is wrong there, and what would be right."""

    def __init__(self, problem: str, *, file: str = "", line: int = 0, key: str = "", hint: str = "") -> None:
        self.file = file
        self.line = line
        self.key = key
        self.problem = problem
        self.hint = hint
        place = f"{file}:{line}" if file and line else file
        super().__init__(": ".join(part for part in (place, key, problem) if part) + (f"; {hint}" if hint else ""))
