# SPDX-License-Identifier: MIT
"""python3 -m tests.differential [--v2] [--record] [--kept] [FIRST COUNT]: random sequences, model against real kernel.

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
    parser.add_argument("first", type=int, nargs="?", default=0)
    parser.add_argument("count", type=int, nargs="?", help="as many as are kept, if not given")
    parser.add_argument("--v2", action="store_true", help="with the cpuset controller in cgroup v2")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--kept", action="store_true")
    options = parser.parse_args()
    if not options.kept and (missing := image.why_not()):
        print(missing, file=sys.stderr)
        return 2
    began = time.monotonic()
    version = "v2" if options.v2 else "v1"
    count = len(SEEDS[version]) if options.count is None else options.count
    seeds = range(options.first, options.first + count)
    results = recorded(version) if options.kept else on_kernel_by_seed(seeds, version)
    if options.record:
        write_recording(results, version)
    print(f"real kernel: {len(results)} sequences, {time.monotonic() - began:.0f} s", flush=True)
    found = disagreements(sorted(results.items()), version)
    for different in found:
        print(different)
    operations = sum(line.startswith("=") for lines in results.values() for line in lines)
    print(f"{len(results) - len(found)}/{len(results)} sequences agree ({operations} operations), "
          f"{time.monotonic() - began:.0f} s")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
