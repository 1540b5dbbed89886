# SPDX-License-Identifier: MIT
"""Numbers and words as sysfs files read them."""

from __future__ import annotations

import errno

import pytest

from numafs.fs.numbers import kstrtobool, kstrtol, kstrtoul, sysfs_word


@pytest.mark.parametrize(("text", "base", "value"), [
    (b"0", 10, 0), (b"12\n", 10, 12), (b"+1", 10, 1), (b"010", 10, 10), (b"010", 0, 8), (b"0x1F\n", 0, 31),
    (b"0x1F", 16, 31), (b"1\0junk", 0, 1), (b"18446744073709551615", 0, 2**64 - 1),
])
def test_unsigned_numbers(text, base, value):
    assert kstrtoul(text, base) == value


@pytest.mark.parametrize("text", [b"", b"\n", b" 1", b"1 ", b"1\n\n", b"-1", b"++1", b"x", b"08", b"0x", b"1.0", b"1a"])
def test_what_is_no_unsigned_number_is_einval(text):
    with pytest.raises(OSError) as caught:
        kstrtoul(text, 0)
    assert caught.value.errno == errno.EINVAL


@pytest.mark.parametrize("text", [b"18446744073709551616", b"18446744073709551616 junk", b"0x10000000000000000\n\n"])
def test_too_large_is_erange_whatever_follows(text):
    with pytest.raises(OSError) as caught:
        kstrtoul(text, 0)
    assert caught.value.errno == errno.ERANGE


def test_signed_numbers():
    assert [kstrtol(text) for text in (b"-5\n", b"5", b"+5")] == [-5, 5, 5]
    for wrong in (b"--5", b"-+5", b"-"):
        with pytest.raises(OSError):
            kstrtol(wrong)


def test_switches_look_at_the_first_letters_only():
    assert [kstrtobool(text) for text in (b"1\n", b"y", b"Yes", b"on")] == [True] * 4
    assert [kstrtobool(text) for text in (b"0", b"no", b"OFF\n")] == [False] * 3
    for wrong in (b"2", b"", b"o", b"x"):
        with pytest.raises(OSError):
            kstrtobool(wrong)


def test_a_word_loses_one_newline():
    assert [sysfs_word(text) for text in (b"auto\n", b"auto", b"auto\n\n", b"a\0b")] == ["auto", "auto", "auto\n", "a"]
