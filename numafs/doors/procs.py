# SPDX-License-Identifier: MIT
"""Who a real process is: what /proc/PID says of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["Identity", "children", "flags", "identity", "namespace_pid", "status", "threads", "uid_of"]

PROC = Path("/proc")


class Identity(NamedTuple):
    """A living thread, its process, and who runs it."""

    tid: int
    tgid: int
    ppid: int
    comm: str
    uid: int
    gid: int


def identity(tid: int) -> Identity | None:
    """Who a thread is; None if there is none, or it is dead."""
    lines = status(tid)
    if lines is None or lines["State"][:1] in "ZX":
        return None
    uid, gid = (int(lines[key].split()[0]) for key in ("Uid", "Gid"))
    return Identity(tid, int(lines["Tgid"]), int(lines["PPid"]), lines["Name"], uid, gid)


def status(pid: int) -> dict[str, str] | None:
    """The lines of /proc/PID/status; None if there is no such task."""
    try:
        text = (PROC / str(pid) / "status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def flags(pid: int) -> int:
    """task_struct.flags of a task, the seventh field behind its name in /proc/PID/stat."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[6])
    except (OSError, ValueError, IndexError):
        return 0


def threads(tgid: int) -> list[int]:
    """The threads of a process, those that are zombies too."""
    try:
        return [int(name) for name in os.listdir(PROC / str(tgid) / "task")]
    except OSError:
        return []


def children(tgid: int) -> list[int]:
    """The living children of a process, whichever thread made them."""
    found: list[int] = []
    for tid in threads(tgid):
        try:
            found += map(int, (PROC / f"{tgid}/task/{tid}/children").read_text().split())
        except OSError:
            continue
    return found


def uid_of(tid: int) -> int | None:
    """The effective user of a thread now; root if its memory is nobody's to look at."""
    try:
        return os.stat(f"/proc/{tid}").st_uid
    except OSError:
        return None


def namespace_pid(tid: int) -> list[int]:
    """The ids of a thread in each pid namespace that it is in, the outermost first."""
    lines = status(tid)
    return [int(word) for word in lines.get("NSpid", "").split()] if lines else []
