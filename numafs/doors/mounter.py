# SPDX-License-Identifier: MIT
"""A helper of `numafs run` that binds files over /proc/PID of processes that come after the first one.

Only who lives in a session's user namespace may mount there, and the command that the launcher becomes
must not know of us: so the launcher leaves this process behind. It has a mount namespace of its own, goes
into that of each process it is asked about and comes back, so that it keeps no session alive. When the daemon
closes the socket, or dies, it answers the system calls of those who are left, and ends with them.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from .keeper import stand_in
from .namespace import cover_process, own_namespace, private_copy, setns

__all__ = ["Mounter", "start_mounter"]

WAIT, DONE, KEEP = b"w", b"d", b"k"
PATIENCE_S = 2.0
"""After which a mounter that does not answer is left alone."""


class Mounter:
    """The daemon's end."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel = channel
        channel.settimeout(PATIENCE_S)

    def bind_later(self, pid: int) -> bool:
        """Bind the files of a process soon; False if nobody will."""
        try:
            self.channel.send(b"%d" % pid, socket.MSG_DONTWAIT)
        except OSError:
            return False
        return True

    def wait(self) -> bool:
        """Wait until what was asked for is done. Never called with the model's lock held.

        The mounter reads the mount, so the door must be free to answer.
        """
        try:
            self.channel.send(WAIT)
            return self.channel.recv(16) == DONE
        except OSError:
            return False

    def keep(self, listener: int) -> None:
        """Leave a copy of the session's listener with it, for when nobody is at this end any more."""
        with suppress(OSError):
            socket.send_fds(self.channel, [KEEP], [listener])

    def close(self) -> None:
        """Let it end."""
        self.channel.close()


def start_mounter(root: str, names: Iterable[str]) -> socket.socket:
    """Leave a mounter behind, as nobody's child; the daemon's end of its socket.

    It sees `root` where whoever it binds for does.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    child = os.fork()
    if child == 0:
        if os.fork():
            os._exit(0)
        _serve(theirs, root, tuple(names))
    os.waitpid(child, 0)
    theirs.close()
    return ours


def _serve(channel: socket.socket, root: str, names: tuple[str, ...]) -> NoReturn:
    """The mounter itself."""
    try:
        os.setsid()
        channel = _let_go_of_all_but(channel)
        private_copy()
        home = own_namespace()
        os.chdir("/")
        kept: list[int] = []
        while True:
            request, descriptors, _, _ = socket.recv_fds(channel, 32, 1)
            kept += descriptors
            if not request:
                break
            if request == WAIT:
                channel.send(DONE)
            elif request != KEEP:
                _bind(int(request), home, root, names)
        for listener in kept:
            stand_in(listener)
    except OSError:
        pass
    finally:
        os._exit(0)


def _let_go_of_all_but(channel: socket.socket) -> socket.socket:
    """Close what would keep a terminal, a pipe or a file of the command's open."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    kept = os.dup2(channel.detach(), 3, inheritable=False)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    return socket.socket(fileno=kept)


def _bind(pid: int, home: int, root: str, names: tuple[str, ...]) -> None:
    """Into the namespace of a process, bind its files, and back; one that is gone needs none."""
    try:
        with open(Path("/proc", str(pid), "ns/mnt"), "rb") as there:
            setns(there.fileno())
    except OSError:
        return
    try:
        cover_process(root, pid, names)
    finally:
        setns(home)
