# SPDX-License-Identifier: MIT
"""getcpu(2) never enters the kernel: what it answers is changed in each new program's vDSO.

`__vdso_getcpu` keeps asking the processor where it runs, and looks the answer up in a table of modelled CPUs and
nodes that lies in the zeros behind the vDSO's code. arch/x86/entry/vdso/vgetcpu.c.

Simplified: all threads of a process are shown the CPU of its leader; programs that ask the processor themselves (rdpid,
rdtscp) and 32-bit programs see the real CPU. CPUs and nodes above 255 show modulo 256.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Task

__all__ = ["NoVdso", "VdsoPatcher"]

AT_SYSINFO_EHDR = 33
VDSO_SIZE = 0x2000
TABLE, TABLE_CPUS = 0x1C00, 256
"""Where in the vDSO the table is, and for how many real CPUs."""
PT_DYNAMIC, DT_HASH, DT_STRTAB, DT_SYMTAB = 2, 4, 5, 6


class NoVdso(Exception):
    """This kernel's vDSO is not as we know it."""


class VdsoPatcher:
    """Changes the vDSO of programs; raises NoVdso where it cannot."""

    def __init__(self) -> None:
        image = _own_image()
        self._offset = symbol(image, b"__vdso_getcpu")
        if any(image[TABLE : TABLE + 2 * TABLE_CPUS]):
            raise NoVdso("no room for a table")
        self._code = self._make_code(image)
        self._told: dict[int, tuple[int, int]] = {}
        """Where the vDSO of each program is, and which CPU it shows."""

    def _make_code(self, image: bytes) -> bytes:
        head = image[self._offset : self._offset + 9]
        if head[:5] != b"\xb8\x7b\0\0\0":  # mov $GDT_ENTRY_CPUNODE_SEG*8+3,%eax ; lsl or rdpid follows
            raise NoVdso(f"__vdso_getcpu begins with {head.hex()}")
        return head + (
            b"\x25\xff\x00\0\0"  # and $0xff,%eax
            + b"\x48\x8d\x0d" + struct.pack("<i", TABLE - (self._offset + 21))  # lea table(%rip),%rcx
            + b"\x0f\xb6\x14\x41"  # movzbl (%rcx,%rax,2),%edx
            + b"\x0f\xb6\x4c\x41\x01"  # movzbl 1(%rcx,%rax,2),%ecx
            + b"\x48\x85\xff\x74\x02\x89\x17"  # test %rdi,%rdi; je .+2; mov %edx,(%rdi)
            + b"\x48\x85\xf6\x74\x02\x89\x0e"  # test %rsi,%rsi; je .+2; mov %ecx,(%rsi)
            + b"\x31\xc0\xc3"  # xor %eax,%eax; ret
        )

    def patch(self, kernel: Kernel, task: Task) -> None:
        """A program was loaded; it has not run yet."""
        base = _vdso_of(task.tgid)
        self._told.pop(task.tgid, None)
        if base:
            self._told[task.tgid] = base, task.cpu
            _poke(task.tgid, [(base + TABLE, table(kernel, task)), (base + self._offset, self._code)])

    def refresh(self, kernel: Kernel) -> None:
        """Tasks may have been moved to other CPUs: tell those who were."""
        for tgid, (base, cpu) in list(self._told.items()):
            task = kernel.tasks.get(tgid)
            if task is None:
                del self._told[tgid]
            elif task.cpu != cpu:
                self._told[tgid] = base, task.cpu
                _poke(tgid, [(base + TABLE, table(kernel, task))])


def table(kernel: Kernel, task: Task) -> bytes:
    """Modelled CPU and node for each real CPU: the CPU that the task is on for all."""
    cpu = task.cpu
    return bytes((cpu & 0xFF, kernel.cpu_to_node[cpu] & 0xFF)) * TABLE_CPUS


def _own_image() -> bytes:
    base = _vdso_of(os.getpid())
    if not base:
        raise NoVdso("there is none")
    return ctypes.string_at(base, VDSO_SIZE)


def _vdso_of(pid: int) -> int:
    """Where the vDSO of a 64-bit process is; 0 if nobody knows."""
    try:
        with open(f"/proc/{pid}/auxv", "rb") as file:
            data = file.read()
    except OSError:
        return 0
    for key, value in struct.iter_unpack("<QQ", data[: len(data) // 16 * 16]):
        if key == AT_SYSINFO_EHDR:
            return int(value)
    return 0


def _poke(pid: int, what: list[tuple[int, bytes]]) -> None:
    """Write to memory that the process itself cannot write."""
    try:
        descriptor = os.open(f"/proc/{pid}/mem", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for address, data in what:
            os.pwrite(descriptor, data, address)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def symbol(image: bytes, name: bytes) -> int:
    """Where in an ELF image a dynamic symbol is."""
    dynamic = _dynamic(image)
    for i in range(_symbols(image, dynamic)):
        at = dynamic[DT_SYMTAB] + 24 * i
        string, _, _, _, value, _ = struct.unpack_from("<IBBHQQ", image, at)
        start = dynamic[DT_STRTAB] + string
        if image[start : start + len(name) + 1] == name + b"\0":
            return int(value)
    raise NoVdso(f"no symbol {name.decode()}")


def _symbols(image: bytes, dynamic: dict[int, int]) -> int:
    """How many symbols there are: DT_HASH says it; without, those before the string table."""
    if DT_HASH in dynamic:
        return int(struct.unpack_from("<II", image, dynamic[DT_HASH])[1])
    return (dynamic[DT_STRTAB] - dynamic[DT_SYMTAB]) // 24


def _dynamic(image: bytes) -> dict[int, int]:
    headers, = struct.unpack_from("<Q", image, 32)
    count, = struct.unpack_from("<H", image, 56)
    for i in range(count):
        kind, _, offset = struct.unpack_from("<IIQ", image, headers + 56 * i)
        if kind != PT_DYNAMIC:
            continue
        entries: dict[int, int] = {}
        for key, value in struct.iter_unpack("<QQ", image[offset : offset + (len(image) - offset) // 16 * 16]):
            if not key:
                return entries
            entries[key] = value
    raise NoVdso("no dynamic section")
