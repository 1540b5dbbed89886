"""Mappings and pages of a real process in the model, given as /proc would say it."""

from __future__ import annotations

import ctypes
import mmap
import os
import struct

import pytest

from numafs.doors import abi, pagemap, seccomp
from numafs.doors.mirror import Touch, Under, map_areas, settle, touch_pages
from numafs.doors.pagemap import Area, Present
from numafs.kernel.check import check
from numafs.kernel.memory import vma_stats
from numafs.kernel.mempolicy import Mempolicy, Mode
from numafs.kernel.mm import Mm
from numafs.kernel.vmstat import NodeStat


@pytest.fixture
def task(kernel):
    task = kernel.tasks.adopt(kernel, 4242, 4242, "real", 0, 0)
    task.mm = Mm()
    task.mm.users.append(task)
    yield task
    check(kernel)
    kernel.tasks.do_exit(kernel, task)
    check(kernel)


def anon(start: int, stop: int, rights: str = "rw-p", path: str = "") -> Area:
    return Area(start, stop, rights, 0, "00:00", 0, path)


def file(start: int, stop: int, rights: str = "r-xp", pgoff: int = 0, path: str = "/usr/lib/x", inode: int = 7) -> Area:
    return Area(start, stop, rights, pgoff, "fe:00", inode, path)


def mapped(task) -> list[tuple[int, int, bool]]:
    return [(vma.start, vma.stop, vma.write) for vma in task.mm.vmas]


def nodes(kernel, task) -> dict[int, int]:
    total: dict[int, int] = {}
    for vma in task.mm.vmas:
        for nid, n in vma_stats(kernel, vma).node.items():
            total[nid] = total.get(nid, 0) + n
    return total


def test_a_mapping_grows_and_keeps_its_pages(kernel, task):
    old, new = [anon(100, 110)], [anon(100, 130)]
    map_areas(kernel, task, task.mm, [], old)
    settle(kernel, task, task.mm, [Present(100, 110, False, False)])
    map_areas(kernel, task, task.mm, old, new)
    assert (mapped(task), nodes(kernel, task)) == ([(100, 130, True)], {0: 10})


def test_a_part_with_other_rights_is_a_mapping_of_its_own_and_keeps_its_pages(kernel, task):
    old, new = [anon(100, 130)], [anon(100, 110), anon(110, 120, "r--p"), anon(120, 130)]
    map_areas(kernel, task, task.mm, [], old)
    settle(kernel, task, task.mm, [Present(100, 130, False, False)])
    map_areas(kernel, task, task.mm, old, new)
    assert mapped(task) == [(100, 110, True), (110, 120, False), (120, 130, True)]
    assert nodes(kernel, task) == {0: 30}


def test_a_file_that_takes_the_place_of_memory_frees_it(kernel, task):
    map_areas(kernel, task, task.mm, [], [anon(100, 130)])
    settle(kernel, task, task.mm, [Present(100, 130, False, False)])
    map_areas(kernel, task, task.mm, [anon(100, 130)], [file(100, 120)])
    assert (mapped(task), nodes(kernel, task)) == ([(100, 120, False)], {})


def test_pages_of_a_file_are_charged_once_whoever_maps_them(kernel, task):
    other = kernel.tasks.adopt(kernel, 4343, 4343, "other", 0, 0)
    other.mm = Mm()
    other.mm.users.append(other)
    before = sum(pgdat.stat[NodeStat.NR_FILE_PAGES] for pgdat in kernel.nodes)
    for each in (task, other):
        map_areas(kernel, each, each.mm, [], [file(100, 120)])
        settle(kernel, each, each.mm, [Present(100, 120, True, False)])
    assert sum(pgdat.stat[NodeStat.NR_FILE_PAGES] for pgdat in kernel.nodes) - before == 20
    assert vma_stats(kernel, task.mm.vmas[0]).mapcount_max == 2
    kernel.tasks.do_exit(kernel, other)


def test_a_private_page_of_a_file_that_was_written_is_anonymous(kernel, task):
    map_areas(kernel, task, task.mm, [], [file(100, 120, "rw-p")])
    settle(kernel, task, task.mm, [Present(100, 110, True, False), Present(110, 115, False, False)])
    stats = vma_stats(kernel, task.mm.vmas[0])
    assert (stats.pages, stats.anon) == (15, 5)


def test_a_touch_counts_under_the_policy_of_its_time(kernel, task):
    map_areas(kernel, task, task.mm, [], [anon(100, 130)])
    under = Under(Mempolicy(Mode.BIND, nodes=0b100), 0)
    there = [Present(100, 130, False, False)]
    touch_pages(kernel, task.mm, Touch(task, 100, 110, under), [Present(100, 110, False, False)])
    settle(kernel, task, task.mm, there)
    assert (nodes(kernel, task), task.policy) == ({2: 10, 0: 20}, None)


def test_a_page_that_is_touched_again_was_freed_meanwhile(kernel, task):
    map_areas(kernel, task, task.mm, [], [anon(100, 130)])
    there = [Present(100, 130, False, False)]
    settle(kernel, task, task.mm, there)
    under = Under(Mempolicy(Mode.BIND, nodes=0b10), 0)
    touch_pages(kernel, task.mm, Touch(task, 100, 105, under), [Present(100, 105, False, False)])
    assert nodes(kernel, task) == {0: 25, 1: 5}


def test_pages_that_are_gone_are_freed(kernel, task):
    map_areas(kernel, task, task.mm, [], [anon(100, 130)])
    settle(kernel, task, task.mm, [Present(100, 130, False, False)])
    settle(kernel, task, task.mm, [Present(100, 103, False, False), Present(120, 130, False, False)])
    assert nodes(kernel, task) == {0: 13}


# -- what /proc says --------------------------------------------------------------------------


def test_the_older_way_finds_the_pages_that_the_newer_finds(monkeypatch):
    with mmap.mmap(-1, 64 * 4096) as memory:
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory)) // 4096
        for page in (0, 1, 2, 10, 63):
            memory[page * 4096] = 1
        areas = pagemap.areas_between(os.getpid(), start, start + 64)
        newer = pagemap.present(os.getpid(), areas, start, start + 64)
        monkeypatch.setattr(pagemap, "_scans", False)
        assert pagemap.present(os.getpid(), areas, start, start + 64) == newer
        assert [(a - start, b - start) for a, b, *_ in newer] == [(0, 3), (10, 11), (63, 64)]


def test_a_mapping_is_found_by_its_address_as_in_the_list():
    listed = [area for area in pagemap.maps(pagemap.maps_text(os.getpid())) if area.path == "[stack]"]
    assert pagemap.areas_between(os.getpid(), listed[0].stop - 1, listed[0].stop) == listed


def test_nothing_is_found_of_a_process_that_is_not_there():
    assert pagemap.maps_text(2**22 - 1) == b""
    assert pagemap.present(2**22 - 1, []) == []


# -- the filter -------------------------------------------------------------------------------


def verdict(program: bytes, arch: int, number: int, *arguments: int) -> int:
    """What the kernel does with a call: the filter, run."""
    padded = [*arguments, 0, 0, 0, 0, 0, 0][:6]
    data = struct.pack("=iIQ6Q", number, arch, 0, *padded)
    code = [struct.unpack_from("HBBI", program, at) for at in range(0, len(program), 8)]
    at, register = 0, 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        if operation == seccomp.LOAD:
            (register,) = struct.unpack_from("=I", data, operand)
        elif operation == seccomp.JUMP_EQUAL:
            at += if_true if register == operand else if_false
        elif operation == seccomp.JUMP_SET:
            at += if_true if register & operand else if_false
        else:
            return operand


@pytest.mark.parametrize("each", [abi.X86_64, abi.I386, abi.AARCH64], ids=["x86-64", "i386", "aarch64"])
def test_the_filter_notifies_of_what_the_model_answers_and_lets_the_rest_pass(each):
    program = seccomp.build_filter((abi.X86_64, abi.I386, abi.AARCH64))
    for name, number in each.numbers.items():
        if name == "rseq":
            assert verdict(program, each.arch, number) == seccomp.RET_ERRNO | 38
        else:
            assert verdict(program, each.arch, number) == seccomp.RET_NOTIFY, name
    for number in set(range(500)) - set(each.numbers.values()):
        assert verdict(program, each.arch, number) == seccomp.RET_ALLOW
    assert verdict(program, 0x1234, each.numbers["mbind"]) == seccomp.RET_ALLOW


def test_an_open_is_notified_of_if_it_is_for_reading_as_fopen_does():
    program = seccomp.build_filter((abi.X86_64,))
    openat = abi.X86_64.numbers["openat"]
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_CLOEXEC, os.O_RDONLY | os.O_DIRECTORY, os.O_CREAT):
        assert verdict(program, abi.X86_64.arch, openat, 0, 0, flags) == seccomp.RET_ALLOW
    assert verdict(program, abi.X86_64.arch, openat, 0, 0, os.O_RDONLY | os.O_NOFOLLOW) == seccomp.RET_NOTIFY
