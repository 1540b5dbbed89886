# SPDX-License-Identifier: MIT
"""What stands in when the daemon of a session dies: without it no program could be started any more.

While it lives the daemon answers. After that, calls that only told the daemon something go on to the kernel, and those
that the model answered fail with ENOSYS, as on a kernel without NUMA.

Simplified: a call that the daemon had taken when it died waits until another program of the session calls.
"""

from __future__ import annotations

import errno
import select

from . import abi, seccomp

__all__ = ["stand_in"]

TOLD_ONLY = abi.LOADED | {"statfs", "fstatfs", "statfs64", "fstatfs64", *abi.OPENED}
RECENT = 64
"""Calls before the one that comes first may have been taken: their ids are the ones before its own."""


def stand_in(listener: int) -> None:
    """Answer in the daemon's place until the session is over."""
    buffer = bytearray(seccomp.RECEIVED.size)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    released = False
    while True:
        ((_, what),) = poll.poll()
        if not what & select.POLLIN:
            return
        call = seccomp.receive(listener, buffer)
        if call is None:
            continue
        if not released:
            _release(listener, call.id)
            released = True
        _answer(listener, call)


def _release(listener: int, first: int) -> None:
    """Let calls that the daemon left unanswered go on to the kernel."""
    for unique in range(max(first - RECENT, 0), first):
        if seccomp.id_valid(listener, unique):
            seccomp.proceed(listener, unique)


def _answer(listener: int, call: seccomp.Notification) -> None:
    numbers = abi.BY_ARCH[call.arch].numbers
    if any(numbers.get(name) == call.number for name in TOLD_ONLY):
        seccomp.proceed(listener, call.id)
    else:
        seccomp.respond(listener, call.id, 0, errno.ENOSYS)
