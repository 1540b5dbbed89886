# SPDX-License-Identifier: MIT
"""Collects docs/fidelity.md: what the model leaves out, from the docstrings that say so.

Run it with `make docs`; a test compares the file with what this would write.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

__all__ = ["TARGET", "fidelity"]

HERE = Path(__file__).parent
PACKAGE = HERE.parent / "numafs"
TARGET = HERE / "fidelity.md"
BY_HAND = HERE / "fidelity-notes.md"
"""What is written by hand: scores and misses that are no sentence of a docstring."""
HEAD = """\
# Fidelity

Where numafs is simpler than Linux 6.1, module by module. Collected by `make docs` from the sentences that begin
with `Simplified:` in the source, so that what is left out is said where it is left out.
"""


def fidelity() -> str:
    """The text of docs/fidelity.md."""
    parts = [HEAD]
    for path in sorted(PACKAGE.rglob("*.py")):
        sentences = list(simplified(path.read_text(encoding="utf-8")))
        if sentences:
            parts.append(f"## {path.relative_to(PACKAGE.parent)}\n")
            parts.append("".join(f"- {where}{sentence}\n" for where, sentence in sentences))
    if BY_HAND.exists():
        parts.append(BY_HAND.read_text(encoding="utf-8"))
    return "\n".join(parts)


def simplified(source: str) -> Iterator[tuple[str, str]]:
    """Where in a module something is simplified (`function(): `, or nothing), and how."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        where = "" if isinstance(node, ast.Module) else f"`{node.name}`: "
        for sentence in re.findall(r"Simplified: (.*?)(?=\n\s*\n|\Z)", ast.get_docstring(node) or "", re.DOTALL):
            yield where, " ".join(sentence.split())


if __name__ == "__main__":
    TARGET.write_text(fidelity(), encoding="utf-8")
    sys.stdout.write(f"{TARGET.relative_to(HERE.parent)} is up to date\n")
