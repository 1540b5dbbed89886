# SPDX-License-Identifier: MIT
"""The kernel log as such."""

from __future__ import annotations

from numafs.kernel.clock import Clock
from numafs.kernel.printk import Level, LogBuffer, Ratelimit


def test_a_record_has_its_number_the_time_of_the_models_clock_and_its_level():
    clock = Clock()
    log = LogBuffer(clock)
    log.store("first", Level.INFO)
    clock.advance(1_500_000_000)
    log.store("second", Level.ERR)
    first, second = log.records
    assert (first.sequence, first.time_ns, first.prefix) == (0, 0, 6)
    assert (second.sequence, second.time_ns, second.prefix) == (1, 1_500_000_000, 3)


def test_a_full_buffer_forgets_the_oldest_and_keeps_counting():
    log = LogBuffer(Clock(), length=10)
    for text in ("aaaa", "bbbb", "cccc"):
        log.store(text, Level.INFO)
    assert [record.text for record in log.records] == ["bbbb", "cccc"]
    found = log.since(0)
    assert found is not None
    assert found.sequence == 1
    assert log.since(3) is None


def test_a_rate_limit_lets_a_burst_through_and_then_nothing_until_the_interval_is_over():
    limit = Ratelimit(1000, burst=2)
    assert [limit.permits(now) for now in (0, 1, 2, 1000, 1001, 1002, 1003)] == [
        True, True, False, False, True, True, False
    ]
    assert limit.missed == 3
