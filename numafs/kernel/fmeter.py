# SPDX-License-Identifier: MIT
"""The meter behind cpuset.memory_pressure: events per second, times 1000, with a half-life of 10 seconds.

kernel/cgroup/cpuset.c:fmeter_update() (v6.1).
"""

from __future__ import annotations

__all__ = ["Fmeter"]

_COEF = 933
"""Fraction of the value that a second leaves, in thousandths."""
_MAX_TICKS = 99
_MAX_COUNT = 1_000_000
_SCALE = 1000


class Fmeter:
    """A frequency meter; time in whole seconds."""

    def __init__(self) -> None:
        self.count = 0
        """Events since the last tick, times 1000."""
        self.value = 0
        self.time = 0

    def mark(self, now: int) -> None:
        """One event (fmeter_markevent)."""
        self._update(now)
        self.count = min(_MAX_COUNT, self.count + _SCALE)

    def rate(self, now: int) -> int:
        """The value that is read (fmeter_getrate)."""
        self._update(now)
        return self.value

    def _update(self, now: int) -> None:
        ticks = min(_MAX_TICKS, now - self.time)
        if ticks == 0:
            return
        for _ in range(ticks):
            self.value = self.value * _COEF // _SCALE
        self.time = now
        self.value += (_SCALE - _COEF) * self.count // _SCALE
        self.count = 0
