# SPDX-License-Identifier: MIT
"""`numafs mount`, and `mount.numafs`, by which mount(8) and fstab reach it."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence

from numafs.doors.daemon import background, log_to_stderr, log_to_syslog
from numafs.doors.errors import MountFailed
from numafs.doors.mounting import prepare, serve
from numafs.doors.options import HELP, MountOptions, parse_options
from numafs.machine.errors import MachineError
from numafs.machine.presets import path_of, resolve
from numafs.machine.spec import Machine

from .parser import ERROR, MOUNT_FAILURE, OK, USAGE, VerbParser, fail

__all__ = ["mount_helper", "run"]

DEFAULT_MACHINE = "ring4"
EXAMPLES = """
MACHINE is a machine file, the name of one that comes with numafs (see numafs machines) or a short form,
NODESxCPUS:MEMORY[:DISTANCE,...]: 4x2:512M is four nodes of two CPUs and 512 MiB. Without it: ring4.

  numafs mount ring4 /mnt            cat /mnt/sys/devices/system/node/node0/meminfo
  numafs mount -f -o check 2x8:32G /mnt
  mount -t numafs ring4 /mnt         (with mount.numafs in /sbin; so does a line of fstab)

fusermount -u DIR and umount DIR end the daemon, as numafs umount DIR does. It logs to the journal or syslog,
in the foreground to stderr; a write that is refused is logged with the reason.
"""


def parser() -> VerbParser:
    """The command line of `numafs mount`."""
    made = VerbParser("numafs mount", "Mount a machine on DIR, and return when it answers.", HELP + EXAMPLES)
    made.usage = "numafs mount [-f] [-d] [-s] [-v] [-o OPT,...] [MACHINE] DIR"
    made.add_argument("where", nargs="+", metavar="[MACHINE] DIR", help="what to mount, and on which directory")
    made.add_argument("-f", action="store_true", dest="foreground", help="stay in the foreground, log to stderr")
    made.add_argument("-d", action="store_true", dest="debug", help="show each FUSE operation; implies -f")
    made.add_argument("-s", action="store_true", dest="single", help="one thread; it is so anyway")
    made.add_argument("-v", action="store_true", dest="verbose", help="log refused reads and lookups too")
    made.add_argument("-o", action="append", default=[], dest="options", metavar="OPT,...", help="options, see below")
    return made


def run(argv: Sequence[str]) -> int:
    """`numafs mount`."""
    made = parser()
    arguments = made.read(argv)
    if len(arguments.where) > 2:
        made.error(f"one MACHINE and one DIR, not {' '.join(arguments.where)}")
    machine = arguments.where[0] if len(arguments.where) == 2 else ""
    return mount(machine, arguments.where[-1], arguments)


def mount_helper() -> int:
    """mount.numafs SOURCE DIR [-sfnv] [-N NAMESPACE] [-o OPT,...] [-t TYPE]: the protocol of mount(8)."""
    made = VerbParser("mount.numafs", "Helper of mount(8): mount -t numafs MACHINE DIR -o OPT,...", HELP)
    made.add_argument("source", metavar="MACHINE", help="a machine, or none with -o machine=")
    made.add_argument("directory", metavar="DIR")
    made.add_argument("-o", action="append", default=[], dest="options", metavar="OPT,...")
    made.add_argument("-f", action="store_true", dest="fake", help="do all but mount")
    for flag in "snv":
        made.add_argument(f"-{flag}", action="store_true", help=argparse.SUPPRESS)
    for flag in ("-N", "-t"):
        made.add_argument(flag, help=argparse.SUPPRESS)
    arguments = made.read(sys.argv[1:])
    if arguments.fake:
        return OK
    arguments.foreground = arguments.debug = arguments.verbose = False
    source = "" if arguments.source in ("none", "numafs") else arguments.source
    return mount(source, arguments.directory, arguments)


def mount(word: str, directory: str, arguments: argparse.Namespace) -> int:
    """Mount the machine that `word` means; returns the exit code."""
    try:
        options = parse_options(arguments.options)
    except ValueError as error:
        return fail(error, USAGE)
    word = word or options.machine or DEFAULT_MACHINE
    try:
        machine = resolve(word)
        message = prepare(directory)
        if message:
            print(f"numafs: {message}", file=sys.stderr)
        return _mount(word, machine, os.path.abspath(directory), options, arguments)
    except MachineError as error:
        return fail(error, ERROR)
    except MountFailed as error:
        return fail(error, MOUNT_FAILURE)


def _mount(
    word: str, machine: Machine, directory: str, options: MountOptions, arguments: argparse.Namespace
) -> int:
    level = logging.DEBUG if arguments.verbose or arguments.debug else logging.INFO
    file = path_of(word)
    file = file.absolute() if file else None
    if arguments.foreground or arguments.debug:
        log_to_stderr(level)
        serve(machine, directory, options, file=file, debug=arguments.debug)
        return OK

    def daemon(ready: Callable[[], None]) -> None:
        log_to_syslog(level, "numafs")
        serve(machine, directory, options, file=file, ready=ready)

    _, problem = background(daemon)
    return fail(problem, MOUNT_FAILURE) if problem else OK
