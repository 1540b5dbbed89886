# SPDX-License-Identifier: MIT
"""Run the benchmarks and print their table: `python3 -m benchmarks [-l] [WORD...]`.

With words, only rows whose names contain one of them.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from .row import Row, Skip

GROUPS = ("model", "fuse", "syscalls")
"""Modules of this package that have a table ROWS."""


def rows() -> list[tuple[str, Row]]:
    """Every row, with the name of its group."""
    found = []
    for group in GROUPS:
        try:
            module = importlib.import_module(f"benchmarks.{group}")
        except ModuleNotFoundError as error:
            print(f"no benchmarks of {group}: {error}", file=sys.stderr)
            continue
        found += [(group, row) for row in module.ROWS]
    return found


def show(group: str, row: Row) -> bool:
    """Measure one row and print it; was its goal met?"""
    try:
        figure = row.measure()
    except Skip as why:
        print(f"{group:<8} {row.name:<52} {'-':>12} {row.unit:<4} skipped: {why}", flush=True)
        return True
    met = row.goal is None or figure.value <= row.goal
    goal = "" if row.goal is None else f"goal {row.goal:g}{'' if met else ' MISSED'}"
    line = f"{group:<8} {row.name:<52} {figure.value:>12.3f} {row.unit:<4} {goal:<18} {figure.remark}"
    print(line.rstrip(), flush=True)
    return met


def main() -> int:
    """1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python3 -m benchmarks", description="Measure numafs.")
    parser.add_argument("-l", "--list", action="store_true", help="only say what there is")
    parser.add_argument("words", nargs="*", help="only rows whose names contain one of these")
    options = parser.parse_args()
    chosen = [(group, row) for group, row in rows()
              if not options.words or any(word in f"{group} {row.name}" for word in options.words)]
    if options.list:
        for group, row in chosen:
            print(f"{group:<8} {row.name}")
        return 0
    missed = [row for group, row in chosen if not show(group, row)]
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
