# SPDX-License-Identifier: MIT
"""The door of system calls: what programs of a session ask of the kernel, the model answers.

One thread beside the one that serves files. It receives what is there, first of all, because a call that has been
received cannot be interrupted by a signal handler, then answers one by one under the lock of the model.
"""

from __future__ import annotations

import errno
import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numafs.kernel.errors import TaskKilled

from . import abi, procs, seccomp
from .calls import CALLS, Call, Sees, as_int, seen_range
from .filesystem_type import answer_statfs, read_string
from .follow import Follower
from .remote import Gone, RemoteMemory
from .vdso import NoVdso, VdsoPatcher

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Task

    from .perf import PerfEvents
    from .seccomp import Notification
    from .service import Service

__all__ = ["Supervisor"]

log = logging.getLogger("numafs.door")

NAMES = {each.arch: {number: name for name, number in each.numbers.items()} for each in abi.BY_ARCH.values()}
TICK_S = 0.1
"""How often events are taken in when nothing happens: rings must not run over."""


@dataclass(eq=False)
class Session:
    """A program that was started behind the filter, and all its descendants."""

    listener: int
    events: PerfEvents | None
    tgids: set[int] = field(default_factory=set)


class Supervisor:
    """Answers the system calls of all sessions of one machine."""

    def __init__(self, service: Service, kernel: Kernel, *, strict: bool = False) -> None:
        self.service = service
        self.kernel = kernel
        self.strict = strict
        self.follower = Follower(kernel)
        self.loaded: list[Callable[[int], None]] = []
        """Told the pid of each new process and program before it runs; without the lock, as it may use the mount."""
        self.opened: list[Callable[[int], None]] = []
        """Told whose file of /proc/PID is about to be opened for reading, if its name is among `process_files`."""
        self.process_files: frozenset[bytes] = frozenset()
        self._sessions: dict[int, Session] = {}
        self._queue: deque[tuple[Session, Notification]] = deque()
        self._buffer = bytearray(seccomp.RECEIVED.size)
        self._epoll = select.epoll()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._epoll.register(self._wake_read, select.EPOLLIN)
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.vdso: VdsoPatcher | None = None
        self.problems: list[str] = []
        """What does not work here, and what is done instead."""
        self._prepare()

    def _prepare(self) -> None:
        try:
            vdso = self.vdso = VdsoPatcher()
            self.service.after.append(lambda: vdso.refresh(self.kernel))
        except NoVdso as why:
            self.problems.append(f"getcpu: programs see the real CPU ({why})")
        if not self.follower.mirrors:
            self.problems.append(f"pages have {self.kernel.machine.page_size} bytes: touches are not followed")
        self.service.before_open.insert(0, self.follower.observe)
        self.kernel.tasks.look = self.follower.look

    # -- sessions -------------------------------------------------------------------------------

    def attach(self, listener: int, pid: int) -> None:
        """Answer the calls of `pid`, which is behind a filter, and of all that it starts. The listener is ours now.

        Raises ProcessLookupError.
        """
        with self.service.lock:
            events = self.follower.attach(pid)
            session = Session(listener, events, {pid})
            self._sessions[listener] = session
            if events is None:
                self.problems.append("perf events: refused; touches are found by scans, new threads when they call")
            else:
                for descriptor in events.descriptors():
                    self._epoll.register(descriptor, select.EPOLLIN | select.EPOLLET)
            self._epoll.register(listener, select.EPOLLIN)
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="system calls", daemon=True)
                self._thread.start()
        os.write(self._wake_write, b"!")

    def close(self) -> None:
        """Answer no more: calls of programs that still run fail with ENOSYS."""
        self._stopping = True
        os.write(self._wake_write, b"!")
        if self._thread is not None:
            self._thread.join()
        self._epoll.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _end(self, session: Session) -> None:
        """Nobody is behind this filter any more."""
        with self.service.lock:
            del self._sessions[session.listener]
            self._epoll.unregister(session.listener)
            os.close(session.listener)
            if session.events is not None:
                self.follower.detach(session.events)
            self.follower.end(session.tgids)

    # -- the loop -------------------------------------------------------------------------------

    def _serve(self) -> None:
        while not self._stopping:
            self._receive(0 if self._queue else TICK_S if self._sessions else -1)
            if self._queue:
                self._answer(*self._queue.popleft())
        for session in list(self._sessions.values()):
            self._end(session)

    def _receive(self, timeout: float) -> None:
        """Take every call that waits, and let go of sessions that are over."""
        ready = self._epoll.poll(timeout)
        if not ready and self.follower.pending():
            self._tick()
        for descriptor, what in ready:
            session = self._sessions.get(descriptor)
            if session is None:
                self._woken(descriptor)
            elif what & select.EPOLLIN:
                call = seccomp.receive(descriptor, self._buffer)
                if call is not None:
                    self._queue.append((session, call))
            elif not any(waiting is session for waiting, _ in self._queue):
                self._end(session)

    def _woken(self, descriptor: int) -> None:
        if descriptor == self._wake_read:
            os.read(self._wake_read, 4096)
        else:
            self._tick()

    def _tick(self) -> None:
        try:
            with self.service.lock:
                self.follower.tick()
        except Exception:
            log.exception("bug in numafs: programs are not followed")
            self._failed()

    def _failed(self) -> None:
        """With `strict`, a bug is the end: nobody is to take what follows for the truth."""
        if self.strict:
            self._stopping = True

    def _answer(self, session: Session, call: Notification) -> None:
        try:
            value = self._result(session, call)
        except Gone:
            return
        except OSError as refused:
            log.debug("task %d: %s", call.tid, refused)
            seccomp.respond(session.listener, call.id, 0, refused.errno or errno.EIO)
            return
        except Exception:
            log.exception("bug in numafs: system call %d of task %d", call.number, call.tid)
            seccomp.respond(session.listener, call.id, 0, errno.EIO)
            self._failed()
            return
        if value is None:
            seccomp.proceed(session.listener, call.id)
        else:
            seccomp.respond(session.listener, call.id, value)

    def _result(self, session: Session, call: Notification) -> int | None:
        """What the call returns; None if the kernel is to carry it out."""
        name = NAMES[call.arch][call.number]
        word = abi.BY_ARCH[call.arch].word
        memory = RemoteMemory(call.tid, word, lambda: seccomp.id_valid(session.listener, call.id))
        if name in CALLS:
            return self._model_call(session, CALLS[name], call, memory)
        if name in abi.LOADED:
            self._program_loaded(session, call.tid)
        elif name in abi.OPENED:
            self._opens(session, call, memory, name)
        else:
            return answer_statfs(name, call.tid, call.arguments, memory)
        return None

    # -- what calls do --------------------------------------------------------------------------

    def _model_call(self, session: Session, row: Call, call: Notification, memory: RemoteMemory) -> int:
        with self.service.lock:
            self.service.begin()
            task = self._caller(session, call.tid)
            arguments = self._translated(row, task, call.arguments)
            target = self._target(row, task, arguments)
            self._show(row, task, target, arguments)
            if row.rebinds and target is not None:
                self.follower.before_rebinding(target)
            try:
                value = row.handler(self.kernel, task, arguments, memory)
            except TaskKilled:
                self.follower.kill(task)
                raise Gone from None
            self.service.end()
            return value

    def _show(self, row: Call, task: Task, target: Task | None, arguments: tuple[int, ...]) -> None:
        """Let the model know what it is about to look at."""
        pages = seen_range(self.kernel, row, arguments)
        if pages is not None:
            self.follower.look_at(task, *pages)
        elif row.sees is Sees.ALL and target is not None:
            self.follower.look(target)

    def _caller(self, session: Session, tid: int) -> Task:
        """The thread that calls, with what has happened until now behind it."""
        self.follower.drain()
        task = self.follower.task_of(tid)
        if task is None:
            raise Gone
        uid = procs.uid_of(tid)
        if uid is not None:
            task.uid = self.follower.as_seen(uid)
        session.tgids.add(task.tgid)
        return task

    def _translated(self, row: Call, task: Task, arguments: tuple[int, ...]) -> tuple[int, ...]:
        """Arguments with the pid as we number it, if the caller lives in another pid namespace."""
        if not row.names_task or as_int(arguments[0]) <= 0:
            return arguments
        pid = self.follower.global_pid(task, as_int(arguments[0]))
        return (pid, *arguments[1:])

    def _target(self, row: Call, task: Task, arguments: tuple[int, ...]) -> Task | None:
        """Whose memory or place the call is about."""
        pid = as_int(arguments[0]) if row.names_task else 0
        if pid <= 0:
            return task
        return self.kernel.tasks.find(pid)

    def _program_loaded(self, session: Session, tid: int) -> None:
        with self.service.lock:
            task = self._caller(session, tid)
            if self.vdso is not None:
                self.vdso.patch(self.kernel, task)
        for hook in self.loaded:
            hook(task.tgid)

    def _opens(self, session: Session, call: Notification, memory: RemoteMemory, name: str) -> None:
        """A file is opened: one of a process must be the model's by now."""
        path = read_string(memory, call.arguments[abi.OPENED[name] - 1])
        directory, _, base = path.rpartition(b"/")
        if base not in self.process_files:
            return
        with self.service.lock:
            task = self._caller(session, call.tid)
            of = directory.removeprefix(b"/proc/").split(b"/")[0]
            tgid = self.follower.global_pid(task, int(of)) if of.isdigit() else task.tgid
        for hook in self.opened:
            hook(tgid)
