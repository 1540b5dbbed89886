# SPDX-License-Identifier: MIT
"""Shell sessions in Markdown: reads them, and runs them in a real shell.

A session is a ```console block: lines behind `$ ` are commands, what follows is their output.
The README's sessions are tests, and the demo of `make run`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

__all__ = ["Command", "Shell", "parts"]

BLOCK = re.compile(r"^```console\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
END = "--end-of-command--"


@dataclass(frozen=True)
class Command:
    """One command of a session, and what the text says it prints."""

    line: str
    output: str


def parts(markdown: str) -> Iterator[str | Command]:
    """The text between sessions, and their commands, in order."""
    at = 0
    for block in BLOCK.finditer(markdown):
        yield markdown[at : block.start()]
        yield from commands(block[1])
        at = block.end()
    yield markdown[at:]


def commands(session: str) -> Iterator[Command]:
    """The commands of one session; a line that begins with `> ` goes on with the one before."""
    line, output = "", ""
    for text in session.splitlines(keepends=True):
        if text.startswith("$ "):
            if line:
                yield Command(line, output)
            line, output = text[2:], ""
        elif text.startswith("> ") and not output:
            line += text[2:]
        else:
            output += text
    if line:
        yield Command(line, output)


class Shell:
    """A shell that runs one command after another in `directory`, with numafs in its PATH."""

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self._shell = subprocess.Popen(
            ["bash", "--norc"], cwd=directory, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True,
        )

    def run(self, line: str) -> str:
        """Run a command; returns what it prints, errors too, as an interactive shell words them."""
        assert self._shell.stdin and self._shell.stdout
        self._shell.stdin.write(f"{line.rstrip()}\necho {END}\n")
        self._shell.stdin.flush()
        output = ""
        for text in self._shell.stdout:
            output += text
            if output.endswith(f"{END}\n"):
                return re.sub(r"^bash: line \d+: ", "bash: ", output.removesuffix(f"{END}\n"), flags=re.MULTILINE)
        raise EOFError(f"the shell ended in {line!r}: {output}")

    def __enter__(self) -> Shell:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._shell.stdin
        self._shell.stdin.close()
        self._shell.wait()
