# SPDX-License-Identifier: MIT
"""`numafs task`: tells tasks of a mounted machine what to do, through its numafs/tasks/ files."""

from __future__ import annotations

import argparse
import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from numafs.doors import mounts

from .parser import ERROR, OK, VerbParser, fail

__all__ = ["run"]

USAGE = """numafs task [-C DIR] create [OPTION...] [VERB ...]   make a task that stays; prints its pid
       numafs task [-C DIR] run [OPTION...] VERB ...        make a task, let it do that, and end it
       numafs task [-C DIR] PID VERB ...                    let a task do something
       numafs task [-C DIR] adopt [PID]                     let the model know a real process
       numafs task [-C DIR] list                            list the tasks: pid and name
       numafs task [-C DIR] help [VERB]                     list the verbs and the options of new tasks"""
EPILOG = """
Several verbs are separated by ';' (quote it from the shell). The mount is DIR, else $NUMAFS_ROOT, else the one
that the working directory lies in, else the only one there is.

  pid=$(numafs task create --node 0 alloc 300M --touch)
  numafs task $pid migrate 0 1
  numafs task run read f100

The same lines can be written to DIR/numafs/tasks/create, run and PID/ctl.
"""
NEW = ("create", "run", "adopt")


class NoMount(Exception):
    """It is not clear which mount is meant."""


def run(argv: Sequence[str]) -> int:
    """`numafs task`."""
    made = VerbParser("numafs task", "Make tasks in a mounted machine, and let them do things.", EPILOG)
    made.usage = USAGE
    made.add_argument("-C", dest="root", metavar="DIR", help="the mount")
    made.add_argument("words", nargs=argparse.REMAINDER, metavar="WORDS", help="what to do, see above")
    arguments = made.parse_args(argv)
    if not arguments.words:
        made.error("what is to be done?")
    try:
        return do(find_root(arguments.root), arguments.words[0], arguments.words[1:])
    except NoMount as error:
        return fail(error, ERROR)


def do(root: Path, what: str, words: Sequence[str]) -> int:
    """Carry a command out on the mount at `root`; returns the exit code."""
    tasks = root / "numafs/tasks"
    if what == "list":
        return list_tasks(root)
    if what == "help":
        return ask(tasks / "1/ctl", ["help", *words])
    if what in NEW:
        return ask(tasks / what, words)
    if not what.isdecimal():
        return fail(f"task: {what!r} is neither a pid nor one of create, run, adopt, list, help")
    if not (tasks / what).is_dir():
        return fail(f"task: there is no task {what}")
    return ask(tasks / what / "ctl", words)


def ask(file: Path, words: Sequence[str]) -> int:
    """Write a request to a file that answers, and print the answer."""
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.write(descriptor, line_of(words).encode("utf-8", "surrogateescape"))
    except OSError as error:
        return fail(reply(descriptor).strip() or error.strerror)
    else:
        print(reply(descriptor), end="")
        return OK
    finally:
        os.close(descriptor)


def line_of(words: Sequence[str]) -> str:
    """The request that words of a command line make; one word is a whole line."""
    if len(words) == 1:
        return words[0] + "\n"
    return " ".join(";" if word == ";" else shlex.quote(word) for word in words) + "\n"


def reply(descriptor: int) -> str:
    """What a file answered to the write before."""
    answer = b""
    while piece := os.pread(descriptor, 1 << 16, len(answer)):
        answer += piece
    return answer.decode("utf-8", "replace")


def list_tasks(root: Path) -> int:
    """Print pid and name of each task."""
    pids = sorted(int(name) for name in os.listdir(root / "numafs/tasks") if name.isdecimal())
    for pid in pids:
        try:
            print(f"{pid:>8} {(root / f'proc/{pid}/comm').read_text().strip()}")
        except OSError:
            continue
    return OK


def find_root(given: str | None) -> Path:
    """The mount that is meant; raises NoMount."""
    wanted = given or os.environ.get("NUMAFS_ROOT")
    if wanted:
        if not (Path(wanted) / "numafs/tasks").is_dir():
            raise NoMount(f"{wanted}: no machine is mounted there")
        return Path(wanted)
    here = Path.cwd()
    there = [Path(mount.directory) for mount in mounts.mounts()]
    around = [path for path in there if here.is_relative_to(path)]
    if around:
        return around[-1]
    if len(there) != 1:
        raise NoMount(f"{len(there)} machines are mounted; say which with -C DIR")
    return there[0]
