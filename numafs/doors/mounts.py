# SPDX-License-Identifier: MIT
"""The mounts of numafs on this host: which there are, which are dead, how to end one.

A FUSE mount whose daemon was killed stays in the mount table and answers ENOTCONN.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

__all__ = ["FSTYPE", "Mount", "is_stale", "mount_at", "mounts", "unmount"]

FSTYPE = "fuse.numafs"


class Mount(NamedTuple):
    """A line of the mount table."""

    directory: str
    source: str
    fstype: str


def mounts(table: str = "/proc/self/mountinfo") -> list[Mount]:
    """The numafs mounts that this process sees, oldest first."""
    found = []
    for line in Path(table).read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        head, _, tail = line.partition(" - ")
        fstype, source = tail.split(" ")[:2]
        if fstype == FSTYPE:
            found.append(Mount(_plain(head.split(" ")[4]), _plain(source), fstype))
    return found


def _plain(text: str) -> str:
    """A path as the mount table writes it, with blanks as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def mount_at(directory: str) -> Mount | None:
    """The numafs mount on top of `directory`, dead or alive."""
    path = real(directory)
    return next((mount for mount in reversed(mounts()) if mount.directory == path), None)


def real(directory: str) -> str:
    """An absolute path without links, made without asking the directory itself, which may be dead."""
    above, name = os.path.split(os.path.abspath(directory))
    return os.path.join(os.path.realpath(above), name) if name else above


def is_stale(directory: str) -> bool:
    """Is it a mount whose daemon is gone?"""
    try:
        os.stat(directory)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def unmount(directory: str, *, lazy: bool = False) -> None:
    """Unmount, as umount(8) and fusermount(1) do; raises OSError with what they said."""
    errors = []
    for command in _commands(directory, lazy):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return
        errors.append(done.stderr.strip() or f"{command[0]} failed")
    raise OSError(errno.EBUSY if any("busy" in text for text in errors) else errno.EPERM, "; ".join(errors))


def _commands(directory: str, lazy: bool) -> list[list[str]]:
    commands = []
    if os.geteuid() == 0:
        commands.append(["umount", *(["-l"] if lazy else []), directory])
    for name in ("fusermount3", "fusermount"):
        if shutil.which(name):
            commands.append([name, "-u", *(["-z"] if lazy else []), directory])
            break
    return commands or [["umount", directory]]
