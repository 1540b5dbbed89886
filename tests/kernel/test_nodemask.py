# SPDX-License-Identifier: MIT
"""Masks as hexadecimal groups; lists are in test_parse_list."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numafs.kernel.nodemask import hex_mask, parse_hex


@pytest.mark.parametrize(
    ("text", "result"),
    [
        ("f", 0xF), ("0F\n", 0xF), (" 1,00000003 ", "EOVERFLOW"), ("00000000,00000003", "EOVERFLOW"), ("", 0),
        ("\n", 0), ("ff", 0xFF), ("100", "EOVERFLOW"), ("123456789", "EOVERFLOW"), ("--1", "EINVAL"),
        ("0x1", "EINVAL"), ("g", "EINVAL"),
    ],
)
def test_hexadecimal_masks_of_eight_bits(text: str, result: int | str) -> None:
    try:
        assert parse_hex(text, 8) == result
    except OSError as error:
        assert errno.errorcode[error.errno or 0] == result


@given(st.integers(0, 2**70 - 1))
def test_a_printed_mask_reads_back(mask: int) -> None:
    assert parse_hex(hex_mask(mask, 70), 70) == mask
