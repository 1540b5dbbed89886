# SPDX-License-Identifier: MIT
"""Model time: a clock in nanoseconds and the events that wait on it.

Time only passes when somebody says so: an operation that costs time calls `advance`, a door
that follows the wall clock calls it with the time that went by outside. Events run in the
order of (time, sequence), so that one seed gives one history.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

__all__ = ["Clock", "Event"]


class Event:
    """Something that will happen; `cancel()` it to make it not."""

    __slots__ = ("action", "due", "name", "sequence")

    def __init__(self, due: int, sequence: int, name: str, action: Callable[[], None] | None) -> None:
        self.due = due
        self.sequence = sequence
        self.name = name
        self.action = action

    def cancel(self) -> None:
        """Forget what was to be done."""
        self.action = None

    def __lt__(self, other: Event) -> bool:
        return (self.due, self.sequence) < (other.due, other.sequence)


class Clock:
    """The machine's clock; `now` is in nanoseconds since boot."""

    def __init__(self) -> None:
        self.now = 0
        self._events: list[Event] = []
        self._sequence = count()
        self._running = False

    def after(self, delay_ns: int, name: str, action: Callable[[], None]) -> Event:
        """Let `action` run `delay_ns` from now."""
        event = Event(self.now + delay_ns, next(self._sequence), name, action)
        heapq.heappush(self._events, event)
        return event

    def next_due(self) -> int | None:
        """When the next event is due; None if none waits."""
        while self._events and self._events[0].action is None:
            heapq.heappop(self._events)
        return self._events[0].due if self._events else None

    def advance(self, ns: int) -> None:
        """Let `ns` pass, and what is due in them happen, in order.

        Called while an event runs it only moves the clock: events do not nest.
        """
        until = self.now + ns
        if self._running:
            self.now = until
            return
        while (due := self.next_due()) is not None and due <= until:
            event = heapq.heappop(self._events)
            self.now = max(self.now, due)
            self._run(event)
        self.now = max(self.now, until)

    def _run(self, event: Event) -> None:
        action = event.action
        if action is None:
            return
        self._running = True
        try:
            action()
        finally:
            self._running = False
