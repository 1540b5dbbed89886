# SPDX-License-Identifier: MIT
"""The directory numafs/: the model's own controls, for a shell.

    exec 3<>numafs/tasks/create; echo "idle --node 1" >&3; read pid <&3     a task; read back its pid
    echo "alloc 300M --touch" > numafs/tasks/$pid/ctl                       let it do something
    cat numafs/tasks/$pid/reply                                             what the last verb said
    echo "read f100 --node 2" > numafs/tasks/run                            a task that does this and ends

A file that takes requests answers them: what is read next on the same open file is the reply
to what was written, the error's text if the write failed. A fresh open shows the last reply.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

from numafs.kernel.check import Inconsistent, check
from numafs.kernel.errors import EINVAL, ESRCH

from . import verbs
from .attr import Attr, Caller
from .tree import PLAIN, Dir, File, Following, Handle, Node, may_access
from .verb_grammar import bad, doing, split_line

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Task

__all__ = ["Dialogue", "numafs_dir", "parse_duration"]

Answer = Callable[[str, Caller], str]


class Dialogue(Node):
    """A file that answers what is written to it."""

    sizeless = True

    def __init__(self, answer: Answer, mode: int, uid: int = 0, gid: int = 0) -> None:
        super().__init__(PLAIN, mode, uid, gid)
        self.answer = answer
        self.last = ""
        """The last reply that anybody got."""

    def open(self, caller: Caller, flags: int = 0) -> Handle:
        """Open it, if its mode lets `caller`."""
        want = (4, 2, 6, 6)[flags & 3]
        if not may_access(self, caller, want):
            raise OSError(13, "Permission denied")
        return OpenDialogue(self, caller)


class OpenDialogue(Handle):
    """One open of a `Dialogue`.

    The file position moves with the write, so the reply is read from there on, and also from 0.
    """

    __slots__ = ("base", "file", "opener", "reply")

    def __init__(self, file: Dialogue, opener: Caller) -> None:
        self.file = file
        self.opener = opener
        self.base = 0
        self.reply: bytes | None = None

    def write(self, offset: int, data: bytes, caller: Caller | None = None) -> int:
        """One request; an error's text becomes the reply, and the position stays."""
        who = Caller((caller or self.opener).pid, self.opener.uid, self.opener.gid, self.opener.umask)
        self.base = offset
        try:
            self._answered(self.file.answer(data.decode("utf-8", "surrogateescape"), who))
        except OSError as error:
            self._answered(f"{error.strerror}\n")
            raise
        self.base = offset + len(data)
        return len(data)

    def _answered(self, reply: str) -> None:
        self.file.last = reply
        self.reply = reply.encode("utf-8", "surrogateescape")

    def read(self, offset: int, size: int, caller: Caller | None = None) -> bytes:
        """A part of the reply."""
        if self.reply is None:
            self.reply = self.file.last.encode("utf-8", "surrogateescape")
        if offset == 0:
            self.base = 0
        if offset < self.base:
            return b""
        return self.reply[offset - self.base : offset - self.base + size]


# ---------------------------------------------------------------- tasks/


def create(kernel: Kernel) -> Answer:
    """A task that stays: the reply is its pid."""
    return lambda text, caller: f"{verbs.create_task(kernel, text, caller.uid, caller.gid).pid}\n"


def run(kernel: Kernel) -> Answer:
    """A task that does something and ends: the reply is what its verbs said."""
    return lambda text, caller: verbs.run_oneshot(kernel, text, caller.uid, caller.gid)


def adopt(kernel: Kernel) -> Answer:
    """A real process, `self` or a pid, becomes known, with the options of a new task: the reply is its pid."""

    def answer(text: str, caller: Caller) -> str:
        words = [word for command in split_line(text) for word in command]
        options, others = verbs.TASK_OPTIONS.take_options(words)
        if len(others) > 1:
            raise bad(f"adopt: bad argument '{others[1]}'")
        pid = _pid(others[0] if others else "self", caller)
        with doing("adopt"):
            task = kernel.tasks.find(pid)
            if task is None:
                raise ESRCH(f"no process {pid}")
        verbs.apply_options(kernel, task, options)
        return f"{pid}\n"

    return answer


def _pid(word: str, caller: Caller) -> int:
    if word in ("self", "0"):
        return caller.pid
    if not word.isdecimal() or len(word) > 20:
        raise bad(f"bad pid '{word[:20]}'")
    return int(word)


def task_dir(kernel: Kernel, task: Task) -> Dir:
    """`ctl`, to tell the task what to do, and `reply`, what it last said."""
    directory = Dir(PLAIN, 0o755, task.uid, task.gid)

    def answer(text: str, caller: Caller) -> str:
        return verbs.run_verb(kernel, task, text)

    ctl = Dialogue(answer, 0o644, task.uid, task.gid)
    directory.add("ctl", ctl)
    directory.add("reply", File(PLAIN, Attr("reply", 0o444, lambda dialogue: dialogue.last), ctl))
    return directory


def tasks_dir(kernel: Kernel) -> Dir:
    """A directory for each task but the kernel's own threads, and what makes new ones."""

    def known(pid: int) -> bool:
        task = kernel.tasks.get(pid)
        return task is not None and not task.kthread

    def make(pid: int) -> Node:
        task = kernel.tasks.get(pid)
        assert task is not None
        return task_dir(kernel, task)

    numbered = Following("", lambda: [task.pid for task in kernel.tasks if not task.kthread], known, make)
    directory = Dir(PLAIN, 0o755, find=numbered.find, more=numbered.names)
    directory.add("create", Dialogue(create(kernel), 0o666))
    directory.add("run", Dialogue(run(kernel), 0o666))
    directory.add("adopt", Dialogue(adopt(kernel), 0o666))
    return directory


# ---------------------------------------------------------------- the rest

STEP_MAX_NS = 86_400 * 10**9
_UNITS = {"": 1_000_000_000, "ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000, "m": 60_000_000_000}


def parse_duration(text: str) -> int:
    """Nanoseconds of `10`, `0.5s`, `200ms`, `3m`."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)(ns|us|ms|s|m|)\s*", text)
    if not match:
        raise EINVAL(f"{text.strip()!r} is no duration: seconds, or with ns, us, ms, s or m")
    whole, _, fraction = match[1].partition(".")
    unit = _UNITS[match[2]]
    parts: int = int(fraction or "0") * unit // 10 ** len(fraction)
    return int(whole or "0") * unit + parts


def step_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """Let model time pass, and what is due in it happen."""
    duration = parse_duration(data.decode("ascii", "replace"))
    if duration > STEP_MAX_NS:
        raise EINVAL(f"{duration // 10**9} seconds are more than a day")
    kernel.clock.advance(duration)


def clock_show(kernel: Kernel) -> str:
    """Seconds since boot, in model time."""
    return f"{kernel.clock.now // 1_000_000_000}.{kernel.clock.now % 1_000_000_000:09}\n"


def check_show(kernel: Kernel) -> str:
    """Walk the whole model: `ok`, or what does not agree."""
    try:
        check(kernel)
    except Inconsistent as findings:
        return f"{findings}\n"
    return "ok\n"


CONTROLS: tuple[Attr[Kernel], ...] = (
    Attr("clock", 0o444, clock_show),
    Attr("step", 0o200, store=step_store),
    Attr("check", 0o444, check_show),
    Attr("log", 0o444, lambda kernel: "".join(f"{line}\n" for line in kernel.kmsg)),
    Attr("seed", 0o444, lambda kernel: f"{kernel.machine.seed}\n"),
    Attr("help", 0o444, lambda kernel: verbs.help_text()),
)


def numafs_dir(kernel: Kernel) -> Dir:
    """numafs/."""
    directory = Dir(PLAIN)
    directory.add_files(CONTROLS, kernel)
    directory.add("tasks", tasks_dir(kernel))
    return directory
