# SPDX-License-Identifier: MIT
"""Play sequences of operations on the model: the language of actor.c, which plays them on the real kernel.

    # 17                       a fresh machine
    mkdir|rmdir GROUP          mv GROUP NEW         put GROUP/FILE TEXT        sys NAME TEXT
    spawn S                    fork S CHILD         exit S                     cpus S MASK
    map S R PAGES p|s          unmap|touch|load|lock|unlock S R OFF N          advise S R OFF N ADVICE
    policy S MODE MASK MAXNODE                      mbind S R OFF N MODE MASK MAXNODE FLAGS
    home S R OFF N NODE FLAGS                       getpol S R PAGE|- FLAGS MAXNODE
    migrate S PID OLD NEW MAXNODE                   move S PID R PAGE N STRIDE NODE|-2 FLAGS

S is the slot of a task, R the number of a region, MASK hexadecimal or `-` for a null pointer; `@2` is the pid of
the task in slot 2. Each operation answers `= 0 TEXT` or `= EINVAL`, and tells of each task and of the groups if
their state changed.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import groupby

from numafs.fs import root as tree
from numafs.fs.attr import Caller
from numafs.fs.proc_pid import Entry, numa_maps_show
from numafs.fs.tree import Dir
from numafs.fs.verb_memory import BASE, STRIDE
from numafs.kernel import madvise, mbind, memory, mempolicy, migrate, mlock, mmap, sched
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.kernel.errors import TaskKilled
from numafs.kernel.mm import Task
from numafs.kernel.nodemask import Mask, list_text
from numafs.machine.spec import Machine

__all__ = ["SLOTS", "V1", "V2", "Hierarchy", "Player", "play", "sequences"]

SLOTS = 8
QUERY = -2
NO_SUCH_PID = 999_999


@dataclass(frozen=True)
class Hierarchy:
    """Where cpusets are, in one of the two versions of cgroups."""

    path: str
    files: tuple[str, ...]
    """What is told of a group, in this order; the last are its threads."""
    enable: tuple[str, str]
    """What is written to the root before all."""
    tell_root: bool = False


V1 = Hierarchy(
    "sys/fs/cgroup/cpuset",
    ("cpuset.cpus", "cpuset.mems", "cpuset.effective_cpus", "cpuset.effective_mems", "cpuset.cpu_exclusive",
     "cpuset.mem_exclusive", "cpuset.mem_hardwall", "cpuset.memory_migrate", "cpuset.memory_spread_page",
     "cpuset.memory_spread_slab", "cpuset.sched_load_balance", "cpuset.sched_relax_domain_level",
     "cgroup.clone_children", "notify_on_release", "tasks"),
    ("cgroup.clone_children", "0"),
)
V2 = Hierarchy(
    "sys/fs/cgroup/unified",
    ("cpuset.cpus", "cpuset.mems", "cpuset.cpus.effective", "cpuset.mems.effective", "cpuset.cpus.partition",
     "cgroup.type", "cgroup.subtree_control", "cgroup.threads"),
    ("cgroup.subtree_control", "+cpuset"), tell_root=True,
)
SHOW_GROUPS_AFTER = frozenset("mrpesf")
"""Beginnings of operations that may change groups or who is in them."""
_UNSTABLE = ("active=", "kernelpagesize", "file=")
"""Words of numa_maps that are left out: when the real kernel drains its per-CPU lists is chance."""
_OF_PTES = ("dirty=", "mapped=")
"""Left out of shared memory: which page table a dirty bit is in is not the model's matter."""

_ERRNO = {errno.EOPNOTSUPP: "EOPNOTSUPP"}
"""Where Python prefers another name."""

ROOT = Caller(pid=1)


def sequences(lines: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """(heading, lines) of each sequence of a script or of its results."""
    heading = ""
    body: list[str] = []
    for line in lines:
        if line.startswith("#"):
            if heading:
                yield heading, body
            heading, body = line, []
        elif line:
            body.append(line)
    if heading and heading != "# end":
        yield heading, body


def hierarchy_of(machine: Machine) -> Hierarchy:
    """The one that has the cpuset controller."""
    return V2 if machine.cgroup == "v2" else V1


def play(machine: Machine, operations: Iterable[str]) -> list[str]:
    """What the operations of one sequence bring forth, as actor.c prints it."""
    player = Player(machine)
    said = [line for operation in operations for line in player.step(operation)]
    check(player.kernel)
    return said


def _mask(text: str) -> Mask | None:
    return None if text == "-" else int(text, 16)


def _left_out(words: Sequence[str]) -> tuple[str, ...]:
    private = any(word.startswith("anon=") for word in words)
    return _UNSTABLE if private else (*_UNSTABLE, *_OF_PTES)


class Player:
    """A machine, its tasks by slot, and what was last said of them."""

    def __init__(self, machine: Machine) -> None:
        self.kernel = boot(machine)
        self.hierarchy = hierarchy_of(machine)
        self.root = tree.build(self.kernel)
        self.slots: list[Task | None] = [None] * SLOTS
        self.told = [""] * SLOTS
        self.groups = ""
        self._enter_root()

    def _enter_root(self) -> None:
        """What the root cpuset remembers of its nodes is set when a task enters it."""
        for operation in (
            f"put {' '.join(self.hierarchy.enable)}", "spawn 0", "mkdir first", "put first/cpuset.cpus 0",
            "put first/cpuset.mems 0", "put first/cgroup.procs @0", "put cgroup.procs @0", "rmdir first", "exit 0",
        ):
            self.step(operation)

    # ------------------------------------------------------------ one operation

    def step(self, operation: str) -> list[str]:
        """Do it; says its result and what changed."""
        for slot, task in enumerate(self.slots):
            operation = operation.replace(f"@{slot}", str(task.pid if task else NO_SUCH_PID))
        said = [f"= {self._result(operation)}"]
        for slot in range(SLOTS):
            said += self._show_task(slot)
        if operation[0] in SHOW_GROUPS_AFTER:
            said += self._show_groups()
        return said

    def _result(self, operation: str) -> str:
        name, _, rest = operation.partition(" ")
        try:
            if name in self.ON_FILES:
                where, _, text = rest.partition(" ")
                self.ON_FILES[name](self, where, text)
                return "0"
            slot, *words = rest.split(" ")
            return f"0 {self._on_task(name, int(slot), words)}".rstrip() if name not in self.LIFE else (
                self.LIFE[name](self, int(slot), words)
            )
        except TaskKilled:
            return "KILLED"
        except OSError as error:
            return _ERRNO.get(error.errno or 0) or errno.errorcode[error.errno or 0]

    # ------------------------------------------------------------ files

    def _mkdir(self, path: str, _: str) -> None:
        parent, name = self.root.resolve_parent(f"{self.hierarchy.path}/{path}")
        parent.mkdir(name, 0o755, ROOT)

    def _rmdir(self, path: str, _: str) -> None:
        parent, name = self.root.resolve_parent(f"{self.hierarchy.path}/{path}")
        parent.rmdir(name, ROOT)

    def _mv(self, path: str, new: str) -> None:
        parent, name = self.root.resolve_parent(f"{self.hierarchy.path}/{path}")
        new_parent, new_name = self.root.resolve_parent(f"{self.hierarchy.path}/{new}")
        parent.rename(name, new_parent, new_name, ROOT)

    def _put(self, path: str, text: str) -> None:
        self.root.write_text(f"{self.hierarchy.path}/{path}", text, ROOT)

    def _sys(self, name: str, text: str) -> None:
        self.root.write_text(f"proc/sys/vm/{name}", text, ROOT)

    ON_FILES: dict[str, Callable[[Player, str, str], None]] = {
        "mkdir": _mkdir, "rmdir": _rmdir, "mv": _mv, "put": _put, "sys": _sys,
    }

    # ------------------------------------------------------------ life

    def _spawn(self, slot: int, _: list[str]) -> str:
        if self.slots[slot]:
            return "EEXIST"
        task = self.slots[slot] = self.kernel.tasks.spawn(self.kernel, "actor")
        with suppress(OSError):
            sched.sched_setaffinity(self.kernel, task, 1)
        return "0"

    def _fork(self, slot: int, words: list[str]) -> str:
        child = int(words[0])
        if self.slots[child]:
            return "EEXIST"
        task = self.slots[slot]
        if task is None:
            return "ESRCH"
        self.slots[child] = self.kernel.tasks.fork(self.kernel, task)
        return "0"

    def _exit(self, slot: int, _: list[str]) -> str:
        task = self.slots[slot]
        if task is None:
            return "ESRCH"
        self.kernel.tasks.do_exit(self.kernel, task)
        self.slots[slot] = None
        return "0"

    LIFE: dict[str, Callable[[Player, int, list[str]], str]] = {"spawn": _spawn, "fork": _fork, "exit": _exit}

    # ------------------------------------------------------------ what a task does

    def _on_task(self, name: str, slot: int, words: list[str]) -> str:
        task = self.slots[slot]
        if task is None or task.exited:
            raise OSError(errno.ESRCH, "no such task")
        if name in self.ON_PAGES:
            region, offset, pages, *more = words
            start = self._page(int(region), int(offset))
            self.ON_PAGES[name](self, task, start, start + int(pages), more)
            return ""
        return self.ON_TASK[name](self, task, words)

    def _page(self, region: int, page: int) -> int:
        return (BASE + region * STRIDE) // self.kernel.machine.page_size + page

    def _unmap(self, task: Task, start: int, stop: int, _: list[str]) -> None:
        mmap.munmap(self.kernel, task, start, stop)

    def _touch(self, task: Task, start: int, stop: int, _: list[str]) -> None:
        memory.touch(self.kernel, task, start, stop, True)

    def _load(self, task: Task, start: int, stop: int, _: list[str]) -> None:
        memory.touch(self.kernel, task, start, stop, False)

    def _lock(self, task: Task, start: int, stop: int, _: list[str]) -> None:
        mlock.mlock(self.kernel, task, start, stop)

    def _unlock(self, task: Task, start: int, stop: int, _: list[str]) -> None:
        mlock.munlock(self.kernel, task, start, stop)

    def _advise(self, task: Task, start: int, stop: int, words: list[str]) -> None:
        madvise.madvise(self.kernel, task, start, stop, words[0])

    def _mbind(self, task: Task, start: int, stop: int, words: list[str]) -> None:
        mode, mask, maxnode, flags = words
        mbind.mbind(self.kernel, task, start, stop, int(mode, 0), _mask(mask), int(maxnode, 0), int(flags, 0))

    def _home(self, task: Task, start: int, stop: int, words: list[str]) -> None:
        mbind.set_mempolicy_home_node(self.kernel, task, start, stop, int(words[0]), int(words[1], 0))

    ON_PAGES: dict[str, Callable[[Player, Task, int, int, list[str]], None]] = {
        "unmap": _unmap, "touch": _touch, "load": _load, "lock": _lock, "unlock": _unlock, "advise": _advise,
        "mbind": _mbind, "home": _home,
    }

    def _map(self, task: Task, words: list[str]) -> str:
        region, pages, kind = words
        mmap.mmap(self.kernel, task, self._page(int(region), 0), int(pages), shared=kind == "s")
        return ""

    def _cpus(self, task: Task, words: list[str]) -> str:
        sched.sched_setaffinity(self.kernel, task, int(words[0], 16))
        return ""

    def _policy(self, task: Task, words: list[str]) -> str:
        mode, mask, maxnode = words
        mempolicy.set_mempolicy(self.kernel, task, int(mode, 0), _mask(mask), int(maxnode, 0))
        return ""

    def _getpol(self, task: Task, words: list[str]) -> str:
        region, page, flags, maxnode = words
        at = None if page == "-" else self._page(int(region), int(page))
        mode, nodes = mempolicy.get_mempolicy(self.kernel, task, at, int(flags, 0), int(maxnode, 0))
        return f"{mode:d} {nodes:x}"

    def _migrate(self, task: Task, words: list[str]) -> str:
        pid, old, new, maxnode = words
        left = migrate.migrate_pages(
            self.kernel, task, int(pid), int(old, 16), int(new, 16), int(maxnode, 0)
        )
        return str(left)

    def _move(self, task: Task, words: list[str]) -> str:
        pid, region, page, n, stride, node, flags = (int(word, 0) for word in words)
        first = self._page(region, page)
        pages = [first + i * stride for i in range(n)]
        nodes = None if node == QUERY else [node] * n
        result, status = migrate.move_pages(self.kernel, task, pid, pages, nodes, flags)
        if result < 0:
            raise OSError(-result, "move_pages")
        runs = (f" {-999 if value is None else value}x{len(list(group))}" for value, group in groupby(status))
        return f"{result}{''.join(runs)}"

    ON_TASK: dict[str, Callable[[Player, Task, list[str]], str]] = {
        "map": _map, "cpus": _cpus, "policy": _policy, "getpol": _getpol, "migrate": _migrate, "move": _move,
    }

    # ------------------------------------------------------------ what is told

    def _show_task(self, slot: int) -> list[str]:
        """The task's state if it changed; then it is bound to its lowest CPU."""
        task = self.slots[slot]
        if task is None or task.exited:
            told, self.told[slot], self.slots[slot] = self.told[slot], "", None
            return [f"T{slot} gone"] if told else []
        usable = task.cpus_allowed & self.kernel.cpu_online
        now = f"cpus={list_text(usable)} mems={list_text(task.mems_allowed)}{self._maps(task)}"
        sched.sched_setaffinity(self.kernel, task, usable & -usable)
        if now == self.told[slot]:
            return []
        self.told[slot] = now
        return [f"T{slot} {now}"]

    def _maps(self, task: Task) -> str:
        lines = (line.split(" ") for line in numa_maps_show(Entry(self.kernel, task)).splitlines())
        return "".join(
            "; " + " ".join(word for word in words if not word.startswith(_left_out(words)))
            for words in lines if words[0].startswith("1") and len(words[0]) == 12
        )

    def _show_groups(self) -> list[str]:
        lines = [*([self._group("")] if self.hierarchy.tell_root else ()), *self._all_groups("")]
        now = "".join(f"{line}\n" for line in lines) or "G none\n"
        if now == (self.groups or "G none\n"):
            return []
        self.groups = now
        return now.splitlines()

    def _all_groups(self, path: str) -> Iterator[str]:
        group = self._dir(path)
        for name in sorted(group.names()):
            if isinstance(group.lookup(name), Dir):
                inside = f"{path}/{name}" if path else name
                yield self._group(inside)
                yield from self._all_groups(inside)

    def _dir(self, path: str) -> Dir:
        group = self.root.resolve(f"{self.hierarchy.path}/{path}")
        assert isinstance(group, Dir)
        return group

    def _group(self, path: str) -> str:
        *files, members = self.hierarchy.files
        values = [f" {value.strip() or '-'}" for name in files if (value := self._text(path, name)) is not None]
        pids = {int(pid) for pid in (self._text(path, members) or "").split()}
        inside = sum(1 << slot for slot, task in enumerate(self.slots) if task and task.pid in pids)
        return f"G {path or '/'}{''.join(values)} tasks={inside:x}"

    def _text(self, path: str, name: str) -> str | None:
        """What a file of a group says, if it has the file."""
        try:
            return self.root.read_text(f"{self.hierarchy.path}/{path}/{name}")
        except FileNotFoundError:
            return None
