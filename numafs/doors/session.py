# SPDX-License-Identifier: MIT
"""libfuse's loop, turned here, so that the door knows which request of the kernel it answers.

libfuse calls getattr for a LOOKUP and for a GETATTR alike. The door must tell them apart: what a
LOOKUP says of a file's size is what sendfile(2) reads up to (Linux 6.5 and later), what a GETATTR
says is what stat(2) shows, and files of proc and cgroups show 0. lib/{fuse,fuse_loop}.c of libfuse 2 and 3.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from errno import EINTR
from typing import Any

__all__ = ["LOOKUP", "Session"]

LOOKUP = 1
"""FUSE_LOOKUP of include/uapi/linux/fuse.h."""
HEADER = 40
"""sizeof(struct fuse_in_header): length and opcode begin it."""
FUSE_BUF_IS_FD = 2


class _Args(ctypes.Structure):
    """struct fuse_args."""

    _fields_ = (("argc", ctypes.c_int), ("argv", ctypes.POINTER(ctypes.c_char_p)), ("allocated", ctypes.c_int))


class _Buffer(ctypes.Structure):
    """struct fuse_buf."""

    _fields_ = (
        ("size", ctypes.c_size_t), ("flags", ctypes.c_int), ("mem", ctypes.c_void_p), ("fd", ctypes.c_int),
        ("pos", ctypes.c_int64),
    )


def _args(arguments: Sequence[str]) -> _Args:
    argv = (ctypes.c_char_p * (len(arguments) + 1))(*(os.fsencode(argument) for argument in arguments), None)
    return _Args(len(arguments), argv, 0)


class Session:
    """A mount and its loop, by either version of libfuse."""

    def __init__(self, library: ctypes.CDLL, major: int) -> None:
        self.library = library
        self.major = major
        self.opcode = 0
        """Of the request that is being answered; 0 if it is not known."""
        makers = ("fuse_new",) if major == 3 else ("fuse_setup", "fuse_session_next_chan")
        for name in (*makers, "fuse_get_session"):
            getattr(library, name).restype = ctypes.c_void_p

    def run(self, arguments: Sequence[str], mountpoint: str, operations: Any) -> int:
        """Mount, serve until it is unmounted or a signal comes, unmount; 0 if it could be mounted."""
        if self.major == 3:
            return self._run3(_args(arguments), os.fsencode(mountpoint), operations)
        return self._run2(_args([*arguments, "-f", "-s", mountpoint]), operations)

    def _run3(self, args: _Args, where: bytes, operations: Any) -> int:
        lib = self.library
        fuse = lib.fuse_new(ctypes.byref(args), ctypes.byref(operations), ctypes.sizeof(operations), None)
        if not fuse:
            return 1
        fuse = ctypes.c_void_p(fuse)
        if lib.fuse_mount(fuse, where):
            lib.fuse_destroy(fuse)
            return 1
        session = ctypes.c_void_p(lib.fuse_get_session(fuse))
        lib.fuse_set_signal_handlers(session)
        self._loop(session, ())
        lib.fuse_remove_signal_handlers(session)
        lib.fuse_unmount(fuse)
        lib.fuse_destroy(fuse)
        return 0

    def _run2(self, args: _Args, operations: Any) -> int:
        lib = self.library
        where, threads = ctypes.c_char_p(), ctypes.c_int()
        fuse = lib.fuse_setup(
            args.argc, args.argv, ctypes.byref(operations), ctypes.sizeof(operations), ctypes.byref(where),
            ctypes.byref(threads), None,
        )
        if not fuse:
            return 1
        fuse = ctypes.c_void_p(fuse)
        session = ctypes.c_void_p(lib.fuse_get_session(fuse))
        self._loop(session, (ctypes.c_void_p(lib.fuse_session_next_chan(session, None)),))
        lib.fuse_teardown(fuse, where)
        return 0

    def _loop(self, session: ctypes.c_void_p, channel: tuple[ctypes.c_void_p, ...]) -> None:
        """fuse_session_loop(), which is all that there is to it."""
        lib = self.library
        buffer = _Buffer()
        reference = ctypes.byref(buffer)
        memory = None
        if channel:
            lib.fuse_chan_bufsize.restype = ctypes.c_size_t
            size = lib.fuse_chan_bufsize(channel[0])
            memory = ctypes.create_string_buffer(size)
        receive, process, exited = lib.fuse_session_receive_buf, lib.fuse_session_process_buf, lib.fuse_session_exited
        while not exited(session):
            if memory is not None:
                buffer.size, buffer.flags, buffer.mem = len(memory), 0, ctypes.addressof(memory)
                received = receive(session, reference, ctypes.byref(channel[0]))
            else:
                received = receive(session, reference)
            if received == -EINTR:
                continue
            if received <= 0:
                break
            known = received >= HEADER and not buffer.flags & FUSE_BUF_IS_FD
            self.opcode = ctypes.c_uint32.from_address((buffer.mem or 0) + 4).value if known else 0
            process(session, reference, *channel)
