# SPDX-License-Identifier: MIT
"""Real processes in the model: adopted when somebody writes their pid, gone when they exit.

What a process does with its memory is its own affair; the model knows that it lives, its
threads, its children and its group. Exit is seen by a pidfd, the rest is read from /proc/PID.

Simplified: a child is seen when the next file is opened, so one whose parent has exited by then
is missed; a zombie is no task.
"""

from __future__ import annotations

import logging
import os
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Task

__all__ = ["RealTasks"]

log = logging.getLogger("numafs.door")

PROC = Path("/proc")
PF_KTHREAD = 0x0020_0000
PF_NO_SETAFFINITY = 0x0400_0000


@dataclass
class _Process:
    """An adopted process: its pidfd, and the children it had before, which are none of the model's business."""

    tgid: int
    pidfd: int
    strangers: set[int] = field(default_factory=set)


class RealTasks:
    """The adopted processes of one kernel. A door calls `reap` before each operation and `follow` before an open."""

    def __init__(self, kernel: Kernel, *, may_kill: bool = False) -> None:
        self.kernel = kernel
        self._processes: dict[int, _Process] = {}
        self._exits = select.epoll()
        self._may_kill = may_kill
        self.born: list[Callable[[int, int], None]] = []
        """Told of each new child: process ids of its parent and its own."""
        self.died: list[Callable[[int], None]] = []
        """Told of each process that has exited."""
        kernel.tasks.find_real = self.adopt
        kernel.tasks.read_real = read_real
        kernel.on_kill = self.kill

    def close(self) -> None:
        """Let go of every process."""
        for process in self._processes.values():
            os.close(process.pidfd)
        self._processes.clear()
        self._exits.close()

    def fileno(self) -> int:
        """A descriptor that can be read when an adopted process has exited."""
        return self._exits.fileno()

    def adopt(self, pid: int) -> Task | None:
        """The task of a living process or thread, which the model now knows; None if there is none."""
        status = _status(pid)
        if status is None or status["State"][:1] in "ZX":
            return None
        tgid = int(status["Tgid"])
        if not self._watch(tgid):
            return None
        self._processes[tgid].strangers.update(_children(tgid))
        task = self._enter(pid, status, None)
        flags = _flags(pid)
        task.kthread, task.bound = bool(flags & PF_KTHREAD), bool(flags & PF_NO_SETAFFINITY)
        return task

    def kill(self, task: Task) -> None:
        """SIGKILL to a real process, if the mount allows it; the model sees it exit as any other."""
        process = self._processes.get(task.tgid)
        if process is None or not self._may_kill:
            log.warning("process %d (%s) was to be killed; the mount has no option `kill`", task.tgid, task.comm)
            return
        log.info("process %d (%s) is killed", task.tgid, task.comm)
        try:
            signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
        except ProcessLookupError:
            log.debug("process %d had ended", task.tgid)

    def reap(self) -> None:
        """Let what has exited leave the model."""
        if not self._processes:
            return
        for pidfd, _ in self._exits.poll(0):
            process = next(known for known in self._processes.values() if known.pidfd == pidfd)
            self._exited(process)

    def let_go(self, tgid: int) -> None:
        """Somebody else follows this process from now on; it stays in the model."""
        process = self._processes.pop(tgid, None)
        if process is not None:
            self._exits.unregister(process.pidfd)
            os.close(process.pidfd)

    def follow(self) -> None:
        """Take in new threads and children of what is adopted, and let go of threads that ended."""
        for process in list(self._processes.values()):
            self._follow_threads(process)
            self._follow_children(process)

    # -- one process --------------------------------------------------------------------------

    def _watch(self, tgid: int) -> bool:
        if tgid in self._processes:
            return True
        try:
            pidfd = os.pidfd_open(tgid)
        except OSError:
            return False
        self._processes[tgid] = _Process(tgid, pidfd)
        self._exits.register(pidfd, select.EPOLLIN)
        return True

    def _enter(self, pid: int, status: dict[str, str], parent: Task | None) -> Task:
        tgid = int(status["Tgid"])
        uid, gid = (int(status[key].split()[0]) for key in ("Uid", "Gid"))
        log.debug("process %d (%s) is adopted", tgid, status["Name"])
        return self.kernel.tasks.adopt(
            self.kernel, pid, tgid, status["Name"], uid, gid, _threads(tgid), parent=parent
        )

    def _exited(self, process: _Process) -> None:
        del self._processes[process.tgid]
        self._exits.unregister(process.pidfd)
        os.close(process.pidfd)
        for tid in self._known_threads(process):
            self._forget(tid)
        for tell in self.died:
            tell(process.tgid)

    def _follow_threads(self, process: _Process) -> None:
        leader = self.kernel.tasks.get(process.tgid)
        alive, known = set(_threads(process.tgid)), self._known_threads(process)
        if leader is None or not alive:
            return
        for tid in known - alive:
            self._forget(tid)
        if alive - known and (status := _status(process.tgid)):
            self._enter(process.tgid, status, leader)

    def _follow_children(self, process: _Process) -> None:
        parent = self.kernel.tasks.get(process.tgid)
        for pid in _children(process.tgid):
            if parent is None or pid in process.strangers or pid in self._processes:
                continue
            status = _status(pid)
            if status and status["State"][:1] not in "ZX" and self._watch(pid):
                self._enter(pid, status, parent)
                for tell in self.born:
                    tell(process.tgid, pid)
                self._follow_children(self._processes[pid])

    def _known_threads(self, process: _Process) -> set[int]:
        leader = self.kernel.tasks.get(process.tgid)
        return {thread.pid for thread in self.kernel.tasks.threads(leader)} if leader else set()

    def _forget(self, tid: int) -> None:
        task = self.kernel.tasks.get(tid)
        if task is not None:
            self.kernel.tasks.do_exit(self.kernel, task)


def read_real(pid: int, name: str) -> str | None:
    """What the host's /proc/PID/`name` says; None if it cannot be read."""
    try:
        return (PROC / str(pid) / name).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None


def _status(pid: int) -> dict[str, str] | None:
    """The lines of /proc/PID/status; None if there is no such task."""
    text = read_real(pid, "status")
    if text is None:
        return None
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def _flags(pid: int) -> int:
    """task_struct.flags of a task, the seventh field behind its name in /proc/PID/stat."""
    try:
        text = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
        return int(text.rpartition(")")[2].split()[6])
    except (OSError, ValueError, IndexError):
        return 0


def _threads(tgid: int) -> list[int]:
    """The threads of a process, those that are zombies too."""
    try:
        return [int(name) for name in os.listdir(PROC / str(tgid) / "task")]
    except OSError:
        return []


def _children(tgid: int) -> list[int]:
    """The living children of a process, whichever thread made them."""
    found: list[int] = []
    for tid in _threads(tgid):
        try:
            found += map(int, (PROC / f"{tgid}/task/{tid}/children").read_text().split())
        except OSError:
            continue
    return found
