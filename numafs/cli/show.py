# SPDX-License-Identifier: MIT
"""`numafs show MACHINE`: what a machine is made of, without mounting it."""

from __future__ import annotations

from collections.abc import Sequence

from numafs.machine.describe import describe, to_json
from numafs.machine.errors import MachineError
from numafs.machine.presets import resolve
from numafs.machine.toml import dumps

from .parser import ERROR, OK, VerbParser, fail

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """`numafs show`."""
    made = VerbParser("numafs show", "Show the nodes, distances, CPUs and disks of a machine.")
    made.add_argument("machine", metavar="MACHINE", help="a file, a name, or a form such as 4x2:512M")
    forms = made.add_mutually_exclusive_group()
    forms.add_argument("--toml", action="store_true", help="print the whole machine as a machine file")
    forms.add_argument("--json", action="store_true", help="print the whole machine as JSON")
    arguments = made.read(argv)
    try:
        machine = resolve(arguments.machine)
    except MachineError as error:
        return fail(error, ERROR)
    form = dumps if arguments.toml else to_json if arguments.json else describe
    print(form(machine), end="")
    return OK
