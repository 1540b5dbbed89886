# SPDX-License-Identifier: MIT
"""The command line: `numafs VERB ...`, one module for each verb."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module, metadata

from .parser import OK, USAGE, fail

__all__ = ["main"]

VERBS = {
    "mount": "mount a machine on a directory",
    "umount": "unmount it, which ends its daemon",
    "run": "run a command inside a machine",
    "task": "make tasks in a mounted machine and let them allocate, read, migrate ...",
    "dmesg": "print the kernel log of a mounted machine",
    "machines": "list the machines that come with numafs",
    "show": "show what a machine is made of",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a verb; returns the exit code: 0, 1 usage, 2 error, 32 mount failure."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage(), file=sys.stdout if arguments else sys.stderr)
        return OK if arguments else USAGE
    if arguments[0] in ("-V", "--version"):
        print(f"numafs {version()}")
        return OK
    verb = arguments.pop(0)
    if verb not in VERBS:
        return fail(f"{verb}: no such verb; numafs --help lists them", USAGE)
    return _run(verb, arguments)


def _run(verb: str, arguments: Sequence[str]) -> int:
    try:
        code = import_module(f"numafs.cli.{verb}").run(arguments)
        sys.stdout.flush()
        return int(code)
    except BrokenPipeError:
        sys.stderr.close()
        return OK
    except KeyboardInterrupt:
        return 130


def usage() -> str:
    """The text of --help."""
    verbs = "\n".join(f"  {name:<10}{what}" for name, what in VERBS.items())
    return (
        "usage: numafs VERB ...\n\nMount a NUMA machine: its sysfs, proc and cgroup files over a live model of Linux\n"
        f"memory management.\n\nverbs (numafs VERB --help says more):\n{verbs}\n\n"
        "exit codes: 0, 1 wrong usage, 2 error, 32 mount failure"
    )


def version() -> str:
    """The version that is installed."""
    try:
        return metadata.version("numafs")
    except metadata.PackageNotFoundError:
        return "(not installed)"
