# SPDX-License-Identifier: MIT
"""The door of paths: a private mount namespace in which a mounted machine lies over the host's own files.

As root a mount namespace is enough; an ordinary user gets it inside a user namespace that maps nobody but
them. Mounts of the host still come and go in it (propagation "slave"), nothing ever goes out. It ends with
its last process, and with it all that was bound in it. mount(2), unshare(2), setns(2), by ctypes.

A file of /proc/PID is bound for each process: its mount lives as long as the process, through any exec.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = [
    "PLACES", "PROCESS_FILES", "Refused", "Uncovered", "cover", "cover_process", "detach", "enter", "needs_mount_table",
    "own_namespace", "private_copy", "setns", "why_refused",
]

CLONE_NEWNS, CLONE_NEWUSER = 0x0002_0000, 0x1000_0000
MS_BIND, MS_REC, MS_SLAVE = 0x1000, 0x4000, 1 << 19
MNT_DETACH = 2

PLACES = (
    "sys/devices/system/node", "sys/devices/system/cpu", "sys/devices/system/memory",
    "sys/devices/virtual/memory_tiering", "sys/bus/node", "sys/bus/cpu", "sys/bus/memory", "sys/bus/memory_tiering",
    "sys/kernel/mm",
    "proc/meminfo", "proc/vmstat", "proc/zoneinfo", "proc/cpuinfo", "proc/stat", "proc/buddyinfo", "proc/pagetypeinfo",
    "proc/slabinfo", "proc/swaps", "proc/cgroups", "proc/filesystems", "proc/interrupts", "proc/softirqs", "proc/irq",
    "proc/sys/vm", "proc/sys/kernel/numa_balancing", "proc/sys/kernel/numa_balancing_promote_rate_limit_MBps",
)
"""What is bound over the host's own, in this order; links between the directories of sysfs are relative."""

CGROUPS = "sys/fs/cgroup"
HIERARCHIES = (f"{CGROUPS}/cpuset", f"{CGROUPS}/unified")
LEGACY = "dev/cpuset"

PROCESS_FILES = ("status", "numa_maps", "cpuset", "cgroup")
"""What is bound over a process's own files."""
MOUNT_TABLES = ("mounts", "mountinfo")
"""And these, where the host's mount table does not show the machine's cpusets."""

_libc = ctypes.CDLL(None, use_errno=True)


class Refused(OSError):
    """The host lets nobody make the namespace; says what to add."""


class Uncovered(NamedTuple):
    """A place at which the host's own shows, and why."""

    place: str
    why: str


# -- system calls ---------------------------------------------------------------------------------


def _checked(result: int, what: str) -> None:
    if result:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _checked(_libc.unshare(flags), "unshare")


def setns(descriptor: int, flags: int = CLONE_NEWNS) -> None:
    """setns(2): into the mount namespace of a pidfd's process, or that of a file of /proc/PID/ns."""
    _checked(_libc.setns(descriptor, flags), "setns")


def mount(source: str, target: str, flags: int, kind: str | None = None, data: str | None = None) -> None:
    """mount(2)."""
    words = [None if word is None else os.fsencode(word) for word in (source, target, kind, data)]
    _checked(_libc.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), f"mount on {target}")


def detach(directory: str) -> None:
    """umount2(2) with MNT_DETACH; the file system is not asked."""
    _checked(_libc.umount2(os.fsencode(directory), MNT_DETACH), f"umount {directory}")


# -- the namespace --------------------------------------------------------------------------------


def enter() -> str:
    """Go into a mount namespace of one's own: "root", or "user" if it took a user namespace; raises Refused."""
    try:
        unshare(CLONE_NEWNS)
        how = "root"
    except PermissionError:
        how = "user"
        _enter_user_namespace()
    _leave_propagation()
    return how


def why_refused() -> str:
    """Why nobody may go into a namespace of one's own here, found out in a child; empty if it can be done."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            enter()
        except Refused as refused:
            os.write(writer, str(refused.strerror).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            Path("/proc/self", name).write_text(text)
    except OSError as error:
        raise Refused(error.errno, _what_to_add(error)) from error


def _what_to_add(error: OSError) -> str:
    """What the administrator of a host or a container may change, by what was refused."""
    said = error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        return f"{said}: no user namespaces are left; raise user.max_user_namespaces"
    hints = ["start the container with --cap-add SYS_ADMIN --device /dev/fuse --security-opt apparmor=unconfined"]
    for knob, good in (("unprivileged_userns_clone", "1"), ("apparmor_restrict_unprivileged_userns", "0")):
        try:
            if Path("/proc/sys/kernel", knob).read_text().strip() != good:
                hints.insert(0, f"sysctl kernel.{knob}={good}")
        except OSError:
            continue
    return f"{said}: no mount namespace of one's own may be made here; run it as root, or {', or '.join(hints)}"


def _leave_propagation() -> None:
    mount("none", "/", MS_REC | MS_SLAVE)


def private_copy() -> None:
    """A copy of this process's mount namespace, for itself; what is mounted in one is not seen in the other."""
    unshare(CLONE_NEWNS)
    _leave_propagation()


def own_namespace() -> int:
    """A descriptor of the mount namespace that this process is in."""
    return os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)


# -- what is bound --------------------------------------------------------------------------------


def cover(root: str, host: str = "/") -> list[Uncovered]:
    """Bind the machine mounted at `root` over the host's files; what could not be covered."""
    missing = [problem for place in PLACES if (problem := _bind(root, place, host))]
    missing += _cover_cgroups(root, host)
    if problem := _bind(root, LEGACY, host):
        missing.append(problem)
    return missing


def _bind(root: str, place: str, host: str = "/") -> Uncovered | None:
    source, target = os.path.join(root, place), os.path.join(host, place)
    if not os.path.lexists(source):
        return None
    if not os.path.lexists(target):
        return Uncovered(place, "the host has no such file")
    try:
        mount(source, target, MS_BIND)
    except OSError as error:
        return Uncovered(place, str(error.strerror))
    return None


def _cover_cgroups(root: str, host: str) -> Iterator[Uncovered]:
    """The machine's hierarchies: over the host's own where it has them, else all of its cgroups make room."""
    wanted = [place for place in HIERARCHIES if os.path.isdir(os.path.join(root, place))]
    if not all(os.path.isdir(os.path.join(host, place)) for place in wanted):
        try:
            _make_room(os.path.join(host, CGROUPS), [os.path.basename(place) for place in wanted])
        except OSError as error:
            yield Uncovered(CGROUPS, str(error.strerror))
            return
    for place in wanted:
        if problem := _bind(root, place, host):
            yield problem


def _make_room(directory: str, names: Iterable[str]) -> None:
    mount("cgroup", directory, 0, "tmpfs", "mode=755")
    for name in names:
        os.mkdir(os.path.join(directory, name))


def needs_mount_table(table: str = "/proc/self/mounts") -> bool:
    """Does the mount table name no v1 hierarchy of cpusets where the machine's is? A binding of FUSE is no `cgroup`."""
    for line in Path(table).read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        _, where, kind, options, *_ = line.split(" ")
        if where == f"/{HIERARCHIES[0]}" and kind == "cgroup" and "cpuset" in options.split(","):
            return False
    return True


def cover_process(root: str, pid: int, names: Iterable[str] = PROCESS_FILES) -> list[Uncovered]:
    """Bind what the machine says of a process over its own files; what could not be covered."""
    missing = []
    try:
        there = os.open(os.path.join(root, "proc", str(pid)), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        return [Uncovered(f"proc/{pid}", str(error.strerror))]
    try:
        for name in names:
            try:  # by the descriptor, because each look at the path would ask the daemon again
                mount(f"/proc/self/fd/{there}/{name}", f"/proc/{pid}/{name}", MS_BIND)
            except OSError as error:
                missing.append(Uncovered(f"proc/{pid}/{name}", str(error.strerror)))
    finally:
        os.close(there)
    return missing
