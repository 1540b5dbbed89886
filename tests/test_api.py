# SPDX-License-Identifier: MIT
"""The Python API: a machine without a mount, and tasks on it."""

from __future__ import annotations

import doctest

import pytest

import numafs


@pytest.fixture
def kernel():
    return numafs.load("ring4")


def test_the_example_of_the_package_is_true():
    results = doctest.testmod(numafs)
    assert results.attempted and not results.failed


def test_a_tasks_memory_is_where_its_policy_says(kernel):
    task = numafs.Task(kernel, node=1, policy="interleave:0-3")
    region = task.alloc("4M", touch=True)
    assert task.where(region) == {0: 256, 1: 256, 2: 256, 3: 256}


def test_a_child_shares_until_it_writes(kernel):
    task = numafs.Task(kernel, node=0)
    region = task.alloc("1M", touch=True)
    child = task.fork()
    child.policy("bind:2")
    child.touch(region, 0, "512K")
    assert (task.where(), child.where()) == ({0: 256}, {0: 128, 2: 128})
    numafs.check(kernel)


def test_what_cannot_be_done_says_why(kernel):
    task = numafs.Task(kernel)
    with pytest.raises(OSError, match="policy"):
        task.policy("sideways:1")
    with pytest.raises(OSError, match="region"):
        task.free(7)


def test_an_ended_task_has_given_everything_back(kernel):
    before = [zone.free + zone.used.total() for zone in kernel.zones()]
    task = numafs.Task(kernel, cpu=3)
    task.alloc("100M", touch=True)
    task.do("kmalloc", 512, 1000)
    task.do("vmalloc", "1M")
    task.exit()
    assert not task.alive
    held = kernel.tasks.program.space.nrpages
    assert sum(zone.free + zone.used.total() for zone in kernel.zones()) == sum(before) - held
    numafs.check(kernel)
