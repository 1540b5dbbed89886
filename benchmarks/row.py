# SPDX-License-Identifier: MIT
"""One row of the table: what is measured, what it should be, and what it is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Figure", "Row", "best_of", "seconds"]


@dataclass(frozen=True)
class Figure:
    """A measurement, in the unit that its row says."""

    value: float
    remark: str = ""


@dataclass(frozen=True)
class Row:
    """`measure` takes the time; `goal` is an upper bound in `unit`, None where none was set.

    `measure` raises `Skip` where this machine cannot run it.
    """

    name: str
    unit: str
    measure: Callable[[], Figure]
    goal: float | None = None


class Skip(Exception):
    """Not here; the text says why."""


def seconds(action: Callable[[], object]) -> float:
    """How long `action` takes, by the clock on the wall."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def best_of(times: int, action: Callable[[], object]) -> float:
    """The shortest of several runs of `action`, in seconds: what the machine's other work disturbed least."""
    return min(seconds(action) for _ in range(times))
