# SPDX-License-Identifier: MIT
"""What of `numafs run` works on this host, what is done instead where it does not, and why.

Everything is tried, in a child that ends: nothing is left behind.
"""

from __future__ import annotations

import os
import platform
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from .errors import MountFailed
from .namespace import PLACES, enter, needs_mount_table
from .perf import PerfEvents
from .seccomp import install_filter
from .vdso import NoVdso, VdsoPatcher

__all__ = ["Finding", "findings"]


class Finding(NamedTuple):
    """One thing that a session stands on."""

    what: str
    works: bool
    note: str
    """How, if it works; else why not, and what is done instead."""
    needed: bool = False
    """Nothing can be run without it."""


def findings() -> Iterator[Finding]:
    """Try what a session needs, in this order."""
    yield _tried("FUSE", _fuse, needed=True)
    yield _tried("mount namespace", enter_as, needed=True)
    yield _files()
    yield _tried("system calls", _seccomp, instead="--no-syscalls: files only")
    yield _tried("getcpu", _vdso, instead="programs see the CPU that they really are on")
    yield _tried("first touches", _perf, instead="found by scans; what changes hands between two is charged by rule")
    yield _cpusets()


def _tried(what: str, trial: Callable[[], str], *, instead: str = "", needed: bool = False) -> Finding:
    """What came of a trial, in a child: it prints how it works, or fails."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = "+" + trial()
        except (OSError, MountFailed, NoVdso) as error:
            said = f"-{getattr(error, 'strerror', None) or error}"
        finally:
            os.write(writer, said.encode())
            os.kill(os.getpid(), signal.SIGKILL)  # exit(2) may be a call that waits for an answer by now
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read() or "-it ended without a word"
    os.waitpid(child, 0)
    note = said[1:] if said[0] == "+" or not instead else f"{said[1:]}; {instead}"
    return Finding(what, said[0] == "+", note, needed)


def _fuse() -> str:
    from .fuse import binding

    os.close(os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC))
    return f"/dev/fuse, libfuse {getattr(binding(), 'fuse_version_major', 2)}"


def enter_as() -> str:
    """Whose right makes the namespace."""
    return {"root": "by the right of root", "user": "in a user namespace"}[enter()]


def _files() -> Finding:
    missing = [f"/{place}" for place in PLACES if not os.path.lexists(f"/{place}")]
    note = f"not {', '.join(missing)}: this host has no such files to lay the machine's over" if missing else "all"
    return Finding("files", not missing, note)


def _seccomp() -> str:
    enter()
    install_filter()
    privileges = "NoNewPrivs:\t1" in Path("/proc/self/status").read_text()
    return "seccomp user notification" + (", without setuid programs" if privileges else "")


def _vdso() -> str:
    VdsoPatcher()
    return f"the vDSO's is replaced ({platform.machine()})"


def _perf() -> str:
    events = PerfEvents(os.getpid())
    note = "page faults by perf events" + ("" if events.sees_kernel else ", but for those in the kernel")
    events.close()
    return note


def _cpusets() -> Finding:
    if needs_mount_table():
        return Finding("cpusets", True, "in the place of this host's cgroups, as the mount table then says")
    return Finding("cpusets", True, "over this host's own hierarchy, whose line in the mount table stays")
