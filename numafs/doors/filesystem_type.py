# SPDX-License-Identifier: MIT
"""statfs(2), for tools that ask whether a directory is a cgroup hierarchy, sysfs or proc: FUSE shows its own type.

fs/statfs.c, include/uapi/linux/magic.h.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .remote import Memory

__all__ = ["answer_statfs", "read_string"]

FUSE = 0x6573_5546
SYSFS, PROC, CGROUP = 0x6265_6572, 0x9FA0, 0x27_E0EB
BY_PLACE = (("/sys/fs/cgroup", CGROUP), ("/dev/cpuset", CGROUP), ("/sys", SYSFS), ("/proc", PROC))
"""What is expected at a path, the more special first."""
PATH_MAX = 4096
PAGE = 4096


class _Statfs(ctypes.Structure):
    """struct statfs of 64-bit machines."""

    _fields_ = (
        ("f_type", ctypes.c_long), ("f_bsize", ctypes.c_long), ("f_blocks", ctypes.c_ulong),
        ("f_bfree", ctypes.c_ulong), ("f_bavail", ctypes.c_ulong), ("f_files", ctypes.c_ulong),
        ("f_ffree", ctypes.c_ulong), ("f_fsid", ctypes.c_int * 2), ("f_namelen", ctypes.c_long),
        ("f_frsize", ctypes.c_long), ("f_flags", ctypes.c_long), ("f_spare", ctypes.c_long * 4),
    )


def answer_statfs(name: str, tid: int, arguments: Sequence[int], memory: Memory) -> int | None:
    """0 if the answer was written: it is about a part of the machine; None if the kernel is to answer.

    To be called without the lock of the model: it looks at the mount. Programs of 32 bits ask the kernel.
    """
    if memory.word != 8:
        return None
    if name == "fstatfs":
        where, buffer = f"/proc/{tid}/fd/{arguments[0] & 0xFFFF_FFFF}", arguments[1]
    else:
        path = os.fsdecode(read_string(memory, arguments[0]))
        if not path.startswith(("/sys", "/proc", "/dev/cpuset")) and path.startswith("/"):
            return None
        where, buffer = f"/proc/{tid}/{'root' if path.startswith('/') else 'cwd/'}{path}", arguments[1]
    found = _statfs(where)
    if found is None or found.f_type != FUSE:
        return None
    kind = expected_type(where, tid)
    if kind is None:
        return None
    found.f_type = kind
    memory.write(buffer, bytes(found))
    return 0


def expected_type(where: str, tid: int) -> int | None:
    """The file system that a real machine has at the place that `where` leads to."""
    descriptor = os.open(where, os.O_PATH | os.O_CLOEXEC)
    try:
        place = os.readlink(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    place = place.removeprefix(f"/proc/{tid}/root")
    return next((kind for prefix, kind in BY_PLACE if (place + "/").startswith(prefix + "/")), None)


def _statfs(path: str) -> _Statfs | None:
    libc = ctypes.CDLL(None, use_errno=True)
    found = _Statfs()
    if libc.statfs(os.fsencode(path), ctypes.byref(found)):
        return None
    return found


def read_string(memory: Memory, address: int) -> bytes:
    """strncpy_from_user() of a path: page by page, because the next may not be there."""
    found = b""
    while len(found) < PATH_MAX and b"\0" not in found:
        length = min(256, PAGE - (address + len(found)) % PAGE)
        found += memory.read(address + len(found), length)
    return found.split(b"\0", 1)[0]

