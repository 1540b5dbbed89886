# SPDX-License-Identifier: MIT
"""python3 -m tests.differential [--record] [--kept] [FIRST COUNT]: random sequences, model against real kernel.

With --record the results are kept as test data, with --kept they are compared with the kept ones, without a guest.
"""

from __future__ import annotations

import argparse
import sys
import time

from ..oracle import image
from .run import SEEDS, disagreements, on_kernel_by_seed, recorded, write_recording

__all__ = ["main"]


def main() -> int:
    """Say what they disagree on, and of how many sequences."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.differential", description=__doc__)
    parser.add_argument("first", type=int, nargs="?", default=SEEDS.start)
    parser.add_argument("count", type=int, nargs="?", default=len(SEEDS))
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--kept", action="store_true")
    options = parser.parse_args()
    if not options.kept and (missing := image.why_not()):
        print(missing, file=sys.stderr)
        return 2
    began = time.monotonic()
    seeds = range(options.first, options.first + options.count)
    results = recorded() if options.kept else on_kernel_by_seed(seeds)
    if options.record:
        write_recording(results)
    print(f"real kernel: {len(results)} sequences, {time.monotonic() - began:.0f} s", flush=True)
    found = disagreements(sorted(results.items()))
    for different in found:
        print(different)
    operations = sum(line.startswith("=") for lines in results.values() for line in lines)
    print(f"{len(results) - len(found)}/{len(results)} sequences agree ({operations} operations), "
          f"{time.monotonic() - began:.0f} s")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
