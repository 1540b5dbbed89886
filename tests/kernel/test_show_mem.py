# SPDX-License-Identifier: MIT
"""What the kernel says when memory runs out, beside what a real kernel said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from numafs.kernel import cpuset, migrate
from numafs.kernel.boot import boot
from numafs.kernel.errors import TaskKilled
from numafs.kernel.kernel import Kernel
from numafs.kernel.memory import touch
from numafs.kernel.mm import Task
from numafs.kernel.mmap import mmap
from numafs.kernel.page_alloc import Placement
from numafs.kernel.printk import Level
from numafs.machine.presets import resolve

from .machines import allocate_anon, machine

RECORDED = Path(__file__).parent / "data/oom-report-6.1.txt"


def shape(text: str) -> str:
    """A line without its numbers, sizes of free lists and column widths."""
    text = re.sub(r"\((U?M?E?)\) ", "", text)
    text = text.replace("unreclaimable? yes", "unreclaimable? no")
    text = re.sub(r"0x[0-9a-f]+|\d+", "#", text)
    return re.sub(r" +", " ", text).strip()


def eat_in_a_cpuset() -> tuple[Kernel, Task]:
    """A task in a cpuset of node 1 that took all its memory and was killed."""
    kernel = boot(resolve("4x2:64M"))
    group = cpuset.mkdir(kernel, kernel.cpusets.root, "o")
    cpuset.cpus_store(kernel, group, "0")
    cpuset.mems_store(kernel, group, "2")
    task = kernel.tasks.spawn(kernel, "mh")
    cpuset.attach(kernel, group, task.pid, whole_process=True)
    vma = mmap(kernel, task, None, 40_000)
    with pytest.raises(TaskKilled):
        touch(kernel, task, vma.start, vma.stop, write=True)
    return kernel, task


def said(kernel: Kernel, first: str) -> list[str]:
    """The log from the record that has `first` in it on."""
    texts = kernel.kmsg
    return texts[next(i for i, text in enumerate(texts) if first in text) :]


def test_the_oom_report_has_the_lines_of_a_real_one_for_the_allowed_nodes_only():
    kernel, _ = eat_in_a_cpuset()
    report = said(kernel, "invoked oom-killer")
    recorded = re.split(r"\n(?=\[)", RECORDED.read_text())
    wanted = [shape(re.sub(r"^\[ *[\d.]+\] ", "", record)) for record in recorded]
    got = [shape(line) for line in report]
    assert [line for line in got if line.startswith("Node")] == [line for line in wanted if line.startswith("Node")]
    fixed = [line for line in wanted if not re.match(r"\[ ?#|CPU|Hardware|Out of|oom-kill|mh ", line)]
    assert [line for line in got if line in fixed] == fixed
    assert report[0].startswith("mh invoked oom-killer: gfp_mask=0x140dca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_ZERO)")
    assert all(line.startswith("Node 2 ") for line in report if line.startswith("Node"))


def test_the_task_table_names_every_process_that_may_use_the_nodes():
    kernel, task = eat_in_a_cpuset()
    outside = [line for line in said(kernel, "invoked oom-killer") if line.startswith("[") and line.endswith(" mh")]
    assert len(outside) == 1
    assert outside[0].startswith(f"[{task.pid:7d}]     0 {task.pid:5d} ")


def test_lines_have_the_levels_of_the_kernel():
    kernel, _ = eat_in_a_cpuset()
    levels = {record.text.split(":")[0].split(" invoked")[0]: record.level for record in kernel.log.records}
    assert levels["mh"] == Level.WARNING
    assert levels["Mem-Info"] == Level.WARNING
    assert levels["oom-kill"] == Level.INFO
    assert levels["Out of memory"] == Level.ERR


def test_with_oom_dump_tasks_off_there_is_no_task_table():
    kernel = boot(machine(64, 64))
    kernel.vm.oom_dump_tasks = 0
    task = kernel.tasks.spawn(kernel, "eater")
    with pytest.raises(TaskKilled):
        while True:
            allocate_anon(kernel, task, 1000, Placement(1, nodemask=0b10))
    assert not any("Tasks state" in line for line in kernel.kmsg)


def test_a_migration_that_finds_no_room_is_reported_once_in_ten_seconds():
    kernel = boot(machine(64, 32))
    task = kernel.tasks.spawn(kernel, "mover")
    vma = mmap(kernel, task, None, 9000)
    touch(kernel, task, vma.start, vma.stop, write=True)
    with pytest.raises(OSError, match="no room"):
        migrate.migrate_pages(kernel, task, 0, 0b01, 0b10, 64)
    report = said(kernel, "page allocation failure")
    assert report[0] == (
        "mover: page allocation failure: order:0, "
        "mode:0x340cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP|__GFP_THISNODE), nodemask=(null),cpuset=/,mems_allowed=0-1"
    )
    assert report[3] == "Mem-Info:"
    assert migrate.do_migrate_pages(kernel, task, task.mm, 0b01, 0b10, move_all=True) < 0  # type: ignore[arg-type]
    assert sum("page allocation failure" in line for line in kernel.kmsg) == 1
