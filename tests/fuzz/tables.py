# SPDX-License-Identifier: MIT
"""python3 -m tests.fuzz.tables [WRITES [SEED]]: write at every writable file of a machine, without a mount.

Anything but success and an errno that the file's grammar knows is a bug, and so is a machine that disagrees with
itself afterwards.
"""

from __future__ import annotations

import errno
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from random import Random

from numafs.fs import root as tree
from numafs.fs.attr import Caller
from numafs.fs.tree import Dir, File, Root
from numafs.kernel.boot import boot
from numafs.kernel.check import check
from numafs.machine.presets import resolve

from .texts import choose, kind_of, text

__all__ = ["ALLOWED", "SLOW", "main", "storm", "writable"]

GROUPS = ("sys/fs/cgroup/cpuset/a", "sys/fs/cgroup/cpuset/a/b", "sys/fs/cgroup/cpuset/c")
ALLOWED = frozenset((
    errno.EINVAL, errno.ERANGE, errno.EACCES, errno.EPERM, errno.EBUSY, errno.ENOSPC, errno.ESRCH, errno.ENOMEM,
    errno.E2BIG, errno.EFAULT, errno.EOVERFLOW, errno.ENODEV, errno.EAGAIN, errno.ENOENT, errno.EEXIST,
    errno.EOPNOTSUPP,
))
"""What a write to any file may answer; EIO is not among them: it is what a bug becomes in a mount."""
EIO_OF_ITS_OWN = ("/power/autosuspend_delay_ms",)
"""Ends of files for which EIO is the answer all the same."""
SLOW = 5.0
"""Seconds after which a write counts as a hang."""
CHECK_EVERY = 250
ROOT = Caller(pid=1)


def writable(node: Dir, path: str = "") -> Iterator[str]:
    """Paths of the files below a directory that somebody may write."""
    for name in sorted(node.names()):
        child = node.lookup(name)
        inside = f"{path}/{name}" if path else name
        if isinstance(child, Dir):
            if path != "data":
                yield from writable(child, inside)
        elif isinstance(child, File) and child.mode & 0o222 and child.attr.store:
            yield inside


def machine_to_write_at(name: str = "ring4") -> Root:
    """A machine with a few groups and tasks."""
    kernel = boot(resolve(name))
    root = tree.build(kernel)
    for path in GROUPS:
        parent, group = root.resolve_parent(path)
        parent.mkdir(group, 0o755, ROOT)
    for node in range(2):
        kernel.tasks.spawn(kernel, "target", cpu=2 * node)
    root.kernel = kernel  # type: ignore[attr-defined]
    return root


def storm(writes: int, seed: int) -> Counter[str]:
    """Write so often; returns how often which errno came."""
    random = Random(f"fuzz {seed}")
    root = machine_to_write_at()
    kernel = root.kernel  # type: ignore[attr-defined]
    paths = list(writable(root))
    tally: Counter[str] = Counter()
    for i in range(writes):
        path = choose(random, paths)
        data = text(random, kind_of(path))
        began = time.monotonic()
        try:
            handle = root.resolve(path).open(ROOT, os.O_WRONLY)
            handle.write(0, data, ROOT)
            tally["0"] += 1
        except OSError as error:
            own = error.errno == errno.EIO and path.endswith(EIO_OF_ITS_OWN)
            assert own or error.errno in ALLOWED, f"{path} {data[:80]!r}: {error!r}"
            tally[errno.errorcode[error.errno or 0]] += 1
        except Exception as bug:
            raise AssertionError(f"write {i}: {path} {data[:80]!r}") from bug
        assert time.monotonic() - began < SLOW, f"{path} {data[:80]!r} took {time.monotonic() - began:.0f} s"
        if i % CHECK_EVERY == CHECK_EVERY - 1:
            check(kernel)
            paths = list(writable(root))
    check(kernel)
    return tally


def main() -> int:
    """Run it and say what came."""
    writes, seed = (*map(int, sys.argv[1:3]), *(100_000, 0)[len(sys.argv) - 1 :])
    print(dict(storm(writes, seed).most_common()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
