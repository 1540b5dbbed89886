# SPDX-License-Identifier: MIT
"""Recordings of a real kernel's files, as tests/fs/data has them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).with_name("data")


@dataclass
class Recorded:
    """A file's text, or where a link leads."""

    text: str = ""
    target: str | None = None


def read_recording(name: str) -> dict[str, Recorded]:
    """Path to what was recorded of it."""
    files: dict[str, Recorded] = {}
    at = Recorded()
    for line in (DATA / name).read_text().splitlines():
        mark, rest = line[:2], line[2:]
        if mark == "@ ":
            path, _, target = rest.partition(" -> ")
            at = files[path] = Recorded(target=target or None)
        elif mark == "| ":
            at.text += rest + "\n"
        elif mark == "\\ ":
            at.text += rest
    return files


def shape(text: str) -> str:
    """The text with every number, and the blanks that align it, made alike."""
    return re.sub(r" *\d+", "#", text)
