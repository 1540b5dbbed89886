# SPDX-License-Identifier: MIT
"""What all verbs share: how the command line is read, and how a problem is said."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["ERROR", "MOUNT_FAILURE", "OK", "USAGE", "VerbParser", "fail"]

OK, USAGE, ERROR, MOUNT_FAILURE = 0, 1, 2, 32
"""Exit codes; those of mount(8)."""


class VerbParser(argparse.ArgumentParser):
    """An argument parser that exits with 1 when it is used wrongly, as mount(8) does."""

    def __init__(self, prog: str, description: str, epilog: str = "") -> None:
        super().__init__(
            prog=prog, description=description, epilog=epilog, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )

    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}\ntry {self.prog} --help\n")

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse, with options and arguments in any order."""
        return self.parse_intermixed_args(argv)


def fail(problem: object, code: int = ERROR) -> int:
    """Say what went wrong, in one line; returns the exit code."""
    print(f"numafs: {problem}", file=sys.stderr)
    return code
