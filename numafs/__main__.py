# SPDX-License-Identifier: MIT
"""`python -m numafs` is `numafs`."""

from __future__ import annotations

import sys

from numafs.cli import main

__all__: list[str] = []

if __name__ == "__main__":
    sys.exit(main())
