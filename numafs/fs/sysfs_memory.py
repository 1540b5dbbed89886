# SPDX-License-Identifier: MIT
"""/sys/devices/system/memory: blocks of memory, which may be taken off line and put back.

drivers/base/memory.c (v6.1).

Simplified: auto_online_blocks only remembers what was written; no pages are poisoned by the files that would.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from numafs.kernel import memory_hotplug
from numafs.kernel.errors import EINVAL
from numafs.kernel.memory_hotplug import MemoryBlock

from .attr import Attr, Caller
from .numbers import kstrtobool, sysfs_word
from .sysfs_device import UEVENT, add_power
from .tree import SYSFS, Dir, Following, Link

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel

__all__ = ["memory_dir"]


class BlockDevice(NamedTuple):
    """A memory block as its files see it."""

    kernel: Kernel
    block: MemoryBlock


def state_store(device: BlockDevice, data: bytes, caller: Caller) -> None:
    """offline, online, online_kernel, online_movable. drivers/base/memory.c:state_store() (v6.1)."""
    word = sysfs_word(data)
    kernel, block = device
    if word == "offline":
        memory_hotplug.offline_block(kernel, block.number)
        return
    if word not in ("online", "online_kernel", "online_movable"):
        raise EINVAL(f"{word!r} is no state of memory")
    memory_hotplug.online_block(kernel, block.number, "Movable" if word == "online_movable" else None)


def online_store(device: BlockDevice, data: bytes, caller: Caller) -> None:
    """1 or 0; what it is already is no error. drivers/base/core.c:online_store() (v6.1)."""
    wanted = kstrtobool(data)
    if wanted == device.block.online:
        return
    if wanted:
        memory_hotplug.online_block(device.kernel, device.block.number)
    else:
        memory_hotplug.offline_block(device.kernel, device.block.number)


def valid_zones_show(device: BlockDevice) -> str:
    """The zone it is in, or could be put in."""
    return memory_hotplug.valid_zones(device.kernel, device.block) + "\n"


BLOCK: tuple[Attr[BlockDevice], ...] = (
    Attr("online", 0o644, lambda device: f"{int(device.block.online)}\n", online_store, size=4096),
    Attr("phys_device", 0o444, lambda device: "0\n", size=4096),
    Attr("phys_index", 0o444, lambda device: f"{device.block.number:08x}\n", size=4096),
    Attr("removable", 0o444, lambda device: "1\n", size=4096),
    Attr("state", 0o644, lambda device: device.block.state + "\n", state_store, size=4096),
    UEVENT,
    Attr("valid_zones", 0o444, valid_zones_show, size=4096),
)


class AutoOnline:
    """The policy for new blocks."""

    def __init__(self) -> None:
        self.word = "offline"


def auto_online_store(policy: AutoOnline, data: bytes, caller: Caller) -> None:
    """One of four words."""
    word = sysfs_word(data)
    if word not in ("offline", "online", "online_kernel", "online_movable"):
        raise EINVAL(f"{word!r} is no policy")
    policy.word = word


AUTO_ONLINE: Attr[AutoOnline] = Attr(
    "auto_online_blocks", 0o644, lambda policy: policy.word + "\n", auto_online_store, size=4096
)
TOP: tuple[Attr[Kernel], ...] = (
    Attr("block_size_bytes", 0o444, lambda kernel: f"{kernel.machine.block_size_bytes:x}\n", size=4096),
    UEVENT,
)


def _one_block(kernel: Kernel, number: int) -> Dir:
    block = kernel.memory_blocks[number]
    home = Dir(SYSFS, 0o755)
    home.add_files(BLOCK, BlockDevice(kernel, block))
    nid = block.pgdat.nid
    home.add(f"node{nid}", Link(f"../../node/node{nid}"))
    home.add("subsystem", Link("../../../../bus/memory"))
    add_power(home)
    return home


def memory_dir(kernel: Kernel) -> Dir:
    """The directory /sys/devices/system/memory."""
    blocks = Following(
        "memory", lambda: sorted(kernel.memory_blocks), lambda number: number in kernel.memory_blocks,
        lambda number: _one_block(kernel, number),
    )
    top = Dir(SYSFS, 0o755, find=blocks.find, more=blocks.names)
    top.add_files(TOP, kernel)
    top.add_files((AUTO_ONLINE,), AutoOnline())
    add_power(top)
    return top
