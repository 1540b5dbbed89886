# SPDX-License-Identifier: MIT
"""A mount without a machine."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from toy import toy_tree

from numafs.doors import mounts
from numafs.doors.daemon import background, end
from numafs.doors.fuse import FuseDoor
from numafs.doors.service import Service


@pytest.fixture(scope="session")
def toy(fuse: None) -> Iterator[Path]:
    """The toy tree, mounted where other users get at it."""
    directory = Path(tempfile.mkdtemp(prefix="numafs-toy-"))
    options = ["fsname=toy", "subtype=numafs", *(["allow_other"] if os.geteuid() == 0 else [])]
    pid, problem = background(
        lambda ready: FuseDoor(Service(toy_tree()), ready=ready).serve(str(directory), options),
        outlive=False,
    )
    assert not problem
    yield directory
    mounts.unmount(str(directory), lazy=True)
    end(pid)
    directory.rmdir()
