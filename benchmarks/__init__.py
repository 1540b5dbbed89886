# SPDX-License-Identifier: MIT
"""How fast numafs is: `python3 -m benchmarks`."""
