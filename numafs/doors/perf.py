# SPDX-License-Identifier: MIT
"""What a program and all that it starts do, from perf events: first touches of pages, forks, execs, exits.

Page faults come with thread, time and address, task events before the new task runs: what has happened up to a
moment is all there when the rings are read at that moment. kernel/events/core.c, include/uapi/linux/perf_event.h.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import struct
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from numafs.kernel.nodemask import members, parse_list

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Words = NDArray[np.uint64]

__all__ = ["Events", "PerfEvents", "TaskEvent", "fault_rows"]

PERF_EVENT_OPEN = 241 if platform.machine() == "aarch64" else 298
TYPE_SOFTWARE, CONFIG_PAGE_FAULTS = 1, 2
SAMPLE_TID, SAMPLE_TIME, SAMPLE_ADDR = 1 << 1, 1 << 2, 1 << 3
INHERIT, EXCLUDE_KERNEL, EXCLUDE_HV, COMM, TASK, WATERMARK = 1 << 1, 1 << 5, 1 << 6, 1 << 9, 1 << 13, 1 << 14
SAMPLE_ID_ALL, COMM_EXEC, USE_CLOCKID = 1 << 18, 1 << 24, 1 << 25
OFFSET_CLOCKID = 92
FLAG_FD_CLOEXEC = 8
ATTR_SIZE = 128
RECORD_LOST, RECORD_COMM, RECORD_EXIT, RECORD_FORK, RECORD_SAMPLE = 2, 3, 4, 7, 9
MISC_COMM_EXEC = 1 << 13
SAMPLE_WORDS = 4
"""A sample: header, pid and tid, time, address."""
SHORT = 128
PAGE = mmap.PAGESIZE
DATA_HEAD, DATA_TAIL = 1024, 1032
"""In struct perf_event_mmap_page."""
RING_PAGES, FEWEST_PAGES = 512, 8
"""65536 samples where it is permitted; the unprivileged share 516 kB per CPU (perf_event_mlock_kb)."""


class TaskEvent(NamedTuple):
    """A fork, an exec, or an exit. Of a fork, `by` is the thread that forked."""

    time: int
    what: str
    tid: int
    tgid: int
    by: int = 0
    comm: str = ""


@dataclass
class Events:
    """What happened since the last time: task events by time, and samples of page faults as they were found.

    Time is that of time.monotonic_ns().
    """

    tasks: list[TaskEvent] = field(default_factory=list)
    samples: list[Words] = field(default_factory=list)
    lost: int = 0


class PerfEvents:
    """The events of one process, its threads, and all their descendants to come: a ring for each CPU.

    Raises OSError where the kernel refuses (perf_event_paranoid, a container's seccomp policy).
    """

    def __init__(self, pid: int) -> None:
        self._rings: list[tuple[int, mmap.mmap]] = []
        self.sees_kernel = True
        """Are faults that the kernel takes for a program, in read(2) for instance, among them?"""
        try:
            for cpu in sorted(online_cpus()):
                self._open(pid, cpu)
        except OSError:
            self.close()
            raise

    def _open(self, pid: int, cpu: int) -> None:
        try:
            descriptor = _perf_event_open(pid, cpu, exclude_kernel=not self.sees_kernel)
        except PermissionError:
            if not self.sees_kernel:
                raise
            self.sees_kernel = False
            descriptor = _perf_event_open(pid, cpu, exclude_kernel=True)
        try:
            self._rings.append((descriptor, _ring(descriptor)))
        except OSError:
            os.close(descriptor)
            raise

    def descriptors(self) -> list[int]:
        """Readable when a ring is half full."""
        return [descriptor for descriptor, _ in self._rings]

    def close(self) -> None:
        """Stop to listen."""
        for descriptor, ring in self._rings:
            ring.close()
            os.close(descriptor)
        self._rings.clear()

    def pending(self) -> bool:
        """Is there anything to read?"""
        return any(ring[DATA_HEAD : DATA_HEAD + 8] != ring[DATA_TAIL : DATA_TAIL + 8] for _, ring in self._rings)

    def read(self) -> Events:
        """Everything up to now."""
        events = Events()
        for _, ring in self._rings:
            words = _take(ring)
            if len(words):
                _parse(words, events)
        events.tasks.sort()
        return events


def fault_rows(samples: list[Words]) -> Words:
    """Samples as rows (tgid, tid, time, address), by time."""
    import numpy as np

    rows = np.concatenate(samples)
    rows = rows[np.argsort(rows[:, 2], kind="stable")]
    threads = rows[:, 1]
    return np.stack((threads & np.uint64(0xFFFF_FFFF), threads >> np.uint64(32), rows[:, 2], rows[:, 3]), 1)


def online_cpus() -> set[int]:
    """The CPUs of this machine, whatever this process may use of them."""
    with open("/sys/devices/system/cpu/online", encoding="ascii") as file:
        return set(members(parse_list(file.read(), 1 << 13)))


def _perf_event_open(pid: int, cpu: int, *, exclude_kernel: bool) -> int:
    flags = INHERIT | EXCLUDE_HV | COMM | TASK | WATERMARK | SAMPLE_ID_ALL | COMM_EXEC | USE_CLOCKID
    flags |= EXCLUDE_KERNEL if exclude_kernel else 0
    attr = struct.pack(
        "=IIQQQQQII", TYPE_SOFTWARE, ATTR_SIZE, CONFIG_PAGE_FAULTS, 1, SAMPLE_TID | SAMPLE_TIME | SAMPLE_ADDR, 0, flags,
        0, 0,
    ).ljust(OFFSET_CLOCKID, b"\0") + struct.pack("=i", time.CLOCK_MONOTONIC)
    attr = attr.ljust(ATTR_SIZE, b"\0")
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    descriptor = int(libc.syscall(PERF_EVENT_OPEN, attr, pid, cpu, -1, FLAG_FD_CLOEXEC))
    if descriptor < 0:
        raise OSError(ctypes.get_errno(), f"perf_event_open: {os.strerror(ctypes.get_errno())}")
    return descriptor


def _ring(descriptor: int) -> mmap.mmap:
    """The largest ring that is permitted."""
    pages = RING_PAGES
    while True:
        try:
            return mmap.mmap(descriptor, (pages + 1) * PAGE, flags=mmap.MAP_SHARED | mmap.MAP_POPULATE)
        except PermissionError:
            pages //= 2
            if pages < FEWEST_PAGES:
                raise


def _take(ring: mmap.mmap) -> Words:
    """What is in a ring, as 64-bit words; it is empty then."""
    import numpy as np

    head, tail = struct.unpack_from("=QQ", ring, DATA_HEAD)
    size = len(ring) - PAGE
    data = np.frombuffer(ring, np.uint64, size // 8, PAGE)
    start, length = tail % size // 8, (head - tail) // 8
    first = min(length, size // 8 - start)
    words = np.concatenate((data[start : start + first], data[: length - first]))
    del data
    struct.pack_into("=Q", ring, DATA_TAIL, head)
    return words


def _parse(words: Words, events: Events) -> None:
    """Split records: samples are entered in runs, others one by one."""
    at = 0
    while at < len(words):
        count = _samples_at(words, at)
        if count:
            end = at + count * SAMPLE_WORDS
            events.samples.append(words[at:end].reshape(-1, SAMPLE_WORDS))
            at = end
            continue
        size = int(words[at]) >> 48
        if not size:
            return
        _enter(words[at : at + size // 8].tobytes(), events)
        at += size // 8


def _samples_at(words: Words, at: int) -> int:
    """How many samples lie one behind the other at a place; most runs are short, and not worth an array."""
    import numpy as np

    for count, head in enumerate(words[at : at + SHORT * SAMPLE_WORDS : SAMPLE_WORDS].tolist()):
        if head & 0xFFFF_FFFF != RECORD_SAMPLE:
            return count
    whole = (len(words) - at) // SAMPLE_WORDS
    is_sample = (words[at : at + whole * SAMPLE_WORDS : SAMPLE_WORDS] & np.uint64(0xFFFF_FFFF)) == RECORD_SAMPLE
    return whole if is_sample.all() else int(np.argmin(is_sample))


def _enter(record: bytes, events: Events) -> None:
    kind, misc, _ = struct.unpack_from("=IHH", record)
    if kind in (RECORD_FORK, RECORD_EXIT):
        tgid, _, tid, parent, when = struct.unpack_from("=4IQ", record, 8)
        if kind == RECORD_FORK:
            events.tasks.append(TaskEvent(when, "fork", tid, tgid, parent))
        else:
            events.tasks.append(TaskEvent(when, "exit", tid, tgid))
    elif kind == RECORD_COMM and misc & MISC_COMM_EXEC:
        tgid, tid = struct.unpack_from("=II", record, 8)
        comm = record[16:-16].split(b"\0", 1)[0].decode("utf-8", "replace")
        events.tasks.append(TaskEvent(struct.unpack_from("=Q", record, len(record) - 8)[0], "exec", tid, tgid, 0, comm))
    elif kind == RECORD_LOST:
        events.lost += struct.unpack_from("=Q", record, 16)[0]
