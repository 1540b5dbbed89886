# SPDX-License-Identifier: MIT
"""Benchmarks of the mount: numafs beside lxcfs and the real sysfs, in turns, in one process."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path

from numafs.doors import mounts
from numafs.doors.mounting import mounted
from numafs.doors.options import parse_options

from .row import Figure, Row, Skip, seconds

__all__ = ["ROWS"]

MEMINFO = "sys/devices/system/node/node0/meminfo"
ROUNDS, READS = 15, 1000


def first_cat() -> Figure:
    """From `numafs mount` to the end of the first `cat`, each a program of its own."""
    with scratch() as directory:
        try:
            return Figure(min(seconds(lambda: mount_and_cat(directory)) for _ in range(3)), "mount, cat; best of 3")
        finally:
            _unmount(directory)


def mount_and_cat(directory: Path) -> None:
    """Mount ring4 and read one file."""
    _unmount(directory)
    subprocess.run([sys.executable, "-m", "numafs", "mount", "ring4", str(directory)], check=True)
    subprocess.run(["cat", str(directory / MEMINFO)], check=True, stdout=subprocess.DEVNULL)


def _unmount(directory: Path) -> None:
    if mounts.mount_at(str(directory)):
        mounts.unmount(str(directory))


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory to mount on."""
    path = Path(tempfile.mkdtemp(prefix="numafs-bench-"))
    try:
        yield path
    finally:
        path.rmdir()


@contextmanager
def lxcfs() -> Iterator[Path]:
    """A mount of lxcfs."""
    if not shutil.which("lxcfs") or os.geteuid():
        raise Skip("lxcfs is not installed, or this is not root")
    with scratch() as directory:
        command = ["lxcfs", "-f", "-p", f"/run/{directory.name}.pid", str(directory)]
        daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not (directory / "proc/meminfo").exists():
                if daemon.poll() is not None:
                    raise Skip("lxcfs does not start here")
                time.sleep(0.01)
            yield directory
        finally:
            subprocess.run(["fusermount3", "-u", str(directory)], check=False)
            daemon.wait()


def read_once(path: str) -> None:
    """open, read, close."""
    descriptor = os.open(path, os.O_RDONLY)
    os.read(descriptor, 1 << 16)
    os.close(descriptor)


def read_often(path: str) -> float:
    """Seconds of READS times open, read, close."""
    start = time.perf_counter()
    for _ in range(READS):
        read_once(path)
    return time.perf_counter() - start


@cache
def in_turns() -> dict[str, float]:
    """Microseconds of open+read+close of each server: the median round, all servers in each round."""
    with ExitStack() as stack:
        paths = {"numafs": str(stack.enter_context(mounted("ring4")) / MEMINFO)}
        try:
            paths["lxcfs"] = str(stack.enter_context(lxcfs()) / "proc/meminfo")
        except Skip as why:
            print(f"fuse   {why}", file=sys.stderr)
        if Path("/", MEMINFO).exists():
            paths["sysfs"] = f"/{MEMINFO}"
        rounds: dict[str, list[float]] = {name: [] for name in paths}
        for _ in range(ROUNDS):
            for name, path in paths.items():
                rounds[name].append(read_often(path))
        return {name: 1e6 * statistics.median(times) / READS for name, times in rounds.items()}


def of(name: str) -> Callable[[], Figure]:
    """The row of one server."""
    return lambda: Figure(measured(name), "open+read+close, median of the rounds")


def ratio(other: str) -> Callable[[], Figure]:
    """numafs beside another server."""
    return lambda: Figure(measured("numafs") / measured(other), "in the same rounds")


def measured(name: str) -> float:
    """Microseconds of one server."""
    times = in_turns()
    if name not in times:
        raise Skip(f"there is no {name} here")
    return times[name]


def move_64_gib() -> Figure:
    """`echo 2-3 > cpuset.mems` of a cpuset with a 64 GiB task on nodes 0-1, through the mount."""
    with mounted("4x2:64G", options=parse_options(["time=step"])) as root:
        group = root / "sys/fs/cgroup/cpuset/bench"
        group.mkdir()
        for name, value in (("cpus", "0-3"), ("mems", "0-1"), ("memory_migrate", "1")):
            (group / f"cpuset.{name}").write_text(value)
        (root / "numafs/tasks/create").write_text("alloc 64G --cpuset /bench\n")
        turns = [seconds(partial((group / "cpuset.mems").write_text, mems)) for mems in ("2-3", "0-1") * 5]
        return Figure(1e3 * statistics.median(turns), "64 GiB, 16.8 M pages, open+write+close")


ROWS = (
    Row("first cat after numafs mount", "s", first_cat, 0.5),
    Row("node0/meminfo of numafs", "us", of("numafs")),
    Row("proc/meminfo of lxcfs", "us", of("lxcfs")),
    Row("node0/meminfo of the real sysfs", "us", of("sysfs")),
    Row("numafs / lxcfs", "x", ratio("lxcfs"), 0.5),
    Row("numafs / real sysfs", "x", ratio("sysfs"), 4.0),
    Row("echo 2-3 > mems of a 64 GiB task, mounted", "ms", move_64_gib, 5.0),
)
