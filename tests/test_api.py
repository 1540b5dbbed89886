# SPDX-License-Identifier: MIT
"""The Python API, as the package's docstring shows it."""

from __future__ import annotations

import subprocess
import sys

import pytest

import numafs


def test_a_kernel_is_driven_without_any_mount() -> None:
    kernel = numafs.load("ring4")
    task = kernel.tasks.spawn(kernel, "sh", cpu=0)
    free = kernel.nodes[0].free
    numafs.run_verb(kernel, task, "alloc 100M")
    assert free - kernel.nodes[0].free >= 25600
    numafs.check(kernel)


def test_a_machine_is_mounted_for_the_length_of_a_block(fuse: None) -> None:
    with numafs.mounted("2x2:256M") as root:
        assert (root / "sys/devices/system/node/online").read_text() == "0-1\n"
    assert not root.exists()


def test_what_is_no_machine_says_so() -> None:
    with pytest.raises(numafs.MachineError, match="ring5"):
        numafs.load("ring5")


def test_every_name_is_there() -> None:
    assert all(getattr(numafs, name) for name in numafs.__all__)


def test_importing_it_costs_next_to_nothing() -> None:
    script = "import sys, numafs; print(any(m in sys.modules for m in ('numpy', 'numafs.kernel', 'numafs.doors')))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "False\n"
