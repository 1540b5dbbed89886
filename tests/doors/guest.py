"""What programs of the tests import: raw system calls, of x86-64 and aarch64, and memory to touch."""

from __future__ import annotations

import ctypes
import mmap
import os
import platform

ARM = platform.machine() == "aarch64"
MBIND, SET_MEMPOLICY, GET_MEMPOLICY, MIGRATE_PAGES, MOVE_PAGES = (
    (235, 237, 236, 238, 239) if ARM else (237, 238, 239, 256, 279)
)
BIND, INTERLEAVE = 2, 3
F_NODE, F_ADDR = 1, 2
PAGE = 4096
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)


def syscall(number: int, *arguments: object) -> int:
    """The value, or minus the errno."""
    wide = [ctypes.c_ulong(each) if isinstance(each, int) else each for each in arguments]
    value = libc.syscall(ctypes.c_long(number), *wide)
    return -ctypes.get_errno() if value == -1 else value


def mask(*nodes: int):
    return ctypes.byref(ctypes.c_ulong(sum(1 << node for node in nodes)))


def set_policy(mode: int, *nodes: int) -> int:
    return syscall(SET_MEMPOLICY, mode, mask(*nodes) if nodes else 0, 65)


def policy() -> tuple[int, int, int]:
    """Result, mode, nodes."""
    mode, nodes = ctypes.c_int(), ctypes.c_ulong()
    return syscall(GET_MEMPOLICY, ctypes.byref(mode), ctypes.byref(nodes), 65, 0, 0), mode.value, nodes.value


def alloc(pages: int, shared: bool = False) -> int:
    """The address of new anonymous memory, untouched."""
    kind = (mmap.MAP_SHARED if shared else mmap.MAP_PRIVATE) | mmap.MAP_ANONYMOUS
    return libc.mmap(None, pages * PAGE, mmap.PROT_READ | mmap.PROT_WRITE, kind, -1, 0)


def touch(address: int, first: int, stop: int) -> None:
    for page in range(first, stop):
        ctypes.memset(address + page * PAGE, 1, 1)


def free(address: int, first: int, stop: int) -> None:
    assert not libc.madvise(ctypes.c_void_p(address + first * PAGE), ctypes.c_size_t((stop - first) * PAGE), 4)


def nodes_of(address: int, pages: int, pid: int = 0) -> str:
    """`N0=5 N2=7`, and `-14=1` for what is not there."""
    addresses = (ctypes.c_ulong * pages)(*(address + i * PAGE for i in range(pages)))
    status = (ctypes.c_int * pages)()
    result = syscall(MOVE_PAGES, pid, pages, addresses, 0, status, 0)
    assert result == 0, os.strerror(-result)
    found = sorted(set(status), key=lambda node: (node < 0, node))
    return " ".join(f"{'N' if node >= 0 else ''}{node}={list(status).count(node)}" for node in found)
