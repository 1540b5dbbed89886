# SPDX-License-Identifier: MIT
"""Numbers of the system calls that the door of system calls knows, by architecture.

arch/x86/entry/syscalls/syscall_{64,32}.tbl, include/uapi/asm-generic/unistd.h, include/uapi/linux/audit.h.

Simplified: calls of the x32 ABI are not answered by the model.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

__all__ = ["ABIS", "BY_ARCH", "LOADED", "NOTIFIED", "REFUSED", "SECCOMP", "Abi"]


@dataclass(frozen=True, slots=True)
class Abi:
    """One calling convention: its AUDIT_ARCH, the bytes of a long and of a pointer, and its numbers."""

    arch: int
    word: int
    numbers: dict[str, int]


X86_64 = Abi(0xC000_003E, 8, {
    "mbind": 237, "set_mempolicy": 238, "get_mempolicy": 239, "migrate_pages": 256, "move_pages": 279,
    "set_mempolicy_home_node": 450, "sched_setaffinity": 203, "sched_getaffinity": 204, "getcpu": 309,
    "statfs": 137, "fstatfs": 138, "arch_prctl": 158, "exit_group": 231, "rseq": 334,
    "set_robust_list": 273,
})
I386 = Abi(0x4000_0003, 4, {
    "mbind": 274, "set_mempolicy": 276, "get_mempolicy": 275, "migrate_pages": 294, "move_pages": 317,
    "set_mempolicy_home_node": 450, "sched_setaffinity": 241, "sched_getaffinity": 242, "getcpu": 318,
    "statfs": 99, "fstatfs": 100, "statfs64": 268, "fstatfs64": 269, "set_thread_area": 243, "exit_group": 252,
    "rseq": 386, "set_robust_list": 311,
})
AARCH64 = Abi(0xC000_00B7, 8, {
    "mbind": 235, "set_mempolicy": 237, "get_mempolicy": 236, "migrate_pages": 238, "move_pages": 239,
    "set_mempolicy_home_node": 450, "sched_setaffinity": 122, "sched_getaffinity": 123, "getcpu": 168,
    "statfs": 43, "fstatfs": 44, "set_tid_address": 96, "exit_group": 94, "rseq": 293,
    "set_robust_list": 99,
})

_ON_ARM = platform.machine() == "aarch64"
ABIS = (AARCH64,) if _ON_ARM else (X86_64, I386)
"""Those that programs of this machine may use."""
BY_ARCH = {abi.arch: abi for abi in (X86_64, I386, AARCH64)}
SECCOMP = 277 if _ON_ARM else 317
"""The number of seccomp(2) itself."""

LOADED = {"arch_prctl", "set_thread_area", "set_tid_address"}
"""Every C library and Go call one of these first of all in a new program: they tell that one was loaded."""
BEGUN = {"set_robust_list"}
"""The GNU C library calls this in each new thread, and in the child of each fork."""
NOTIFIED = frozenset(name for abi in (X86_64, I386, AARCH64) for name in abi.numbers) - {"rseq"}
REFUSED = frozenset({"rseq"})
"""Answered ENOSYS by the kernel at once: libraries then ask the vDSO which CPU they are on, not their rseq area."""
