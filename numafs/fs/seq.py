# SPDX-License-Identifier: MIT
"""Text in files of /proc: fs/seq_file.c (v6.1)."""

from __future__ import annotations

__all__ = ["seq_escape"]


def seq_escape(text: str, forbidden: str) -> str:
    """Characters of `forbidden` written as three octal digits (seq_escape(), mangle_path())."""
    return "".join(f"\\{ord(c):03o}" if c in forbidden else c for c in text)
