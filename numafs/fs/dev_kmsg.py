# SPDX-License-Identifier: MIT
"""/dev/kmsg: the kernel log, one record a read(2), and a way to write to it. kernel/printk/printk.c:kmsg_fops (v6.1).

Simplified: it is a regular file; a reader who does not say O_NONBLOCK is at the end where the kernel would let it wait
for the next record; lseek(2) to the end leads to the beginning.
"""

from __future__ import annotations

import errno
import os
import re
from typing import TYPE_CHECKING

from numafs.kernel.errors import EACCES, EINVAL, refuse
from numafs.kernel.printk import Level

from .attr import Caller
from .tree import PLAIN, WANTED, Handle, Node, may_access

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.printk import Record

__all__ = ["DevKmsg", "record_text"]

LOG_LINE_MAX = 1024 - 32
LOG_USER = 1
"""The facility of what user space writes, unless it names another."""
_PRIORITY = re.compile(rb"<(\d+)>")


def record_text(record: Record) -> str:
    """`6,339,5140900,-;text`: priority, number, microseconds, flags; then the text, escaped (msg_print_ext_body)."""
    text = "".join(
        char if " " <= char < "\x7f" and char != "\\" else "".join(f"\\x{byte:02x}" for byte in char.encode())
        for char in record.text
    )
    return f"{record.prefix},{record.sequence},{record.time_ns // 1000},-;{text}\n"


class DevKmsg(Node):
    """The file."""

    sizeless = True

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(PLAIN, 0o644)
        self.kernel = kernel

    def open(self, caller: Caller, flags: int = os.O_RDONLY) -> Handle:
        """Open it, if its mode lets `caller`."""
        if not may_access(self, caller, WANTED[flags & os.O_ACCMODE]):
            raise EACCES(f"mode {self.mode:o} of kmsg")
        return OpenKmsg(self.kernel, nonblocking=bool(flags & os.O_NONBLOCK))


class OpenKmsg(Handle):
    """One reader's place in the log (struct devkmsg_user)."""

    __slots__ = ("kernel", "nonblocking", "sequence")

    def __init__(self, kernel: Kernel, *, nonblocking: bool) -> None:
        self.kernel = kernel
        self.nonblocking = nonblocking
        self.sequence = 0

    def read(self, offset: int, size: int, caller: Caller | None = None) -> bytes:
        """The next record; EPIPE if it was overwritten before it was read (devkmsg_read)."""
        log = self.kernel.log
        if not offset:
            self.sequence = log.records[0].sequence if log.records else 0
        record = log.since(self.sequence)
        if record is None:
            if self.nonblocking:
                raise refuse(errno.EAGAIN, "no more records")
            return b""
        if record.sequence != self.sequence:
            self.sequence = record.sequence
            raise refuse(errno.EPIPE, "records were overwritten")
        text = record_text(record).encode()
        if len(text) > size:
            raise EINVAL(f"a record of {len(text)} bytes does not fit in {size}")
        self.sequence += 1
        return text

    def write(self, offset: int, data: bytes, caller: Caller | None = None) -> int:
        """A record, `<priority>text`; without a priority it is a warning of a user (devkmsg_write)."""
        if len(data) > LOG_LINE_MAX:
            raise EINVAL(f"a line of {len(data)} bytes, at most {LOG_LINE_MAX}")
        level, facility, text = int(Level.WARNING), LOG_USER, data
        priority = _PRIORITY.match(data)
        if priority:
            level, facility = int(priority[1]) & 7, (int(priority[1]) >> 3 & 0xFF) or LOG_USER
            text = data[priority.end() :]
        line = text.removesuffix(b"\n").decode("utf-8", "backslashreplace")
        self.kernel.log.store(line, Level(level), facility)
        return len(data)
