# SPDX-License-Identifier: MIT
"""The sessions of the documents run, and print what the documents say.

`python tests/docs/test_readme.py` writes what they print now into them; look at the difference before committing it.
"""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "docs"), str(ROOT)]

from demo import environment  # noqa: E402
from sessions import BLOCK, Command, Shell, parts  # noqa: E402

from numafs.doors.mounting import mounted  # noqa: E402
from numafs.doors.options import parse_options  # noqa: E402

DOCUMENTS = ("README.md",)


def replay(document: str, directory: Path) -> list[tuple[Command, str]]:
    """Run a document's sessions one after another on a fresh ring4: each command, and what it printed."""
    text = (ROOT / document).read_text(encoding="utf-8")
    (directory / "bin").mkdir()
    (directory / "mount").mkdir()
    options = parse_options(["strict,time=step"])
    with (
        mounted("ring4", directory / "mount", options) as root,
        Shell(root, environment(directory / "bin")) as shell,
    ):
        return [(part, shell.run(part.line)) for part in parts(text) if isinstance(part, Command)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_session_prints_what_the_document_says(document: str, fuse: None, tmp_path: Path) -> None:
    done = replay(document, tmp_path)
    assert len(done) > 30
    assert [(command.line, printed) for command, printed in done] == [
        (command.line, command.output) for command, _ in done
    ]


def rewrite(document: str) -> None:
    """Put into a document what its commands print now."""
    with tempfile.TemporaryDirectory() as directory:
        done = iter(replay(document, Path(directory)))
    text = (ROOT / document).read_text(encoding="utf-8")

    def block(match: re.Match[str]) -> str:
        count = sum(line.startswith("$ ") for line in match[1].splitlines())
        lines = [f"$ {command.line}{printed}" for command, printed in (next(done) for _ in range(count))]
        return f"```console\n{''.join(lines)}```\n"

    (ROOT / document).write_text(BLOCK.sub(block, text), encoding="utf-8")


if __name__ == "__main__":
    for name in DOCUMENTS:
        rewrite(name)
