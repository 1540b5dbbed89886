# SPDX-License-Identifier: MIT
"""/dev/kmsg."""

from __future__ import annotations

import errno
import os

from numafs.fs.attr import Caller
from numafs.fs.tree import Root
from numafs.kernel.kernel import Kernel
from numafs.kernel.printk import Level

from .conftest import Refused


def records(root: Root) -> list[str]:
    """What a reader gets, read by read."""
    handle = root.open_path("dev/kmsg")
    found: list[bytes] = []
    while piece := handle.read(sum(map(len, found)), 8192):
        found.append(piece)
    return [piece.decode() for piece in found]


def test_each_read_gives_one_record_in_the_kernels_format(root: Root, kernel: Kernel):
    kernel.clock.advance(1_234_567_000)
    kernel.printk("two\nlines and a \\", Level.INFO)
    last = records(root)[-1]
    number = kernel.log.next_sequence - 1
    assert last == f"6,{number},{kernel.clock.now // 1000},-;two\\x0alines and a \\x5c\n"


def test_the_log_begins_with_what_the_boot_said(root: Root):
    assert records(root)[0].startswith("6,0,0,-;Fallback order for Node 0: 0 ")


def test_a_reader_that_does_not_wait_is_told_to_come_back(root: Root, kernel: Kernel, refused: Refused):
    handle = root.open_path("dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    at = 0
    for _ in range(len(kernel.log.records)):
        at += len(handle.read(at, 8192))
    with refused(errno.EAGAIN):
        handle.read(at, 8192)
    kernel.printk("more")
    assert handle.read(at, 8192).endswith(b";more\n")


def test_a_reader_that_was_overtaken_is_told_and_goes_on(root: Root, kernel: Kernel, refused: Refused):
    kernel.log.length = 100
    handle = root.open_path("dev/kmsg")
    at = len(handle.read(0, 8192))
    for i in range(20):
        kernel.printk(f"line {i} {'x' * 30}")
    with refused(errno.EPIPE):
        handle.read(at, 8192)
    assert handle.read(at, 8192).decode().split(";")[1].startswith("line 1")


def test_a_buffer_that_is_too_small_is_einval(root: Root, refused: Refused):
    with refused(errno.EINVAL):
        root.open_path("dev/kmsg").read(0, 4)


def test_root_may_write_a_record_with_a_priority(root: Root, refused: Refused):
    root.write_text("dev/kmsg", "<30>hello\n")
    root.write_text("dev/kmsg", "plain")
    assert [line.split(",")[0] + line[line.index(";") :] for line in records(root)[-2:]] == ["30;hello\n", "12;plain\n"]
    with refused(errno.EINVAL):
        root.write_text("dev/kmsg", "x" * 1000)
    with refused(errno.EACCES):
        root.open_path("dev/kmsg", os.O_WRONLY, Caller(uid=1000))
