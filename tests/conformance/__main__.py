# SPDX-License-Identifier: MIT
"""python3 -m tests.conformance [-v] [--topology T] [SCENARIO or GROUP ...]"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from pathlib import Path

from .run import run, why_not
from .scenario import HERE, Scenario, scenarios
from .transcript import Difference, compare, parse, render

__all__ = ["main", "score"]

GROUPS = {
    "a": "formats", "b": "placement and counters", "c": "reclaim", "d": "cpusets", "e": "policy calls",
    "f": "real tools", "g": "the rest", "h": "combinations",
}


def score(scenario: Scenario, topology: str, keep: Path | None = None) -> tuple[int, int, list[Difference]]:
    """(equal, of how many, what differs) of one scenario against its recording."""
    got = run(scenario, topology)
    if keep is not None:
        (keep / f"{scenario.name}.txt").write_text(render(scenario.name, got))
    recordings = HERE / "recordings"
    recorded, again = (recordings / where / f"{scenario.name}.txt" for where in (topology, f"again/{topology}"))
    return compare(scenario.name, parse(recorded), got, parse(again) if again.exists() else ())


def show(difference: Difference) -> None:
    """A command, what was recorded and what came."""
    print("    $ " + difference.recorded.command.replace("\n", "\n      "))
    print(f"        {difference.why}")
    for tag, step in (("recorded", difference.recorded), ("got", difference.got)):
        for line in step.output[:40]:
            print(f"        {tag:8} | {line}")


def main() -> int:
    """The score of each scenario and of each group."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.conformance", description=__doc__)
    parser.add_argument("what", nargs="*", help="beginnings of scenarios' names; all if none is given")
    parser.add_argument("--topology", default="seed4")
    parser.add_argument("--keep", type=Path, help="directory for the transcripts")
    parser.add_argument("-v", action="store_true", help="show what differs")
    options = parser.parse_args()
    if missing := why_not():
        print(missing, file=sys.stderr)
        return 2
    equal: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for scenario in scenarios():
        recording = HERE / "recordings" / options.topology / f"{scenario.name}.txt"
        if not recording.exists() or options.what and not scenario.name.startswith(tuple(options.what)):
            continue
        began = time.monotonic()
        good, of, differences = score(scenario, options.topology, options.keep)
        equal[scenario.group] += good
        total[scenario.group] += of
        print(f"{scenario.name:28} {good:3}/{of:3}  {time.monotonic() - began:5.1f} s", flush=True)
        if options.v:
            for difference in differences:
                show(difference)
    for group in sorted(total):
        percent = 100 * equal[group] / total[group] if total[group] else 100
        print(f"{group} {GROUPS.get(group, ''):25} {equal[group]:4}/{total[group]:4}  {percent:5.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
