# SPDX-License-Identifier: MIT
"""What a bug does: EIO and a traceback in the log, and with `strict` the end."""

from __future__ import annotations

import errno
import logging
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from toy import toy_tree

from numafs.doors import mounts
from numafs.doors.daemon import background, end
from numafs.doors.fuse import FuseDoor
from numafs.doors.service import Service

pytestmark = pytest.mark.usefixtures("fuse")


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Callable[..., tuple[Path, int]]]:
    """Mounts a toy tree whose checker finds fault once `value` is 9; gives the directory and the daemon's pid."""
    started: list[tuple[Path, int]] = []

    def start(*, strict: bool) -> tuple[Path, int]:
        directory = tmp_path / "mount"
        directory.mkdir()
        service = Service(toy_tree())

        def check() -> None:
            if service.root.read_text("sys/node/value") == "9\n":
                raise AssertionError("pages were lost")

        service.after.append(check)

        def serve(ready: Callable[[], None]) -> None:
            logging.basicConfig(filename=tmp_path / "log", force=True)
            FuseDoor(service, strict=strict, ready=ready).serve(str(directory), ["subtype=numafs", "fsname=toy"])

        pid, problem = background(serve, outlive=False)
        assert not problem
        started.append((directory, pid))
        return directory, pid

    yield start
    for directory, pid in started:
        if mounts.mount_at(str(directory)):
            mounts.unmount(str(directory), lazy=True)
        end(pid)


def test_what_the_checker_finds_is_eio_and_logged(broken: Callable[..., tuple[Path, int]], tmp_path: Path) -> None:
    directory, _ = broken(strict=False)
    with pytest.raises(OSError) as caught:
        (directory / "sys/node/value").write_text("9\n")
    assert caught.value.errno == errno.EIO
    log = (tmp_path / "log").read_text()
    assert 'bug in numafs: /sys/node/value <- "9\\n"' in log and "AssertionError: pages were lost" in log
    assert mounts.mount_at(str(directory)) and not mounts.is_stale(str(directory))


def test_with_strict_a_bug_ends_the_daemon_and_nothing_stays_mounted(
    broken: Callable[..., tuple[Path, int]]
) -> None:
    directory, pid = broken(strict=True)
    pidfd = os.pidfd_open(pid)
    with pytest.raises(OSError):
        (directory / "sys/node/bug").read_text()
    assert select.select([pidfd], [], [], 10)[0], "the daemon goes on"
    assert not mounts.mount_at(str(directory))
    os.close(pidfd)
