# SPDX-License-Identifier: MIT
"""The grammar of sysctl files, as measured on Linux 6.1."""

from __future__ import annotations

import errno

import pytest

from numafs.fs.sysctl_text import get_int, get_ints, get_ulong


@pytest.mark.parametrize(("text", "value"), [
    (b"3\n", 3), (b"3", 3), (b" 6 \n", 6), (b"\t7", 7), (b"0x5\n", 5), (b"0X1f", 31), (b"010\n", 8), (b"3 4\n", 3),
    (b"3 x\n", 3), (b"2147483647\n", 2**31 - 1), (b"-1\n", -1), (b"-2147483648", -(2**31)),
    (b"0\n", 0), (b"00", 0), (b"\n5", 5),
])
def test_a_number_is_read_and_what_follows_is_ignored(text, value):
    assert get_int(text) == value


@pytest.mark.parametrize("text", [
    b"abc\n", b"\n", b" ", b"1abc\n", b"+1\n", b"1,2", b"08", b"0x", b"0xg", b"-", b"--1", b"1\0", b"99999999999\n",
    b"2147483648", b"-2147483649", b"123456789012345678901", b"1.5",
])
def test_what_is_no_int_is_einval(text):
    with pytest.raises(OSError) as caught:
        get_int(text)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize(("text", "ok"), [(b"0", True), (b"100", True), (b"101", False), (b"-1", False)])
def test_a_range_includes_its_ends(text, ok):
    if ok:
        assert get_int(text, 0, 100) == int(text)
        return
    with pytest.raises(OSError):
        get_int(text, 0, 100)


def test_a_vector_takes_what_is_there_and_stops_at_what_is_wrong():
    assert get_ints(b"1 2\t3\n", 5) == [1, 2, 3]
    assert get_ints(b"1 2 x", 5) == [1, 2]
    assert get_ints(b"1 2 3", 2) == [1, 2]


def test_a_negative_unsigned_long_is_passed_over():
    assert get_ulong(b"-5\n") is None
    assert get_ulong(b"18446744073709551615") == 2**64 - 1
    for wrong in (b"x", b"", b"18446744073709551616"):
        with pytest.raises(OSError):
            get_ulong(wrong)
