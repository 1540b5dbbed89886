# SPDX-License-Identifier: MIT
"""The memory of a real process, by the addresses of its system calls: process_vm_readv(2), process_vm_writev(2)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Protocol

from numafs.kernel.errors import EFAULT

__all__ = ["Gone", "Memory", "RemoteMemory"]


class Memory(Protocol):
    """What the handlers of system calls need of their caller's memory."""

    word: int
    """Bytes of a long and of a pointer in it."""

    def read(self, address: int, length: int) -> bytes:
        """copy_from_user(): raises EFAULT."""

    def write(self, address: int, data: bytes) -> None:
        """copy_to_user(): raises EFAULT."""


class Gone(Exception):
    """The caller died: nothing of what was read is to be acted upon."""


class _Iovec(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


_libc = ctypes.CDLL(None, use_errno=True)
for _call in (_libc.process_vm_readv, _libc.process_vm_writev):
    _call.restype = ctypes.c_ssize_t
    _call.argtypes = (
        ctypes.c_int, ctypes.POINTER(_Iovec), ctypes.c_ulong, ctypes.POINTER(_Iovec), ctypes.c_ulong, ctypes.c_ulong,
    )


class RemoteMemory:
    """The memory of the process that thread `tid` belongs to; `still_there` says whether that is still the same."""

    def __init__(self, tid: int, word: int, still_there: Callable[[], bool] = lambda: True) -> None:
        self.tid = tid
        self.word = word
        self.still_there = still_there

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes at `address`."""
        buffer = ctypes.create_string_buffer(length)
        local, remote = _Iovec(ctypes.addressof(buffer), length), _Iovec(address, length)
        if _libc.process_vm_readv(self.tid, local, 1, remote, 1, 0) != length:
            raise EFAULT(f"{length} bytes at {address:#x} of task {self.tid} cannot be read")
        if not self.still_there():
            raise Gone
        return buffer.raw

    def write(self, address: int, data: bytes) -> None:
        """Put `data` at `address`."""
        buffer = ctypes.create_string_buffer(data, len(data))
        local, remote = _Iovec(ctypes.addressof(buffer), len(data)), _Iovec(address, len(data))
        if _libc.process_vm_writev(self.tid, local, 1, remote, 1, 0) != len(data):
            raise EFAULT(f"{len(data)} bytes at {address:#x} of task {self.tid} cannot be written")
