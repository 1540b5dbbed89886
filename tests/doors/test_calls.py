"""The handlers of system calls, without any process: a memory that is a dict of bytes."""

from __future__ import annotations

import errno
import struct

import pytest

from numafs.doors.calls import CALLS
from numafs.kernel.errors import EFAULT

BIND, INTERLEAVE = 2, 3
STATIC = 1 << 15
F_NODE, F_ADDR, F_MEMS = 1, 2, 4
MOVE, MOVE_ALL = 2, 4
LARGEST_MAXNODE = 4096 * 8 + 1


class FakeMemory:
    """Memory at addresses from 0x1000 to 0x9000."""

    def __init__(self, word: int = 8) -> None:
        self.word = word
        self.bytes = bytearray(0x9000)

    def read(self, address: int, length: int) -> bytes:
        self._check(address, length)
        return bytes(self.bytes[address : address + length])

    def write(self, address: int, data: bytes) -> None:
        self._check(address, len(data))
        self.bytes[address : address + len(data)] = data

    def _check(self, address: int, length: int) -> None:
        if not 0x1000 <= address <= address + length <= len(self.bytes):
            raise EFAULT(f"{address:#x}")

    def long_at(self, address: int) -> int:
        return struct.unpack_from("<Q", self.bytes, address)[0]

    def ints_at(self, address: int, count: int) -> list[int]:
        return list(struct.unpack_from(f"<{count}i", self.bytes, address))


@pytest.fixture
def memory() -> FakeMemory:
    return FakeMemory()


@pytest.fixture
def task(kernel):
    return kernel.tasks.spawn(kernel, "prog")


def call(kernel, task, memory, name, *arguments):
    """The call's value, or the name of its errno."""
    padded = [argument & (1 << 64) - 1 for argument in (*arguments, 0, 0, 0, 0, 0, 0)][:6]
    try:
        return CALLS[name].handler(kernel, task, padded, memory)
    except OSError as error:
        return errno.errorcode[error.errno]


def put_mask(memory, mask: int, address: int = 0x1000, length: int = 8) -> int:
    memory.write(address, mask.to_bytes(length, "little"))
    return address


def test_a_policy_that_was_set_is_got_back(kernel, task, memory):
    put_mask(memory, 0b110)
    assert call(kernel, task, memory, "set_mempolicy", BIND | STATIC, 0x1000, 65) == 0
    assert call(kernel, task, memory, "get_mempolicy", 0x2000, 0x3000, 65) == 0
    assert memory.ints_at(0x2000, 1) == [BIND | STATIC]
    assert memory.long_at(0x3000) == 0b110


def test_a_program_of_32_bits_has_masks_of_words_of_4_bytes(kernel, task):
    memory = FakeMemory(word=4)
    memory.bytes[0x1000:0x1008] = b"\x06\0\0\0\xff\xff\xff\xff"
    assert call(kernel, task, memory, "set_mempolicy", BIND, 0x1000, 33) == 0
    assert task.policy.nodes == 0b110


@pytest.mark.parametrize(
    ("mode", "address", "maxnode", "expected"),
    [
        (BIND, 0x1000, 0, "EINVAL"), (BIND, 0x1000, 1, "EINVAL"), (BIND, 0x1000, 2, "EINVAL"), (BIND, 0x1000, 4, 0),
        (BIND, 0x1000, 1025, 0), (BIND, 0x1000, LARGEST_MAXNODE, 0), (BIND, 0x1000, LARGEST_MAXNODE + 1, "EINVAL"),
        (BIND, 0, 65, "EINVAL"), (BIND, 0x100, 65, "EFAULT"), (99, 0x100, 65, "EINVAL"), (0, 0, 0, 0),
        (0, 0x1000, 65, "EINVAL"), (-1, 0x1000, 65, "EINVAL"),
    ],
)
def test_masks_of_every_length(kernel, task, memory, mode, address, maxnode, expected):
    """The mask says node 2."""
    put_mask(memory, 0b100)
    assert call(kernel, task, memory, "set_mempolicy", mode, address, maxnode) == expected


def test_a_node_beyond_the_kernels_is_invalid_even_if_its_mask_is_long_enough(kernel, task, memory):
    memory.bytes[0x1000 + 128] = 1  # node 1024
    put_mask(memory, 0b1)
    assert call(kernel, task, memory, "set_mempolicy", BIND, 0x1000, 1025) == 0
    assert call(kernel, task, memory, "set_mempolicy", BIND, 0x1000, 1089) == "EINVAL"


def test_what_the_kernel_writes_of_a_mask_ends_with_the_callers_room(kernel, task, memory):
    memory.bytes[0x3000:0x3020] = b"\xff" * 32
    assert call(kernel, task, memory, "get_mempolicy", 0, 0x3000, 128, 0, F_MEMS) == 0
    assert memory.bytes[0x3000:0x3020] == b"\x0f" + bytes(15) + b"\xff" * 16


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 0x3000, 3), "EINVAL"), ((0, 0, 0, 0x400000), "EINVAL"), ((0, 0, 0, 0, F_ADDR), "EFAULT"),
        ((0, 0, 0, 0, 8), "EINVAL"), ((0, 0, 0, 0, F_MEMS | F_NODE), "EINVAL"), ((0, 0, 0, 0, F_NODE), "EINVAL"),
        ((0x10, 0, 0), "EFAULT"), ((0, 0x10, 65), "EFAULT"), ((0, 0, 0), 0),
    ],
)
def test_get_mempolicy_refuses(kernel, task, memory, arguments, expected):
    assert call(kernel, task, memory, "get_mempolicy", *arguments) == expected


def test_the_node_of_a_page_is_where_its_policy_put_it(kernel, task, memory):
    from numafs.kernel import mmap

    vma = mmap.mmap(kernel, task, None, 16)
    put_mask(memory, 0b1000)
    assert call(kernel, task, memory, "mbind", vma.start * 4096, 16 * 4096, BIND, 0x1000, 65) == 0
    from numafs.kernel.memory import touch

    touch(kernel, task, vma.start, vma.stop, write=True)
    assert call(kernel, task, memory, "get_mempolicy", 0x2000, 0, 0, vma.start * 4096, F_NODE | F_ADDR) == 0
    assert memory.ints_at(0x2000, 1) == [3]


@pytest.mark.parametrize(
    ("start", "length", "flags", "expected"),
    [
        (1, 4096, 0, "EINVAL"), (0, 0, 0, 0), (0, 4096, 0, "EFAULT"), (0, 1 << 63, 0, "EFAULT"),
        (4096, (1 << 64) - 4096, 0, "EINVAL"), (1 << 63, 1 << 63, 0, "EINVAL"), (0, 4096, 8, "EINVAL"),
    ],
)
def test_mbind_of_ranges_that_are_none(kernel, task, memory, start, length, flags, expected):
    put_mask(memory, 0b1)
    assert call(kernel, task, memory, "mbind", start, length, BIND, 0x1000, 65, flags) == expected


def test_pages_are_moved_and_asked_for(kernel, task, memory):
    from numafs.kernel import mmap
    from numafs.kernel.memory import touch

    vma = mmap.mmap(kernel, task, None, 4)
    touch(kernel, task, vma.start, vma.start + 3, write=True)
    memory.write(0x1000, struct.pack("<4Q", *((vma.start + i) * 4096 for i in range(4))))
    memory.write(0x2000, struct.pack("<4i", 1, 2, 3, 1))
    assert call(kernel, task, memory, "move_pages", 0, 4, 0x1000, 0x2000, 0x3000, MOVE) == 0
    assert call(kernel, task, memory, "move_pages", 0, 4, 0x1000, 0, 0x4000) == 0
    assert memory.ints_at(0x4000, 4) == [1, 2, 3, -errno.EFAULT]


def test_pages_of_a_program_of_32_bits_have_short_addresses(kernel, task):
    memory = FakeMemory(word=4)
    from numafs.kernel import mmap
    from numafs.kernel.memory import touch

    vma = mmap.mmap(kernel, task, 0x80000, 2)
    touch(kernel, task, vma.start, vma.stop, write=True)
    memory.write(0x1000, struct.pack("<2I", vma.start * 4096, (vma.start + 1) * 4096))
    assert call(kernel, task, memory, "move_pages", 0, 2, 0x1000, 0, 0x3000) == 0
    assert memory.ints_at(0x3000, 2) == [0, 0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 1, 0x1000, 0x100, 0x3000, MOVE), "EFAULT"), ((0, 1, 0x100, 0, 0x3000, 0), "EFAULT"),
        ((0, 1, 0x1000, 0, 0x100, 0), "EFAULT"), ((0, 1, 0x1000, 0, 0x3000, 1), "EINVAL"),
        ((999999, 1, 0x1000, 0, 0x3000, 0), "ESRCH"), ((0, 1 << 40, 0x1000, 0, 0x3000, 0), "E2BIG"),
        ((0, 0, 0, 0, 0, 0), 0), ((-1, 1, 0x1000, 0, 0x3000, 0), "ESRCH"),
    ],
)
def test_move_pages_refuses(kernel, task, memory, arguments, expected):
    assert call(kernel, task, memory, "move_pages", *arguments) == expected


def test_another_user_may_neither_look_nor_move(kernel, task, memory):
    stranger = kernel.tasks.spawn(kernel, "stranger", uid=1000)
    put_mask(memory, 0b1)
    assert call(kernel, stranger, memory, "migrate_pages", task.pid, 65, 0x1000, 0x1000) == "EPERM"
    assert call(kernel, stranger, memory, "move_pages", task.pid, 1, 0x1000, 0, 0x3000) == "EPERM"
    assert call(kernel, stranger, memory, "move_pages", 0, 1, 0x1000, 0x2000, 0x3000, MOVE_ALL) == "EPERM"
    assert call(kernel, stranger, memory, "sched_setaffinity", task.pid, 8, 0x1000) == "EPERM"
    assert call(kernel, stranger, memory, "sched_getaffinity", task.pid, 8, 0x1000) == 8


def test_an_address_space_migrates(kernel, task, memory):
    from numafs.kernel import mmap
    from numafs.kernel.memory import touch, vma_stats

    vma = mmap.mmap(kernel, task, None, 100)
    touch(kernel, task, vma.start, vma.stop, write=True)
    put_mask(memory, 0b1)
    put_mask(memory, 0b100, 0x2000)
    assert call(kernel, task, memory, "migrate_pages", task.pid, 65, 0x1000, 0x2000) == 0
    assert dict(vma_stats(kernel, vma).node) == {2: 100}
    put_mask(memory, 1 << 9, 0x2000)
    assert call(kernel, task, memory, "migrate_pages", task.pid, 65, 0x1000, 0x2000) == "EINVAL"


@pytest.mark.parametrize(
    ("length", "expected"), [(0, "EINVAL"), (4, "EINVAL"), (8, 8), (12, "EINVAL"), (16, 8), (128, 8), (1024, 8)]
)
def test_an_affinity_is_as_long_as_the_kernels_masks(kernel, task, memory, length, expected):
    assert call(kernel, task, memory, "sched_getaffinity", 0, length, 0x1000) == expected
    if expected == 8:
        assert memory.long_at(0x1000) == 0xFF


def test_an_affinity_moves_a_task_to_another_node(kernel, task, memory):
    put_mask(memory, 0b1100_0000)
    assert call(kernel, task, memory, "sched_setaffinity", 0, 8, 0x1000) == 0
    assert call(kernel, task, memory, "getcpu", 0x2000, 0x2004) == 0
    assert memory.ints_at(0x2000, 2) == [6, 3]
    put_mask(memory, 1 << 40)
    assert call(kernel, task, memory, "sched_setaffinity", 0, 8, 0x1000) == "EINVAL"
    assert call(kernel, task, memory, "sched_setaffinity", 999999, 8, 0x1000) == "ESRCH"
    assert call(kernel, task, memory, "sched_setaffinity", 0, 8, 0x10) == "EFAULT"


def test_a_home_node_is_for_bound_mappings(kernel, task, memory):
    from numafs.kernel import mmap

    vma = mmap.mmap(kernel, task, None, 4)
    where = (vma.start * 4096, 4 * 4096)
    assert call(kernel, task, memory, "set_mempolicy_home_node", *where, 1) == "ENOENT"
    put_mask(memory, 0b11)
    call(kernel, task, memory, "mbind", *where, BIND, 0x1000, 65)
    assert call(kernel, task, memory, "set_mempolicy_home_node", *where, 1) == 0
    assert call(kernel, task, memory, "set_mempolicy_home_node", *where, 9) == "EINVAL"
    assert call(kernel, task, memory, "set_mempolicy_home_node", *where, 1, 1) == "EINVAL"
    call(kernel, task, memory, "mbind", *where, INTERLEAVE, 0x1000, 65)
    assert call(kernel, task, memory, "set_mempolicy_home_node", *where, 1) == errno.errorcode[errno.EOPNOTSUPP]
