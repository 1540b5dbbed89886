# SPDX-License-Identifier: MIT
"""`numafs dmesg`: the kernel log of a mounted machine, as dmesg(1) prints it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .parser import ERROR, OK, VerbParser, fail
from .task import NoMount, find_root

__all__ = ["run"]

LEVELS = ("emerg", "alert", "crit", "err", "warn", "notice", "info", "debug")
FACILITIES = ("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news")
EPILOG = """
DIR is the mount; without it $NUMAFS_ROOT, else the one that the working directory lies in, else the only one there is.
What it prints is DIR/dev/kmsg, which dmesg of util-linux reads too.
"""
LOOK_AGAIN_S = 0.2
LONGEST = 1 << 16


class Line(NamedTuple):
    """A record of the log, as dev/kmsg has it."""

    priority: int
    microseconds: int
    text: str

    @property
    def level(self) -> str:
        """Its level by name."""
        return LEVELS[self.priority & 7]


def run(argv: Sequence[str]) -> int:
    """`numafs dmesg`."""
    made = VerbParser("numafs dmesg", "Print the kernel log of a mounted machine.", EPILOG)
    made.add_argument("where", nargs="?", metavar="DIR", help="the mount")
    made.add_argument("-l", "--level", metavar="LIST", help=f"only these levels: {','.join(LEVELS)}")
    made.add_argument("-x", "--decode", action="store_true", help="facility and level before each line")
    made.add_argument("-t", "--notime", action="store_true", help="no timestamps")
    made.add_argument("-w", "--follow", action="store_true", help="wait for new lines")
    arguments = made.read(argv)
    levels = set((arguments.level or ",".join(LEVELS)).split(","))
    if levels - set(LEVELS):
        made.error(f"no such level: {','.join(sorted(levels - set(LEVELS)))}")
    try:
        file = find_root(arguments.where) / "dev/kmsg"
    except NoMount as error:
        return fail(error, ERROR)
    for line in lines(file, follow=arguments.follow):
        if line.level in levels:
            print(shown(line, decode=arguments.decode, notime=arguments.notime), flush=arguments.follow)
    return OK


def lines(file: Path, *, follow: bool) -> Iterator[Line]:
    """Every record there is; with `follow` those that come, too."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            try:
                yield parsed(os.read(descriptor, LONGEST))
            except BlockingIOError:
                if not follow:
                    return
                time.sleep(LOOK_AGAIN_S)
            except BrokenPipeError:
                continue  # what was overwritten is gone; the next read goes on behind it
    finally:
        os.close(descriptor)


def parsed(record: bytes) -> Line:
    """The record that one read gave."""
    head, _, text = record.decode("utf-8", "replace").partition(";")
    priority, _, microseconds, *_ = head.split(",")
    raw = text.rstrip("\n").encode()
    plain = re.sub(rb"\\x([0-9a-f]{2})", lambda match: bytes.fromhex(match[1].decode()), raw)
    return Line(int(priority), int(microseconds), plain.decode("utf-8", "replace"))


def shown(line: Line, *, decode: bool, notime: bool) -> str:
    """A line as dmesg(1) prints it; what follows a newline stands below the text."""
    head = "" if notime else f"[{line.microseconds // 10**6:5d}.{line.microseconds % 10**6:06d}] "
    if decode:
        facility = line.priority >> 3
        name = FACILITIES[facility] if facility < len(FACILITIES) else str(facility)
        head = f"{name:<6}:{line.level:<6}: {head}"
    return head + line.text.replace("\n", "\n" + " " * len(head))
