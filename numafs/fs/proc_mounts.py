# SPDX-License-Identifier: MIT
"""/proc/mounts, /proc/PID/{mounts,mountinfo}: fs/proc_namespace.c (v6.1).

Simplified: one list for everybody, of what a machine of this kind would have mounted; a real process sees the
host's, with the machine's hierarchies of control groups in the place of those that are bound over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel

__all__ = ["mountinfo_of_real", "mountinfo_show", "mounts_of_real", "mounts_show"]

QUIET = "rw,nosuid,nodev,noexec,relatime"


BOUND = "fuse.numafs"
"""The type of a mount of ours in the host's table."""


class Mount(NamedTuple):
    """What is mounted where."""

    source: str
    where: str
    type: str
    flags: str = "rw,relatime"
    options: str = ""
    """Of the file system itself, behind its `rw`."""


FIXED = (
    Mount("rootfs", "/", "rootfs", "rw"),
    Mount("proc", "/proc", "proc", QUIET),
    Mount("sysfs", "/sys", "sysfs", QUIET),
)
CGROUP = {
    "v1": (
        Mount("cgroup", "/sys/fs/cgroup/cpuset", "cgroup", options=",cpuset"),
        Mount("none", "/dev/cpuset", "cgroup", options=",cpuset,noprefix,release_agent=/sbin/cpuset_release_agent"),
    ),
    "v2": (Mount("none", "/sys/fs/cgroup/unified", "cgroup2"),),
}


def mounts(kernel: Kernel) -> Iterator[Mount]:
    """Every mount of the machine; its disks lie below /data."""
    yield from FIXED
    for mount in CGROUP.get(kernel.machine.cgroup, ()):
        options, agent, path = mount.options.partition(",release_agent")
        mode = ",cpuset_v2_mode" if kernel.machine.cpuset_v2_mode and options else ""
        yield mount._replace(options=options + mode + agent + path)
    if kernel.machine.disks:
        yield Mount("/dev/vda", "/data", "ext4")


def mounts_show(kernel: Kernel) -> str:
    """fs/proc_namespace.c:show_vfsmnt() (v6.1)."""
    return "".join(f"{m.source} {m.where} {m.type} {m.flags}{m.options} 0 0\n" for m in mounts(kernel))


def mountinfo_show(kernel: Kernel) -> str:
    """fs/proc_namespace.c:show_mountinfo() (v6.1)."""
    return "".join(
        f"{number} 1 0:{number} / {m.where} {m.flags} - {m.type} {m.source} rw{m.options}\n"
        for number, m in enumerate(mounts(kernel), 2)
    )


def _hierarchies(kernel: Kernel) -> dict[str, Mount]:
    return {m.where: m for m in mounts(kernel) if m.type.startswith("cgroup")}


def mounts_of_real(kernel: Kernel, text: str) -> str:
    """What the host says of a real process's mounts, with the machine's control groups where they are bound."""
    ours = _hierarchies(kernel)
    out = []
    for line in text.splitlines(keepends=True):
        _, where, kind, *_ = line.split(" ")
        if where not in ours:
            out.append(line)
        elif kind == BOUND:
            m = ours[where]
            out.append(f"{m.source} {where} {m.type} {m.flags}{m.options} 0 0\n")
    return "".join(out)


def mountinfo_of_real(kernel: Kernel, text: str) -> str:
    """The same in the words of mountinfo."""
    ours = _hierarchies(kernel)
    out = []
    for line in text.splitlines(keepends=True):
        head, _, tail = line.partition(" - ")
        number, parent, device, _, where, *_ = head.split(" ")
        if where not in ours:
            out.append(line)
        elif tail.startswith(f"{BOUND} "):
            m = ours[where]
            out.append(f"{number} {parent} {device} / {where} {m.flags} - {m.type} {m.source} rw{m.options}\n")
    return "".join(out)
