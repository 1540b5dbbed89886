# SPDX-License-Identifier: MIT
"""The same writes to a cpuset of this machine and to one of the model: do they get the same answers?

The real ones go to a group of their own below the cpuset hierarchy of cgroup v1, from a process of their own, and
the group is removed afterwards. Pids that could be somebody's are not written.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random

from numafs.fs import root as tree
from numafs.fs.attr import Caller
from numafs.fs.tree import Root
from numafs.kernel.boot import boot
from numafs.machine.presets import resolve

from .mount import write
from .texts import kind_of, text

__all__ = ["FILES", "differences", "why_not"]

HIERARCHY = Path("/sys/fs/cgroup/cpuset")
MODEL = "sys/fs/cgroup/cpuset"
FILES = (
    "cpuset.cpus", "cpuset.mems", "cpuset.cpu_exclusive", "cpuset.mem_exclusive", "cpuset.mem_hardwall",
    "cpuset.memory_migrate", "cpuset.memory_spread_page", "cpuset.memory_spread_slab", "cpuset.sched_load_balance",
    "cgroup.clone_children", "notify_on_release", "tasks", "cgroup.procs",
)
TOLD = ("cpuset.cpus", "cpuset.mems", "cpuset.memory_migrate", "cpuset.mem_hardwall")
PID_MAX = 4_194_304
SHORT = 100
"""Bytes of a list that every machine takes, however few CPUs it may have (100 + 6 * NR_CPUS)."""


def why_not() -> str:
    """Why nothing can be compared here; empty if it can."""
    if not (HIERARCHY / "cpuset.cpus").exists():
        return "no cpuset hierarchy of cgroup v1 on this machine"
    if not os.access(HIERARCHY, os.W_OK):
        return "the cpuset hierarchy may not be written"
    if (HIERARCHY / "release_agent").read_text().strip():
        return "the cpuset hierarchy has a release agent, which would be run"
    return ""


def could_be_a_pid(data: bytes) -> bool:
    """Is there a number in it, in any base, that a process may have?"""
    numbers = re.findall(rb"0[xX][0-9a-fA-F]+|[0-9]+", data)
    return any(
        0 < int(number, base) % 2**32 <= PID_MAX
        for number in numbers for base in (8, 10, 16)
        if base == 16 or number.isdigit() and (base == 10 or not set(number) & set(b"89"))
    )


def may_be_written(name: str, data: bytes) -> bool:
    """Is it harmless, and would every version of the kernel since 6.1 answer alike?

    Long lists depend on the number of CPUs that the kernel is built for, and since the scheduler has fair servers,
    a cpuset that has its CPUs to itself cannot be left without any.
    """
    if not 0 < len(data) <= SHORT or kind_of(name) == "pid" and could_be_a_pid(data):
        return False
    return name != "cpuset.cpus" or bool(re.search(rb"[0-9N]|all", data.split(b"\0")[0], re.IGNORECASE))


def writes(random: Random, count: int) -> Iterator[tuple[str, bytes]]:
    """Files and what is written to them."""
    while count:
        name = random.choice(FILES)
        data = text(random, kind_of(name))
        if may_be_written(name, data):
            count -= 1
            yield name, data


@contextmanager
def group() -> Iterator[Path]:
    """A real cpuset that is gone afterwards, whoever is in it then."""
    path = HIERARCHY / f"numafs-fuzz-{os.getpid()}"
    path.mkdir()
    try:
        yield path
    finally:
        for pid in (path / "cgroup.procs").read_text().split():
            (HIERARCHY / "cgroup.procs").write_text(pid)
        path.rmdir()


def _answer_of_model(root: Root, path: str, data: bytes, caller: Caller) -> str:
    try:
        root.resolve(path).open(caller, os.O_WRONLY).write(0, data, caller)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "0"


def _real(count: int, seed: int) -> list[str]:
    """The answers of this machine; the writes come from a child process, who moves itself into the group."""
    reader, writer = os.pipe()
    with group() as path:
        child = os.fork()
        if not child:
            try:
                with os.fdopen(writer, "w") as out:
                    for name, data in writes(Random(f"host {seed}"), count):
                        out.write(write(path / name, data) + _told(path) + "\n")
            finally:
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answers:
            said = answers.read().splitlines()
        os.waitpid(child, 0)
    return said


def _told(path: Path) -> str:
    return "".join(f" {(path / name).read_text().strip()}" for name in TOLD)


def _model(count: int, seed: int) -> list[str]:
    kernel = boot(resolve(f"1x{os.cpu_count()}:512M"))
    root = tree.build(kernel)
    parent, _ = root.resolve_parent(f"{MODEL}/fuzz")
    parent.mkdir("fuzz", 0o755, Caller(pid=1))
    caller = Caller(pid=kernel.tasks.spawn(kernel, "writer", cpu=0).pid)
    said = []
    for name, data in writes(Random(f"host {seed}"), count):
        answer = _answer_of_model(root, f"{MODEL}/fuzz/{name}", data, caller)
        said.append(answer + "".join(f" {root.read_text(f'{MODEL}/fuzz/{told}').strip()}" for told in TOLD))
    return said


def differences(count: int, seed: int) -> list[str]:
    """Writes that this machine and the model answer otherwise, or after which they show other values."""
    asked = writes(Random(f"host {seed}"), count)
    triples = zip(asked, _real(count, seed), _model(count, seed), strict=True)
    return [f"{name} {data[:60]!r}: real {real}, model {model}"
            for (name, data), real, model in triples if real != model]
