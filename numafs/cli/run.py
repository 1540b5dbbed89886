# SPDX-License-Identifier: MIT
"""`numafs run`: an unmodified program inside a machine."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from typing import NoReturn

from numafs.doors.errors import MountFailed
from numafs.doors.launcher import CALM, Launcher, LaunchFailed, Serve, become
from numafs.doors.options import HELP, parse_options
from numafs.machine.errors import MachineError

from .parser import OK, VerbParser, fail

__all__ = ["run"]

DEFAULT_MACHINE = "ring4"
FAILED = 125
"""What env(1) and timeout(1) exit with where they, and not the command, failed."""
EXAMPLES = """
The exit status is the command's; 125 if numafs failed, 126 if the command cannot be run, 127 if there is none.

  numafs run --machine ring4 -- numactl --hardware
  numafs run --machine 2x4:16G -- bash                 a private machine, which ends with the last of its processes
  numafs run --at /mnt/ring4 -- numastat -m            in a machine that is mounted, with whoever else is there
"""


def parser() -> VerbParser:
    """The command line of `numafs run`."""
    made = VerbParser("numafs run", "Run a command inside a machine: it sees the machine's files as the host's.",
                      HELP + EXAMPLES)
    made.usage = """numafs run [--machine MACHINE | --at DIR] [-o OPT,...] [--no-syscalls] [-v] [--] COMMAND [ARG...]
       numafs run --check"""
    where = made.add_mutually_exclusive_group()
    where.add_argument("--machine", metavar="MACHINE", help=f"a machine of its own; {DEFAULT_MACHINE} if not said")
    where.add_argument("--at", metavar="DIR", help="the machine that is mounted there")
    made.add_argument("-o", action="append", default=[], dest="options", metavar="OPT,...", help="options, see below")
    made.add_argument("--no-syscalls", action="store_false", dest="syscalls", help="files only: system calls are real")
    made.add_argument("--check", action="store_true", help="say what works on this host, and what is done instead")
    made.add_argument("-v", action="store_true", dest="verbose", help="say which files of the host still show")
    made.add_argument("command", nargs=argparse.REMAINDER, metavar="COMMAND")
    return made


def run(argv: Sequence[str]) -> int:
    """`numafs run`; returns only if it failed."""
    made = parser()
    arguments = made.parse_args(argv)
    if arguments.check:
        return check()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if not command:
        made.error("which command?")
    launcher = Launcher()
    try:
        enter(launcher, arguments)
        launch(launcher, command, arguments)
    except (MachineError, MountFailed, LaunchFailed, OSError, ValueError) as error:
        return fail(error, FAILED)


def check() -> int:
    """Print what works on this host; 0 if a command can be run."""
    from numafs.doors.host import findings

    code = OK
    for finding in findings():
        code = FAILED if finding.needed and not finding.works else code
        print(f"{'ok  ' if finding.works else 'FAIL' if finding.needed else 'part'}  {finding.what:16} {finding.note}")
    return code


def enter(launcher: Launcher, arguments: argparse.Namespace) -> None:
    """Go into the machine that is meant."""
    if arguments.at:
        launcher.join(arguments.at)
    else:
        launcher.join_private(server(arguments.machine or DEFAULT_MACHINE, arguments.options))


def launch(launcher: Launcher, command: Sequence[str], arguments: argparse.Namespace) -> NoReturn:
    """Become the command."""
    environment = {**os.environ, "NUMAFS_ROOT": launcher.root}
    if arguments.syscalls:
        environment = {**CALM, **environment}
        if not launcher.answer_system_calls():
            fail("another run's machine answers system calls here, and goes on to do so")
    if arguments.verbose:
        for problem in (*(f"{place}: {why}" for place, why in launcher.uncovered), *launcher.problems):
            fail(problem)
    become(command, environment)


def server(word: str, texts: Sequence[str]) -> Serve:
    """What serves the machine that `word` means; raises MachineError."""
    from numafs.doors.mounting import serve
    from numafs.machine.presets import path_of, resolve

    options, machine, file = parse_options(texts), resolve(word), path_of(word)

    def daemon(directory: str, ready: Callable[[], None]) -> None:
        serve(machine, directory, options, file=file, ready=ready)

    return daemon
