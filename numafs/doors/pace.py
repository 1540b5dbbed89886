# SPDX-License-Identifier: MIT
"""How the model's clock goes while a machine is mounted: with the wall clock, faster, or not at all.

The idea is that of trio's MockClock: when the wall clock said `_wall`, the model's said `_model`,
and since then it goes at `rate`. Costs that the model charges itself let it run ahead; then the
wall clock catches up.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from numafs.kernel.clock import Clock

__all__ = ["Pace", "parse_rate"]


class Pace:
    """Moves a model's clock to where the wall clock says it should be, in steps of at least `grain_ns`."""

    def __init__(
        self, clock: Clock, rate: float = 1.0, wall_ns: Callable[[], int] = time.monotonic_ns, grain_ns: int = 100_000
    ) -> None:
        self.clock = clock
        self.grain_ns = grain_ns
        self.rate = rate
        self._wall_ns = wall_ns
        self._wall = wall_ns()
        self._model = clock.now

    def tick(self) -> None:
        """Let the time pass in the model that has passed outside."""
        due = self._model + int((self._wall_ns() - self._wall) * self.rate)
        if due - self.clock.now >= self.grain_ns:
            self.clock.advance(due - self.clock.now)


def parse_rate(text: str) -> float:
    """The rate that `-o time=` asks for: `wall` 1, `step` 0, `xN` N times; raises ValueError."""
    if text == "wall":
        return 1.0
    if text == "step":
        return 0.0
    if text.startswith("x"):
        try:
            rate = float(text[1:])
        except ValueError:
            rate = -1.0
        if 0 <= rate < 1e9:
            return rate
    raise ValueError(f"time={text}: must be wall, step or xN, as in x10")
