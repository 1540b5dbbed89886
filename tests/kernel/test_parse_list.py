# SPDX-License-Identifier: MIT
"""Lists of nodes and CPUs as users write them: lib/bitmap.c:bitmap_parselist() (v6.1)."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numafs.kernel.nodemask import list_text, mask_of, parse_list

ACCEPTED = [
    ("0", "0"), ("0\n", "0"), ("0\n\n", "0"), ("\v0\n", "0"), ("00", "0"), ("0,0,0", "0"), ("0-3", "0-3"),
    ("0-00003", "0-3"), ("1-2,0,3", "0-3"), ("0,1", "0-1"), ("0,1,", "0-1"), (",0,1", "0-1"), ("0,,1", "0-1"),
    ("0, 1", "0-1"), ("0 1", "0-1"), ("0\t1", "0-1"), (",", ""), (",,,", ""), (" , ", ""), ("\n", ""), (" ", ""),
    ("0-3:0/2", ""), ("0-3:2/4", "0-1"), ("0-3:1/2", "0,2"), ("3,1,0", "0-1,3"), ("2-3,0", "0,2-3"), ("N", "1023"),
    ("all", "0-1023"), ("aLL", "0-1023"), ("all:1/512", "0,512"), ("0-N:1/1000", "0,1000"),
]


@pytest.mark.parametrize(("text", "expected"), ACCEPTED)
def test_a_list_is_accepted(text: str, expected: str) -> None:
    assert list_text(parse_list(text, 1024)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0\n1", "0"), ("0\n,1", "0"), ("0-0\n1", "0"), ("all\n0", "0-1023"), ("0,\n1", "0-1"), ("0 \n1", "0-1"),
     (",\n1", "1"), ("0-0:1/1\n1", "0-1"), ("0-0:1/1all", "0-1023"), ("0-1:1/1N", "0-1,1023")],
)
def test_a_newline_directly_behind_a_region_without_group_ends_the_list(text: str, expected: str) -> None:
    assert list_text(parse_list(text, 1024)) == expected


REFUSED = [
    *[(text, errno.EINVAL) for text in (
        "-1", "-0", "+0", "0x1", "0a", "x", "*", "0;1", "0.1", "0-", "-", "0- 1", "0 -1", "0--1", "0-1-2", "3-0",
        "0-3:1", "0-3:", "0-3:/2", "0-3:1/", "0:1/2", "0-3:3/2", "0-3:1/0", "none", "any", "n", "alll", "0-0:1/1x",
        "4294967295", "x,1024",
    )],
    *[(text, errno.ERANGE) for text in ("1024", "0-1024", "65535", "1024,x")],
    *[(text, errno.EOVERFLOW) for text in ("4294967296", "0-4294967296", "9" * 40)],
]


@pytest.mark.parametrize(("text", "number"), REFUSED)
def test_a_list_is_refused(text: str, number: int) -> None:
    with pytest.raises(OSError) as refused:
        parse_list(text, 1024)
    assert refused.value.errno == number


def test_the_width_of_the_mask_decides_what_is_out_of_range() -> None:
    assert parse_list("all", 8) == 0xFF
    assert parse_list("N", 8) == 0x80
    with pytest.raises(OSError) as refused:
        parse_list("8", 8)
    assert refused.value.errno == errno.ERANGE


@given(st.sets(st.integers(0, 1023)))
def test_what_is_printed_reads_back(numbers: set[int]) -> None:
    mask = mask_of(numbers)
    assert parse_list(list_text(mask), 1024) == mask


@given(st.text("0123456789-,:/N alx\n", max_size=12))
def test_any_text_is_a_mask_or_an_errno(text: str) -> None:
    try:
        mask = parse_list(text, 16)
    except OSError as refused:
        assert refused.errno in (errno.EINVAL, errno.ERANGE, errno.EOVERFLOW)
    else:
        assert 0 <= mask < 1 << 16
