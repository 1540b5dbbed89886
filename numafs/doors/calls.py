# SPDX-License-Identifier: MIT
"""The NUMA and affinity system calls of real programs, answered by the model.

Each is a function of (kernel, task, arguments, memory): arguments are the six registers as the kernel has
them, memory is the caller's. It returns what the call returns or raises an OSError; checks come in the kernel's
order. mm/{mempolicy,migrate}.c, kernel/sched/core.c, kernel/sys.c (v6.1).

Simplified: move_pages(2) of more than 16 M pages is E2BIG.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby
from typing import TYPE_CHECKING

from numafs.kernel import mbind as mbinding
from numafs.kernel import mempolicy, migrate, sched
from numafs.kernel.errors import E2BIG, EINVAL, EPERM, ESRCH

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Task
    from numafs.kernel.nodemask import Mask

    from .remote import Memory

__all__ = ["CALLS", "Arguments", "Call", "Handler", "Sees", "seen_range"]

Arguments = Sequence[int]
Handler = Callable[["Kernel", "Task", Arguments, "Memory"], int]

LONG_BITS = 64
MOST_PAGES = 1 << 24
USER_PAGES = 1 << 35
U64 = (1 << 64) - 1


def as_int(register: int) -> int:
    """A register as the C int that the kernel takes it for."""
    register &= 0xFFFF_FFFF
    return register - (1 << 32) if register >> 31 else register


# -- node masks -------------------------------------------------------------------------------


def read_nodes(kernel: Kernel, memory: Memory, address: int, maxnode: int) -> Mask | None:
    """The mask that get_nodes() is to look at; None without one."""
    bits = maxnode - 1 & U64
    if not address:
        return None
    if not bits or bits > kernel.machine.page_size * 8:
        return 0
    unit = memory.word * 8
    mask = int.from_bytes(memory.read(address, -(-bits // unit) * memory.word), "little")
    return mask & (1 << bits) - 1


def write_nodes(kernel: Kernel, memory: Memory, address: int, maxnode: int, mask: Mask) -> None:
    """copy_nodes_to_user(): as many bytes as the caller has room for, zeros behind the last possible node."""
    length = -(-(maxnode - 1 & U64) // LONG_BITS) * 8
    known = -(-len(kernel.nodes) // LONG_BITS) * 8
    if length > max(known, kernel.machine.page_size):
        raise EINVAL(f"maxnode {maxnode} is beyond a page of bits")
    if length:
        memory.write(address, (mask & (1 << length * 8) - 1).to_bytes(length, "little"))


def page_range(kernel: Kernel, start: int, length: int) -> tuple[int, int]:
    """First page and the one behind the last of `length` bytes at `start`, which must be a page's address."""
    size = kernel.machine.page_size
    if start % size:
        raise EINVAL(f"address {start:#x} is not that of a page")
    end = start + -(-length // size) * size & U64
    return start // size, end // size


# -- memory policy ----------------------------------------------------------------------------


def set_mempolicy(kernel: Kernel, task: Task, arguments: Arguments, memory: Memory) -> int:
    """mm/mempolicy.c:kernel_set_mempolicy() (v6.1)."""
    mode, nmask, maxnode = as_int(arguments[0]), arguments[1], arguments[2]
    mempolicy.sanitize_mpol_flags(mode, kernel.features)
    mempolicy.set_mempolicy(kernel, task, mode, read_nodes(kernel, memory, nmask, maxnode), maxnode)
    return 0


def get_mempolicy(kernel: Kernel, task: Task, arguments: Arguments, memory: Memory) -> int:
    """mm/mempolicy.c:kernel_get_mempolicy() (v6.1)."""
    policy, nmask, maxnode, address, flags = arguments[:5]
    by_address = address or flags & mempolicy.MPOL_F_ADDR
    vpn = address // kernel.machine.page_size if by_address else None
    word, nodes = mempolicy.get_mempolicy(kernel, task, vpn, flags, maxnode if nmask else None)
    if policy:
        memory.write(policy, struct.pack("=i", word))
    if nmask:
        write_nodes(kernel, memory, nmask, maxnode, nodes)
    return 0


def mbind(kernel: Kernel, task: Task, arguments: Arguments, memory: Memory) -> int:
    """mm/mempolicy.c:kernel_mbind() (v6.1)."""
    start, length, mode, nmask, maxnode, flags = arguments
    mempolicy.sanitize_mpol_flags(as_int(mode), kernel.features)
    mask = read_nodes(kernel, memory, nmask, maxnode)
    first, stop = page_range(kernel, start, length)
    mbinding.mbind(kernel, task, first, stop, as_int(mode), mask, maxnode, flags & 0xFFFF_FFFF)
    return 0


def set_mempolicy_home_node(kernel: Kernel, task: Task, arguments: Arguments, memory: Memory) -> int:
    """mm/mempolicy.c:sys_set_mempolicy_home_node() (v6.1)."""
    start, length, home_node, flags = arguments[:4]
    first, stop = page_range(kernel, start, length)
    mbinding.set_mempolicy_home_node(kernel, task, first, stop, home_node, flags)
    return 0


# -- migration --------------------------------------------------------------------------------


def migrate_pages(kernel: Kernel, task: Task, arguments: Arguments, memory: Memory) -> int:
    """mm/mempolicy.c:kernel_migrate_pages() (v6.1)."""
    pid, maxnode, old, new = arguments[:4]
    masks = [read_nodes(kernel, memory, address, maxnode) or 0 for address in (old, new)]
    return migrate.migrate_pages(kernel, task, as_int(pid), masks[0], masks[1], maxnode)


def move_pages(kernel: Kernel, task: Task, arguments: Arguments, memory: Memory) -> int:
    """mm/migrate.c:kernel_move_pages() (v6.1)."""
    pid, count, pages, nodes, status, flags = arguments
    if not count:
        return migrate.move_pages(kernel, task, as_int(pid), [], [] if nodes else None, as_int(flags))[0]
    migrate.move_pages(kernel, task, as_int(pid), [], [], as_int(flags))
    if count > MOST_PAGES:
        raise E2BIG(f"{count} pages at once")
    vpns = [address // kernel.machine.page_size for address in _pointers(memory, pages, count)]
    wanted = struct.unpack(f"={count}i", memory.read(nodes, 4 * count)) if nodes else None
    result, states = migrate.move_pages(kernel, task, as_int(pid), vpns, wanted, as_int(flags))
    for at, data in _written(states):
        memory.write(status + 4 * at, data)
    return result


def _pointers(memory: Memory, address: int, count: int) -> tuple[int, ...]:
    data = memory.read(address, memory.word * count)
    return struct.unpack(f"={count}{'Q' if memory.word == 8 else 'I'}", data)


def _written(states: list[int | None]) -> Iterator[tuple[int, bytes]]:
    """The stretches of the status array that the kernel writes, with what it writes."""
    at = 0
    for known, group in groupby(states, lambda state: state is not None):
        part = list(group)
        if known:
            yield at, struct.pack(f"={len(part)}i", *part)
        at += len(part)


# -- CPUs -------------------------------------------------------------------------------------


def cpumask_size(kernel: Kernel) -> int:
    """Bytes of a CPU mask: longs for the possible CPUs."""
    return -(-len(kernel.cpu_to_node) // LONG_BITS) * 8


def sched_setaffinity(kernel: Kernel, task: Task, arguments: Arguments, memory: Memory) -> int:
    """kernel/sched/core.c:sys_sched_setaffinity() (v6.1): a mask that is too long is cut, one too short filled up."""
    pid, length, address = as_int(arguments[0]), arguments[1] & 0xFFFF_FFFF, arguments[2]
    length = min(length, cpumask_size(kernel))
    mask = int.from_bytes(memory.read(address, length), "little") if length else 0
    target = _find_process(kernel, task, pid)
    if task.uid not in (0, target.uid):
        raise EPERM(f"task {target.pid} is another's")
    sched.sched_setaffinity(kernel, target, mask)
    return 0


def sched_getaffinity(kernel: Kernel, task: Task, arguments: Arguments, memory: Memory) -> int:
    """kernel/sched/core.c:sys_sched_getaffinity() (v6.1): returns the bytes of the mask."""
    pid, length, address = as_int(arguments[0]), arguments[1] & 0xFFFF_FFFF, arguments[2]
    if length * 8 < len(kernel.cpu_to_node) or length % memory.word:
        raise EINVAL(f"a mask of {length} bytes")
    target = _find_process(kernel, task, pid)
    length = min(length, cpumask_size(kernel))
    mask = target.cpus_allowed & kernel.cpu_online & (1 << length * 8) - 1
    memory.write(address, mask.to_bytes(length, "little"))
    return length


def _find_process(kernel: Kernel, task: Task, pid: int) -> Task:
    """find_process_by_pid(); unlike migrate_pages(2), everybody may name anybody."""
    if pid < 0:
        raise EINVAL(f"pid {pid}")
    target = kernel.tasks.get(pid) if pid else task
    if target is None:
        raise ESRCH(f"no task {pid}")
    return target


def getcpu(kernel: Kernel, task: Task, arguments: Arguments, memory: Memory) -> int:
    """kernel/sys.c:sys_getcpu() (v6.1)."""
    cpu, node = arguments[:2]
    if cpu:
        memory.write(cpu, struct.pack("=I", task.cpu))
    if node:
        memory.write(node, struct.pack("=I", kernel.cpu_to_node[task.cpu]))
    return 0


# -- the table --------------------------------------------------------------------------------


class Sees(Enum):
    """What of address spaces a call looks at."""

    NOTHING = 0
    RANGE = 1
    """The caller's memory that the first two arguments say: address and bytes."""
    PAGE = 2
    """The page of the caller at the fourth argument, if the fifth has MPOL_F_ADDR."""
    ALL = 3
    """All of the task that the first argument names."""


@dataclass(frozen=True, slots=True)
class Call:
    """A system call: who answers it, and what of real processes the model must know before it can."""

    handler: Handler
    sees: Sees = Sees.NOTHING
    names_task: bool = False
    """Its first argument is a pid."""
    rebinds: bool = False
    """It changes where the caller's pages will come from."""


def seen_range(kernel: Kernel, row: Call, arguments: Arguments) -> tuple[int, int] | None:
    """The caller's pages that a call looks at; None if it looks at none."""
    size = kernel.machine.page_size
    if row.sees is Sees.PAGE and arguments[4] & mempolicy.MPOL_F_ADDR:
        return arguments[3] // size, arguments[3] // size + 1
    if row.sees is Sees.RANGE:
        return arguments[0] // size, min(-(-(arguments[0] + arguments[1]) // size), USER_PAGES)
    return None


CALLS = {
    "set_mempolicy": Call(set_mempolicy, rebinds=True),
    "get_mempolicy": Call(get_mempolicy, Sees.PAGE),
    "mbind": Call(mbind, Sees.RANGE),
    "set_mempolicy_home_node": Call(set_mempolicy_home_node, Sees.RANGE),
    "migrate_pages": Call(migrate_pages, Sees.ALL, names_task=True),
    "move_pages": Call(move_pages, Sees.ALL, names_task=True),
    "sched_setaffinity": Call(sched_setaffinity, names_task=True, rebinds=True),
    "sched_getaffinity": Call(sched_getaffinity, names_task=True),
    "getcpu": Call(getcpu),
}
"""What the model answers, by the name of the call."""

