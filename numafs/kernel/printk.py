# SPDX-License-Identifier: MIT
"""The kernel log: records with a sequence number, a time and a level, in a buffer that forgets the oldest.

kernel/printk/printk.c and lib/ratelimit.c (v6.1).

Simplified: every line is of facility kern but those that somebody wrote to /dev/kmsg, and no record is a
continuation of the one before it.
"""

from __future__ import annotations

from collections import deque
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .clock import Clock

__all__ = ["Level", "LogBuffer", "Ratelimit", "Record"]

LOG_BUF_LEN = 1 << 18
"""Bytes of text that the buffer holds (CONFIG_LOG_BUF_SHIFT of Debian's kernel is 17; half of it is descriptors)."""
_LEVEL_BITS = 3


class Level(IntEnum):
    """KERN_*: how serious a line is."""

    EMERG = 0
    ALERT = 1
    CRIT = 2
    ERR = 3
    WARNING = 4
    """What a line has that says nothing (CONFIG_MESSAGE_LOGLEVEL_DEFAULT)."""
    NOTICE = 5
    INFO = 6
    DEBUG = 7


class Record(NamedTuple):
    """A message; one that was printed in one go is one record, though it may be several lines."""

    sequence: int
    time_ns: int
    level: Level
    text: str
    facility: int = 0

    @property
    def prefix(self) -> int:
        """Facility and level as one number, as syslog has it."""
        return self.facility << _LEVEL_BITS | self.level


class LogBuffer:
    """The ring buffer (struct printk_ringbuffer)."""

    def __init__(self, clock: Clock, length: int = LOG_BUF_LEN) -> None:
        self.clock = clock
        self.length = length
        self.records: deque[Record] = deque()
        self.next_sequence = 0
        self._bytes = 0

    def store(self, text: str, level: Level, facility: int = 0) -> None:
        """Append a message; the oldest ones make room for it (vprintk_store)."""
        self.records.append(Record(self.next_sequence, self.clock.now, level, text, facility))
        self.next_sequence += 1
        self._bytes += len(text)
        while self._bytes > self.length and len(self.records) > 1:
            self._bytes -= len(self.records.popleft().text)

    def since(self, sequence: int) -> Record | None:
        """The first record with this number or a higher one (prb_read_valid)."""
        if sequence >= self.next_sequence:
            return None
        first = self.records[0].sequence
        return self.records[max(0, sequence - first)]


class Ratelimit:
    """At most `burst` messages in `interval_ns` (struct ratelimit_state)."""

    def __init__(self, interval_ns: int, burst: int) -> None:
        self.interval_ns = interval_ns
        self.burst = burst
        self.begin: int | None = None
        self.printed = 0
        self.missed = 0

    def permits(self, now: int) -> bool:
        """May a message be printed at this time? (___ratelimit)"""
        if self.begin is None or now > self.begin + self.interval_ns:
            self.begin, self.printed = now, 0
        if self.printed < self.burst:
            self.printed += 1
            return True
        self.missed += 1
        return False
