# SPDX-License-Identifier: MIT
"""What `numafs run` costs: the same work bare and inside, in turns, timed by who does it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from numafs.doors.mounting import mounted
from numafs.doors.options import parse_options

from .row import Figure, Row, Skip

__all__ = ["ROWS"]

ROOT = Path(__file__).resolve().parent.parent
ROUNDS = 7

INNER = r"""
import ctypes, json, mmap, os, platform, subprocess, sys, time
libc = ctypes.CDLL(None)
GET_MEMPOLICY = 236 if platform.machine() == "aarch64" else 239

def run(*command):
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)

def faults():
    with mmap.mmap(-1, 64 << 20) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(memory)), 1, 64 << 20)

def calls():
    mode = ctypes.byref(ctypes.c_int())
    for _ in range(500):
        libc.syscall(GET_MEMPOLICY, mode, 0, 0, 0, 0)

WORK = {
    "exec": lambda: run("sh", "-c", "i=0; while [ $i -lt 100 ]; do /bin/true; i=$((i+1)); done"),
    "python": lambda: run(sys.executable, "-c", "pass"),
    "find": lambda: run("find", "/usr/share", "-xdev"),
    "dd": lambda: run("dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=300000"),
    "faults": faults,
    "calls": calls,
}
for line in sys.stdin:
    start = time.perf_counter()
    WORK[line.strip()]()
    print(json.dumps(time.perf_counter() - start), flush=True)
"""


class Worker:
    """A process that does what it is told and says how long it took."""

    def __init__(self, *before: str) -> None:
        self._process = subprocess.Popen(
            [*before, sys.executable, "-c", INNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def seconds(self, work: str) -> float:
        """How long a piece of work takes."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{work}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise Skip("numafs run does not work here")
        return float(json.loads(line))


@contextmanager
def workers() -> Iterator[tuple[Worker, Worker]]:
    """One bare, one inside."""
    with (
        mounted("ring4", options=parse_options([])) as root,
        Worker() as bare,
        Worker(sys.executable, "-m", "numafs", "run", "--at", str(root), "--") as inside,
    ):
        yield bare, inside


@cache
def in_turns(work: str) -> tuple[float, float]:
    """Seconds bare and inside: the shortest of the rounds, both in each round."""
    with workers() as pair:
        rounds = [[worker.seconds(work) for worker in pair] for _ in range(ROUNDS)]
    return min(bare for bare, _ in rounds), min(inside for _, inside in rounds)


def ratio(work: str) -> Callable[[], Figure]:
    """Inside beside bare."""

    def measure() -> Figure:
        bare, inside = in_turns(work)
        return Figure(inside / bare, f"{1e3 * bare:.1f} ms bare, {1e3 * inside:.1f} ms inside")

    return measure


def per_call() -> Figure:
    """One call that the model answers."""
    _, inside = in_turns("calls")
    return Figure(1e6 * inside / 500, "get_mempolicy")


ROWS = (
    Row("100 times fork and exec", "x", ratio("exec"), 1.5),
    Row("start of Python", "x", ratio("python"), 1.1),
    Row("find /usr/share", "x", ratio("find"), 1.1),
    Row("dd of 300000 single bytes", "x", ratio("dd"), 1.1),
    Row("16384 page faults", "x", ratio("faults"), 1.5),
    Row("a call that the model answers", "us", per_call, 100),
)
