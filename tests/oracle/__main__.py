# SPDX-License-Identifier: MIT
"""python3 -m tests.oracle [--topology T] [SCENARIO ...]: record scenarios on Linux 6.1 in QEMU, each twice.

A command on which the two recordings differ is not compared: the real kernel does not always agree with itself.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from numafs.machine.toml import load

from ..conformance.run import ROOT, collect, shape, step_files
from ..conformance.scenario import HERE, Scenario, scenarios
from ..conformance.transcript import Step, compare, render
from . import guest, image

__all__ = ["main", "record"]

RUN_SH = b"sh /oracle/job/run_steps.sh /oracle/job/steps\n"


def record(scenario: Scenario, topology: str) -> list[Step]:
    """What its commands do on the real kernel."""
    machine = load(ROOT / "fixtures" / "oracle" / f"{topology}.toml")
    names = step_files(scenario)
    variables = shape(machine, topology) | {"NEEDS": " ".join(sorted(scenario.needs))}
    files = {
        "job.env": "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()).encode(),
        "run.sh": RUN_SH,
        "run_steps.sh": (HERE / "run_steps.sh").read_bytes(),
        "lib.sh": (HERE / "lib.sh").read_bytes(),
    }
    files |= {f"steps/{name}": f"{command}\n".encode() for name, command in names.items()}
    return collect("\n".join(guest.run(machine, files)), names)


def main() -> int:
    """Record those that are named, or all; say how far the two recordings agree."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.oracle", description=__doc__)
    parser.add_argument("what", nargs="*", help="beginnings of scenarios' names; all if none is given")
    parser.add_argument("--topology", help="only on this machine")
    options = parser.parse_args()
    if missing := image.why_not():
        print(missing, file=sys.stderr)
        return 2
    for scenario in scenarios():
        if options.what and not scenario.name.startswith(tuple(options.what)):
            continue
        for topology in scenario.topologies:
            if options.topology in (None, topology):
                first, second = record(scenario, topology), record(scenario, topology)
                _keep(HERE / "recordings" / topology, scenario.name, first)
                _keep(HERE / "recordings" / "again" / topology, scenario.name, second)
                equal, total, _ = compare(scenario.name, first, second)
                print(f"{scenario.name:28} {topology:6} {equal:3}/{total:3} alike", flush=True)
    return 0


def _keep(directory: Path, name: str, steps: list[Step]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{name}.txt").write_text(render(name, steps, "guest"))


if __name__ == "__main__":
    sys.exit(main())
