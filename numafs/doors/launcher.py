# SPDX-License-Identifier: MIT
"""The launcher of `numafs run`: goes where the machine is, joins it, and becomes the command.

The command has the launcher's process id, terminal and parent, so its exit status and signals are its own.
A private machine is mounted only in the session's mount namespace: the kernel unmounts it, and so ends its
daemon, when the session's last process has gone.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from .daemon import background
from .errors import MountFailed
from .launch import SOCKET_FILE, VERSION, receive, send
from .mounter import start_mounter
from .namespace import (
    MOUNT_TABLES,
    PROCESS_FILES,
    Uncovered,
    cover,
    cover_process,
    detach,
    enter,
    needs_mount_table,
    private_copy,
)
from .seccomp import install_filter

__all__ = ["CALM", "LaunchFailed", "Launcher", "become", "place_for_a_mount"]

Serve = Callable[[str, Callable[[], None]], None]
"""Serves a machine at a directory; calls the second when it answers."""

EMPTY = ("/mnt", "/media", "/srv")
"""Directories that are often there and empty."""
NOT_FOUND, NOT_EXECUTABLE = 127, 126
CALM = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""Threads of OpenMP wait for each other by spinning if they think that each has a CPU: not with more than there are."""


class LaunchFailed(Exception):
    """The command cannot be run inside the machine; says why."""


class Launcher:
    """This process, on its way into a machine."""

    def __init__(self) -> None:
        self.root = ""
        self.how = ""
        """"root" or "user": whose right made the namespace."""
        self.uncovered: list[Uncovered] = []
        self.problems: list[str] = []
        """What of system calls does not work, and what is done instead."""
        self._channel: socket.socket | None = None

    def join(self, directory: str) -> None:
        """Go into the machine that is mounted at `directory`; raises LaunchFailed."""
        self.root = os.path.realpath(directory)
        self._check_mounted()
        self.how = enter()
        self._go_in()

    def join_private(self, serve: Serve) -> None:
        """Mount a machine that ends with this session, and go into it; raises LaunchFailed and MountFailed."""
        self.how = enter()
        self.root, made = place_for_a_mount()
        mounter = self._start_mounter()
        _mount(serve, self.root, made)
        self._go_in(mounter)

    def answer_system_calls(self) -> bool:
        """Let the machine answer the system calls of this process; False if another run's machine does already.

        From here on nothing may be called that it would answer, until it listens. Raises LaunchFailed.
        """
        try:
            listener = install_filter()
        except OSError as error:
            if error.errno == errno.EBUSY:
                return False
            raise LaunchFailed(f"system calls cannot be caught: {error.strerror} (try --no-syscalls)") from error
        answer = self._ask({"listener": True}, (listener,))
        os.close(listener)
        problems = answer.get("problems")
        self.problems = [str(problem) for problem in problems] if isinstance(problems, list) else []
        return True

    def _check_mounted(self) -> None:
        if not os.path.exists(os.path.join(self.root, SOCKET_FILE)):
            raise LaunchFailed(f"{self.root}: no machine is mounted there")

    def _start_mounter(self) -> socket.socket:
        return start_mounter(self.root, self._process_files())

    def _process_files(self) -> tuple[str, ...]:
        return (*PROCESS_FILES, *(MOUNT_TABLES if needs_mount_table() else ()))

    def _go_in(self, mounter: socket.socket | None = None) -> None:
        mounter = mounter or self._start_mounter()
        self._channel = self._connect()
        self._ask({"version": VERSION}, (mounter.fileno(),))
        mounter.close()
        here = os.getcwd()
        self.uncovered = [*cover(self.root), *cover_process(self.root, os.getpid(), self._process_files())]
        with suppress(OSError):  # it may lie below what is covered now
            os.chdir(here)

    def _connect(self) -> socket.socket:
        name = Path(self.root, SOCKET_FILE).read_text().strip()
        channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            channel.connect("\0" + name)
        except OSError as error:
            raise LaunchFailed(
                f"{self.root}: its daemon cannot be reached from here (another network namespace?): {error.strerror}"
            ) from error
        return channel

    def _ask(self, message: dict[str, object], descriptors: tuple[int, ...]) -> dict[str, object]:
        assert self._channel
        send(self._channel, message, descriptors)
        try:
            answer, _ = receive(self._channel)
        except (EOFError, OSError) as error:
            raise LaunchFailed("the daemon hung up") from error
        if not answer.get("ok"):
            raise LaunchFailed(f"the daemon refuses: {answer.get('why')}")
        return answer


def place_for_a_mount() -> tuple[str, bool]:
    """A directory for a mount that only this namespace sees, and whether it was made for that."""
    for directory in EMPTY:
        with suppress(OSError):
            if not os.listdir(directory) and not os.path.islink(directory):
                return directory, False
    return tempfile.mkdtemp(prefix="numafs-run-"), True


def _mount(serve: Serve, directory: str, made: bool) -> None:
    """Let a daemon that is nobody's child mount a machine, so that only this process sees it.

    The daemon stays in the namespace that this process leaves, where the mount is then taken away: it must not
    keep its own mount alive, nor read a file of its own.
    """
    problem, problem_in = os.pipe2(os.O_CLOEXEC)
    gone, gone_in = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(gone_in)
        _start_daemon(serve, directory, made, problem_in, gone)
    os.close(problem_in)
    with os.fdopen(problem, "rb") as pipe:
        said = pipe.read().decode("utf-8", "replace")
    if not said:
        private_copy()
    os.close(gone)
    os.close(gone_in)
    os.waitpid(child, 0)
    if said:
        raise MountFailed(said)


def _start_daemon(serve: Serve, directory: str, made: bool, problem: int, gone: int) -> NoReturn:
    """Between the two; ends when the launcher has gone elsewhere."""

    def daemon(ready: Callable[[], None]) -> None:
        os.closerange(4, 6)
        try:
            serve(directory, ready)
        finally:
            if made:
                os.rmdir(directory)

    said = "the daemon was not started"
    try:
        problem, gone = _keep_only(problem, gone)
        _, said = background(daemon)
    finally:
        os.write(problem, said.encode())
        os.close(problem)
        os.read(gone, 1)
        if not said:
            detach(directory)
        os._exit(0)


def _keep_only(first: int, second: int) -> tuple[int, int]:
    """Close all but the standard streams and these two, as there may be some that are the command's; their numbers."""
    high = [fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 16) for number in (first, second)]
    os.closerange(3, 16)
    kept = [os.dup2(old, new, inheritable=False) for old, new in zip(high, (4, 5), strict=True)]
    os.closerange(6, os.sysconf("SC_OPEN_MAX"))
    return kept[0], kept[1]


def become(command: Sequence[str], environment: dict[str, str]) -> NoReturn:
    """execvp(3), as a shell does it: 127 if there is no such program, 126 if it cannot be run."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # the interpreter ignores them
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvpe(command[0], list(command), environment)
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        os.write(2, f"numafs: {command[0]}: {error.strerror}\n".encode("utf-8", "surrogateescape"))
        os._exit(NOT_FOUND if missing else NOT_EXECUTABLE)
