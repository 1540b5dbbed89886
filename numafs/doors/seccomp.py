# SPDX-License-Identifier: MIT
"""seccomp user notification: the kernel asks this door what certain system calls of a program return.

Plain ctypes. kernel/seccomp.c, include/uapi/linux/{seccomp,filter}.h. Needs Linux 5.5; 5.19 keeps signal
handlers from interrupting a call that has been received.

Of most calls the filter reads nothing but the number and architecture, so that the kernel knows once and for all
which it lets pass, and does not run it for them.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from collections.abc import Callable
from typing import NamedTuple

from .abi import ABIS, NOT_READ, NOTIFIED, OPENED, REFUSED, SECCOMP, Abi

__all__ = ["Notification", "build_filter", "id_valid", "install_filter", "proceed", "receive", "respond"]

RET_ALLOW, RET_NOTIFY, RET_ERRNO = 0x7FFF_0000, 0x7FC0_0000, 0x0005_0000
LOAD, JUMP_EQUAL, JUMP_SET, RETURN = 0x20, 0x15, 0x45, 0x06
OFFSET_NUMBER, OFFSET_ARCH, OFFSET_ARGUMENTS = 0, 4, 16
"""In struct seccomp_data."""

SET_MODE_FILTER = 1
NEW_LISTENER, WAIT_KILLABLE_RECV = 1 << 3, 1 << 5
PR_SET_NO_NEW_PRIVS = 38

IOCTL_RECV, IOCTL_SEND, IOCTL_ID_VALID = 0xC050_2100, 0xC018_2101, 0x4008_2102
FLAG_CONTINUE = 1
RECEIVED = struct.Struct("=QIIiIQ6Q")
RESPONSE = struct.Struct("=QqiI")
EMPTY = bytes(RECEIVED.size)


class Notification(NamedTuple):
    """A system call that waits for its answer (struct seccomp_notif)."""

    id: int
    tid: int
    """As the receiver's pid namespace numbers it; 0 if it is not in there."""
    number: int
    arch: int
    arguments: tuple[int, ...]


# -- the filter -------------------------------------------------------------------------------


def _instruction(code: int, if_true: int, if_false: int, operand: int) -> bytes:
    """struct sock_filter."""
    return struct.pack("HBBI", code, if_true, if_false, operand)


def build_filter(abis: tuple[Abi, ...] = ABIS) -> bytes:
    """The BPF program: notify of these calls, refuse those, let the rest pass."""
    program = [_instruction(LOAD, 0, 0, OFFSET_ARCH)]
    for abi in abis:
        block = _block(abi)
        program += [_instruction(JUMP_EQUAL, 0, len(block), abi.arch), *block]
    program.append(_instruction(RETURN, 0, 0, RET_ALLOW))
    return b"".join(program)


def _block(abi: Abi) -> list[bytes]:
    """What is done with calls of one architecture."""
    refused = [number for name, number in abi.numbers.items() if name in REFUSED]
    notified = [number for name, number in abi.numbers.items() if name in NOTIFIED and name not in OPENED]
    block = [_instruction(LOAD, 0, 0, OFFSET_NUMBER)]
    for name, flags in OPENED.items():
        if name in abi.numbers:
            block += _opening(abi.numbers[name], flags)
    for number in refused:
        block.append(_instruction(JUMP_EQUAL, 0, 1, number))
        block.append(_instruction(RETURN, 0, 0, RET_ERRNO | errno.ENOSYS))
    for i, number in enumerate(notified):
        block.append(_instruction(JUMP_EQUAL, len(notified) - i, 0, number))
    block.append(_instruction(RETURN, 0, 0, RET_ALLOW))
    block.append(_instruction(RETURN, 0, 0, RET_NOTIFY))
    return block


def _opening(number: int, flags: int) -> list[bytes]:
    """Notify of an open that is for reading only."""
    return [
        _instruction(JUMP_EQUAL, 0, 4, number), _instruction(LOAD, 0, 0, OFFSET_ARGUMENTS + 8 * flags),
        _instruction(JUMP_SET, 0, 1, NOT_READ), _instruction(RETURN, 0, 0, RET_ALLOW),
        _instruction(RETURN, 0, 0, RET_NOTIFY),
    ]


def install_filter() -> int:
    """Put this process, and all that it starts, behind the filter; returns the listener's file descriptor.

    To be called in a process with one thread. EBUSY: it is behind such a filter already. A process that may not
    filter others' setuid programs gives up gaining privileges (NO_NEW_PRIVS).
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    program = build_filter()
    buffer = ctypes.create_string_buffer(program, len(program))
    sock_fprog = ctypes.create_string_buffer(struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer)))

    def seccomp(flags: int) -> int:
        listener = int(libc.syscall(SECCOMP, SET_MODE_FILTER, flags, ctypes.byref(sock_fprog)))
        if listener < 0:
            raise OSError(ctypes.get_errno(), f"seccomp: {os.strerror(ctypes.get_errno())}")
        return listener

    return _permitted(libc, lambda: _killable(seccomp))


def _killable(seccomp: Callable[[int], int]) -> int:
    try:
        return seccomp(NEW_LISTENER | WAIT_KILLABLE_RECV)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        return seccomp(NEW_LISTENER)


def _permitted(libc: ctypes.CDLL, install: Callable[[], int]) -> int:
    try:
        return install()
    except OSError as error:
        if error.errno != errno.EACCES:
            raise
        if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_NO_NEW_PRIVS)") from error
        return install()


# -- the listener -----------------------------------------------------------------------------


def receive(listener: int, buffer: bytearray) -> Notification | None:
    """The next call; None if the one that was there is gone again. `buffer` has the size of RECEIVED."""
    buffer[:] = EMPTY
    try:
        fcntl.ioctl(listener, IOCTL_RECV, buffer, True)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EINTR):
            return None
        raise
    unique, tid, _flags, number, arch, _ip, *arguments = RECEIVED.unpack(buffer)
    return Notification(unique, tid, number, arch, tuple(arguments))


def respond(listener: int, unique: int, value: int, error: int = 0) -> bool:
    """Let the call return `value`, or fail with `error`; False if its caller died meanwhile."""
    return _send(listener, RESPONSE.pack(unique, value, -error, 0))


def proceed(listener: int, unique: int) -> bool:
    """Let the kernel carry the call out; False if its caller died meanwhile."""
    return _send(listener, RESPONSE.pack(unique, 0, 0, FLAG_CONTINUE))


def _send(listener: int, response: bytes) -> bool:
    try:
        fcntl.ioctl(listener, IOCTL_SEND, response)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True


def id_valid(listener: int, unique: int) -> bool:
    """Does the caller still wait? Only then was what was read of its memory its own: pids are used again."""
    try:
        fcntl.ioctl(listener, IOCTL_ID_VALID, struct.pack("=Q", unique))
    except OSError as error:
        if error.errno == errno.ENOENT:
            return False
        raise
    return True
