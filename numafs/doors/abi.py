# SPDX-License-Identifier: MIT
"""Numbers of the system calls that the door of system calls knows, by architecture.

arch/x86/entry/syscalls/syscall_{64,32}.tbl, include/uapi/asm-generic/unistd.h, include/uapi/linux/audit.h.

Simplified: calls of the x32 ABI are not answered by the model.
"""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass

__all__ = ["ABIS", "BY_ARCH", "LOADED", "NOTIFIED", "NOT_READ", "OPENED", "REFUSED", "SECCOMP", "Abi"]


@dataclass(frozen=True, slots=True)
class Abi:
    """One calling convention: its AUDIT_ARCH, the bytes of a long and of a pointer, and its numbers."""

    arch: int
    word: int
    numbers: dict[str, int]


X86_64 = Abi(0xC000_003E, 8, {
    "mbind": 237, "set_mempolicy": 238, "get_mempolicy": 239, "migrate_pages": 256, "move_pages": 279,
    "set_mempolicy_home_node": 450, "sched_setaffinity": 203, "sched_getaffinity": 204, "getcpu": 309,
    "statfs": 137, "fstatfs": 138, "arch_prctl": 158, "rseq": 334,
    "open": 2, "openat": 257,
})
I386 = Abi(0x4000_0003, 4, {
    "mbind": 274, "set_mempolicy": 276, "get_mempolicy": 275, "migrate_pages": 294, "move_pages": 317,
    "set_mempolicy_home_node": 450, "sched_setaffinity": 241, "sched_getaffinity": 242, "getcpu": 318,
    "statfs": 99, "fstatfs": 100, "statfs64": 268, "fstatfs64": 269, "set_thread_area": 243,
    "rseq": 386, "open": 5, "openat": 295,
})
AARCH64 = Abi(0xC000_00B7, 8, {
    "mbind": 235, "set_mempolicy": 237, "get_mempolicy": 236, "migrate_pages": 238, "move_pages": 239,
    "set_mempolicy_home_node": 450, "sched_setaffinity": 122, "sched_getaffinity": 123, "getcpu": 168,
    "statfs": 43, "fstatfs": 44, "set_tid_address": 96, "rseq": 293,
    "openat": 56,
})

_ON_ARM = platform.machine() == "aarch64"
ABIS = (AARCH64,) if _ON_ARM else (X86_64, I386)
"""Those that programs of this machine may use."""
BY_ARCH = {abi.arch: abi for abi in (X86_64, I386, AARCH64)}
SECCOMP = 277 if _ON_ARM else 317
"""The number of seccomp(2) itself."""

LOADED = {"arch_prctl", "set_thread_area", "set_tid_address"}
"""Every C library and Go call one of these first of all in a new program: they tell that one was loaded."""
OPENED = {"open": 1, "openat": 2}
"""Which argument of these has the flags; they are notified of if the flags have none of NOT_READ."""
NOT_READ = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_DIRECTORY | os.O_PATH | os.O_CLOEXEC
"""Not what fopen(3) for reading has: loaders and most runtimes close on exec, and need not wait for us each time."""
NOTIFIED = frozenset(name for abi in (X86_64, I386, AARCH64) for name in abi.numbers) - {"rseq"}
REFUSED = frozenset({"rseq"})
"""Answered ENOSYS by the kernel at once: libraries then ask the vDSO which CPU they are on, not their rseq area."""
