# SPDX-License-Identifier: MIT
"""Fixtures: a booted kernel, a machine mounted for real."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from numafs.doors.errors import MountFailed
from numafs.doors.fuse import binding
from numafs.doors.mounting import mounted
from numafs.doors.options import parse_options
from numafs.machine.presets import resolve

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel


def why_no_fuse() -> str:
    """Why nothing can be mounted here; empty if it can."""
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        return "no /dev/fuse that may be used"
    try:
        binding()
    except MountFailed as error:
        return str(error)
    return ""


@pytest.fixture(scope="session")
def fuse() -> None:
    """Skips where nothing can be mounted; fails there if NUMAFS_REQUIRE_FUSE is set, as CI does."""
    problem = why_no_fuse()
    if problem and os.environ.get("NUMAFS_REQUIRE_FUSE"):
        pytest.fail(f"FUSE is required: {problem}")
    if problem:
        pytest.skip(problem)


@pytest.fixture
def kernel() -> Kernel:
    """A freshly booted ring4, without any mount."""
    from numafs.kernel.boot import boot

    return boot(resolve("ring4"))


@pytest.fixture(scope="session")
def shared_mount(fuse: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mounted ring4 that all tests share: for those that only read, or clean up."""
    with mounted("ring4", tmp_path_factory.mktemp("ring4"), parse_options(["strict,check"])) as root:
        yield root


@pytest.fixture
def mount(fuse: None, tmp_path: Path) -> Iterator[Path]:
    """A mounted ring4 of this test's own; its clock stands still."""
    directory = tmp_path / "mount"
    directory.mkdir()
    with mounted("ring4", directory, parse_options(["strict,check,time=step"])) as root:
        yield root
