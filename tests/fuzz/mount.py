# SPDX-License-Identifier: MIT
"""python3 -m tests.fuzz.mount [WRITES [SEED]]: the same against a mount, with open(2) and write(2)."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

from numafs.doors.mounting import mounted
from numafs.doors.options import parse_options

from .tables import ALLOWED, CHECK_EVERY, EIO_OF_ITS_OWN, GROUPS, SLOW
from .texts import choose, kind_of, text

__all__ = ["OPTIONS", "main", "storm", "write"]

OPTIONS = "strict,time=step,nowatch"
"""With `strict` the first bug is the end of the mount."""
PLACES = ("sys", "proc", "dev", "numafs")
OTHERS = ("/tasks", "/cgroup.procs", "/cgroup.threads")
"""Ends of files that take pids: of this machine's processes, if a number is one."""


def writable(root: Path) -> list[str]:
    """Paths of the files that somebody may write."""
    found = []
    for place in PLACES:
        for directory, names, files in os.walk(root / place):
            names[:] = [name for name in names if not name.isdecimal() or int(name) > os.getpid()]
            paths = (os.path.join(directory, name) for name in files)
            found += [path for path in paths if os.lstat(path).st_mode & 0o222 and not os.path.islink(path)]
    return sorted(path for path in found if not path.endswith(OTHERS))


def storm(root: Path, writes: int, seed: int) -> Counter[str]:
    """Write so often below a mount; returns how often which errno came."""
    random = Random(f"mount {seed}")
    for group in GROUPS:
        (root / group).mkdir()
    tally: Counter[str] = Counter()
    paths: list[str] = []
    for i in range(writes):
        if not i % CHECK_EVERY:
            assert (root / "numafs/check").read_text() in ("", "ok\n"), (root / "numafs/check").read_text()
            paths = writable(root)
        path = choose(random, paths)
        data = text(random, kind_of(path))
        began = time.monotonic()
        answer = write(path, data)
        tally[answer] += 1
        own = answer == "EIO" and path.endswith(EIO_OF_ITS_OWN)
        assert own or answer == "0" or getattr(errno, answer) in ALLOWED, f"{path} {data[:80]!r}: {answer}"
        assert time.monotonic() - began < SLOW, f"{path} {data[:80]!r} took {time.monotonic() - began:.0f} s"
    return tally


def write(path: str | Path, data: bytes) -> str:
    """What open(2) and write(2) answer: `0` or the name of an errno."""
    try:
        fd = os.open(path, os.O_WRONLY)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "0"


def main() -> int:
    """Run it and say what came."""
    writes, seed = (*map(int, sys.argv[1:3]), *(100_000, 0)[len(sys.argv) - 1 :])
    with mounted("ring4", None, parse_options([OPTIONS])) as root:
        print(dict(storm(root, writes, seed).most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
