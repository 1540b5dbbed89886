# SPDX-License-Identifier: MIT
"""The daemon's side of `numafs run`: a socket on which launchers announce their process.

One packet is one JSON object, with descriptors where it says so. A launcher says
    {"version": 1}                      + the socket of its mounter     -> {"ok": true}
    {"listener": true}                  + a seccomp listener            -> {"ok": true}
and becomes the command. Who it is, the kernel tells (SO_PEERCRED). A session is over when none of its
processes lives that the model knows of.
"""

from __future__ import annotations

import array
import json
import logging
import os
import secrets
import selectors
import socket
import struct
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numafs.fs.attr import Attr
from numafs.fs.tree import Dir

from .mounter import Mounter
from .namespace import MOUNT_TABLES, PROCESS_FILES
from .real_tasks import RealTasks
from .service import Service, reason

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel

    from .syscalls import Supervisor

__all__ = ["SOCKET_FILE", "VERSION", "LaunchDoor", "receive", "send"]

log = logging.getLogger("numafs.door")

VERSION = 1
SOCKET_FILE = "numafs/socket"
"""The file of a mount that names the daemon's socket, in the abstract namespace."""
LARGEST = 1 << 16
WORD = 4


def send(channel: socket.socket, message: dict[str, object], descriptors: tuple[int, ...] = ()) -> None:
    """One packet."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    channel.sendmsg([json.dumps(message).encode()], rights)


def receive(channel: socket.socket) -> tuple[dict[str, object], list[int]]:
    """One packet and its descriptors; raises EOFError where the other end was closed."""
    data, rights, _, _ = channel.recvmsg(LARGEST, socket.CMSG_SPACE(4 * WORD), socket.MSG_CMSG_CLOEXEC)
    descriptors = [
        number for level, kind, content in rights if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        for number in struct.unpack(f"{len(content) // WORD}i", content[: len(content) // WORD * WORD])
    ]
    if not data:
        raise EOFError
    message = json.loads(data)
    return (message if isinstance(message, dict) else {}), descriptors


@dataclass
class _Session:
    """What a launcher became, and all that came from it."""

    pid: int
    mounter: Mounter | None = None
    processes: set[int] = field(default_factory=set)
    covered: set[int] = field(default_factory=set)
    """Those whose own files are bound over."""


class LaunchDoor:
    """Takes launchers in, in a thread of its own."""

    def __init__(self, service: Service, kernel: Kernel, tasks: RealTasks, *, strict: bool = False) -> None:
        self.service = service
        self.kernel = kernel
        self.tasks = tasks
        self.strict = strict
        self._supervisor: Supervisor | None = None
        """Made when the first session wants its system calls answered."""
        self.name = f"numafs/{os.getpid()}.{secrets.token_hex(8)}"
        self._sessions: dict[int, _Session] = {}
        """By the process ids of those that live in them."""
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
        self._waker, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="launch", daemon=True)
        tasks.born.append(self._met)
        tasks.died.append(self._died)
        place = service.root.lookup("numafs")
        assert isinstance(place, Dir)
        place.add_files([Attr("socket", 0o444, lambda door: f"{door.name}\n")], self)

    def start(self) -> None:
        """Listen."""
        self._listener.bind("\0" + self.name)
        self._listener.listen(64)
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._selector.register(self.tasks, selectors.EVENT_READ)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more; the sessions go on without."""
        if self._thread.is_alive():
            self._waker.close()
            self._thread.join()
        self._listener.close()
        if self._supervisor:
            self._supervisor.close()
        for session in {id(session): session for session in self._sessions.values()}.values():
            if session.mounter:
                session.mounter.close()

    # -- the thread ----------------------------------------------------------------------------

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._woken:
                    return
                self._ready(key)

    def _ready(self, key: selectors.SelectorKey) -> None:
        if key.fileobj is self.tasks:
            with self.service.lock:
                self.tasks.reap()
        elif key.fileobj is self._listener:
            self._accept()
        else:
            assert isinstance(key.fileobj, socket.socket)
            self._hear(key.fileobj)

    def _accept(self) -> None:
        try:
            channel, _ = self._listener.accept()
        except OSError:
            return
        channel.setblocking(False)
        self._selector.register(channel, selectors.EVENT_READ)

    def _hear(self, channel: socket.socket) -> None:
        descriptors: list[int] = []
        try:
            message, descriptors = receive(channel)
            answer = self._answer(_peer(channel), message, descriptors)
            send(channel, answer)
        except (OSError, EOFError, ValueError):
            self._selector.unregister(channel)
            channel.close()
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _answer(self, peer: tuple[int, int], message: dict[str, object], descriptors: list[int]) -> dict[str, object]:
        """What a launcher is told; descriptors that are kept are taken out of the list."""
        pid, uid = peer
        if os.geteuid() not in (0, uid):
            return {"ok": False, "why": "the machine is another user's"}
        if message.get("listener"):
            return self._attach(pid, descriptors)
        if message.get("version") != VERSION:
            return {"ok": False, "why": f"the daemon speaks version {VERSION}"}
        return self._join(pid, descriptors)

    def _join(self, pid: int, descriptors: list[int]) -> dict[str, object]:
        with self.service.lock:
            try:
                task = self.kernel.tasks.find(pid)
            except OSError as error:
                return {"ok": False, "why": reason(error)}
            if task is None:
                return {"ok": False, "why": f"process {pid} is not to be seen from here (another pid namespace?)"}
            session = _Session(pid, processes={pid}, covered={pid})
            if descriptors:
                session.mounter = Mounter(socket.socket(fileno=descriptors.pop(0)))
            self._sessions[pid] = session
        log.info("process %d joins", pid)
        return {"ok": True}

    def _attach(self, pid: int, descriptors: list[int]) -> dict[str, object]:
        if not descriptors:
            return {"ok": False, "why": "no listener came along"}
        supervisor = self._supervising()
        session = self._sessions.get(pid)
        if session and session.mounter:
            session.mounter.keep(descriptors[0])
        supervisor.attach(descriptors.pop(0), pid)
        with self.service.lock:
            self.tasks.let_go(pid)
        return {"ok": True, "problems": supervisor.problems}

    def _supervising(self) -> Supervisor:
        """The door of system calls, opened when it is first needed."""
        from .syscalls import Supervisor

        if self._supervisor is None:
            with self.service.lock:
                self._supervisor = Supervisor(self.service, self.kernel, strict=self.strict)
                self._supervisor.loaded.append(self.cover)
                self._supervisor.opened.append(self.cover_now)
                self._supervisor.process_files = frozenset(name.encode() for name in (*PROCESS_FILES, *MOUNT_TABLES))
                self._supervisor.follower.born.append(self._born)
                self._supervisor.follower.died.append(self._died)
        return self._supervisor

    # -- who lives in a session ----------------------------------------------------------------

    def cover(self, tgid: int) -> None:
        """Bind the files of a process of a session soon, if they are not."""
        session = self._sessions.get(tgid)
        if session and session.mounter and tgid not in session.covered and session.mounter.bind_later(tgid):
            session.covered.add(tgid)

    def cover_now(self, tgid: int) -> None:
        """Bind the files of a process of a session and wait for it; without the model's lock."""
        session = self._sessions.get(tgid)
        if session and session.mounter:
            self.cover(tgid)
            session.mounter.wait()

    def _born(self, parent: int, child: int) -> None:
        session = self._sessions.get(parent)
        if session is not None:
            self._sessions[child] = session
            session.processes.add(child)

    def _met(self, parent: int, child: int) -> None:
        """A child in a session whose system calls nobody answers: its files are bound as soon as may be."""
        self._born(parent, child)
        session = self._sessions.get(child)
        if session and session.mounter:
            session.mounter.bind_later(child)

    def _died(self, tgid: int) -> None:
        session = self._sessions.pop(tgid, None)
        if session is None:
            return
        session.processes.discard(tgid)
        session.covered.discard(tgid)
        if not session.processes:
            log.info("the session of process %d is over", session.pid)
            if session.mounter:
                session.mounter.close()


def _peer(channel: socket.socket) -> tuple[int, int]:
    """Process and user at the other end."""
    pid, uid, _ = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid, uid
