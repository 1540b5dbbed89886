# SPDX-License-Identifier: MIT
"""At which node an interleaved mapping begins."""

from __future__ import annotations

import pytest

from numafs.kernel import mbind, memory, mmap
from numafs.kernel.mempolicy import Mode

from .groups import four_nodes


@pytest.mark.parametrize(("start", "first"), [(1 << 20, 1), ((1 << 20) + 1, 2), (1 << 32, 0), ((1 << 32) - 2, 2)])
def test_the_index_is_an_unsigned_int(start: int, first: int) -> None:
    """2**20 is 1 modulo 3, and so is 2**32, which the kernel takes for 0. Recorded on three nodes of Linux 6.1."""
    kernel = four_nodes()
    task = kernel.tasks.spawn(kernel, "t")
    vma = mmap.mmap(kernel, task, start, 4)
    mbind.mbind(kernel, task, vma.start, vma.stop, Mode.INTERLEAVE, 0b111, 1025, 0)
    memory.touch(kernel, task, vma.start, vma.stop, True)
    assert vma.anon
    nodes = {page: run.zone.pgdat.nid for run in vma.anon.runs() for page in run.indexes()}
    begin = [first, (first + 1) % 3, (first + 2) % 3, first] if start != (1 << 32) - 2 else [2, 0, 0, 1]
    assert [nodes[page] for page in range(start, vma.stop)] == begin
