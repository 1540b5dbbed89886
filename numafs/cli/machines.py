# SPDX-License-Identifier: MIT
"""`numafs machines`: what there is to mount."""

from __future__ import annotations

from collections.abc import Sequence

from numafs.machine.presets import presets, resolve

from .parser import OK, VerbParser

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """`numafs machines`."""
    made = VerbParser("numafs machines", "List the machines that come with numafs: name, file, what it is for.")
    made.add_argument("-p", "--paths", action="store_true", help="print paths instead of what they are for")
    arguments = made.read(argv)
    for name, path in presets().items():
        about = str(path) if arguments.paths else first_sentence(resolve(name).about)
        print(f"{name:<19} {about}".rstrip())
    return OK


def first_sentence(text: str) -> str:
    """What a text says first."""
    return " ".join(text.split()).partition(". ")[0].rstrip(".")
