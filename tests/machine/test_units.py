# SPDX-License-Identifier: MIT
"""Quantities as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numafs.machine import patterns, units


@pytest.mark.parametrize(("text", "size"), [
    ("512M", 512 << 20), ("2GiB", 2 << 30), ("16K", 16 << 10), ("1.5G", 3 << 29), ("4096B", 4096), ("64 kB", 64 << 10),
    ("12T", 12 << 40), ("0B", 0),
])
def test_a_size_has_a_number_and_a_unit(text: str, size: int) -> None:
    assert units.size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "512", "M", "-1M", "512Q", "1.0001K", "5 12M", "1e3M", "٣M0"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        units.size_bytes(text)


def test_times_and_bandwidths_have_units_too() -> None:
    assert units.time_ns("80us") == 80_000
    assert units.time_ns("1.5ms") == 1_500_000
    assert units.bandwidth_mb_s("10GB/s") == 10_000
    assert units.bandwidth_mb_s("2.5GB/s") == 2_500
    for text in ("80", "80 parsecs", "0.1ns"):
        with pytest.raises(ValueError):
            units.time_ns(text)
    with pytest.raises(ValueError):
        units.bandwidth_mb_s("10G")


@given(st.integers(0, 1 << 62))
def test_a_written_quantity_reads_back_exactly(value: int) -> None:
    assert units.size_bytes(units.size_text(value)) == value
    assert units.time_ns(units.time_text(value)) == value
    assert units.bandwidth_mb_s(units.bandwidth_text(value)) == value


@given(st.lists(st.integers(0, 5000), max_size=30))
def test_a_written_list_reads_back_in_its_order(numbers: list[int]) -> None:
    assert units.parse_list(units.list_text(numbers)) == numbers


@pytest.mark.parametrize("text", ["a", "1-", "3-1", "0-99999999999", "1--2", "0:3"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        units.parse_list(text)


def test_braces_stand_for_many_names_the_last_running_fastest() -> None:
    assert patterns.expand("f") == ["f"]
    assert patterns.expand("d{0..1}/{a,b}") == ["d0/a", "d0/b", "d1/a", "d1/b"]
    assert patterns.expand("{08..10}") == ["08", "09", "10"]
    assert patterns.expand("{2..0}") == ["2", "1", "0"]


def test_a_pattern_is_counted_without_its_names() -> None:
    assert patterns.count("many/d{0..199}/{0..99}") == 20_000


@pytest.mark.parametrize("pattern", ["{0..9", "0..9}", "{{a,b}}", "{}", "{a}", "{0..x}", "{a,a}"])
def test_braces_that_make_no_sense_are_refused(pattern: str) -> None:
    with pytest.raises(ValueError):
        patterns.expand(pattern)
