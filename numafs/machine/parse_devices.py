# SPDX-License-Identifier: MIT
"""What hangs on a machine: swap areas, disks and their files, PCI devices."""

from __future__ import annotations

import re
from collections.abc import Sequence

from . import patterns
from .spec import Device, Disk, DiskFile, Swap
from .table import Table

__all__ = ["CLASSES", "devices", "disks", "swaps"]

CLASSES = {
    "nvme": 0x010802, "sata": 0x010601, "ethernet": 0x020000, "infiniband": 0x020700, "vga": 0x030000, "gpu": 0x030200,
    "memory": 0x050210, "bridge": 0x060400,
}
"""PCI classes by a name."""
ADDRESS = re.compile(r"(?:([0-9a-f]{4}):)?[0-9a-f]{2}:[0-1][0-9a-f]\.[0-7]")
MAX_FILES = 5_000_000
"""Of one pattern."""


def swaps(table: Table, page_size: int) -> tuple[Swap, ...]:
    """[[swap]]: `size` is the area's, of which one page is the header."""
    found: list[Swap] = []
    for own in table.tables("swap"):
        pages = own.pages("size", page_size)
        if pages < 2:
            own.fail("size", "is too small", "a swap area has two pages at least")
        swap = Swap(
            path=absolute(own, "path", "/dev/vdb"),
            pages=pages - 1,
            priority=own.integer("priority", high=32767) if "priority" in own else None,
            partition=own.flag("partition", True),
            active=own.flag("active", True),
        )
        own.done()
        if any(swap.path == old.path for old in found):
            own.fail("path", f"{swap.path} is there twice")
        found.append(swap)
    return tuple(found)


def absolute(own: Table, key: str, example: str) -> str:
    """A path from the root."""
    path = own.text(key)
    if not path.startswith("/"):
        own.fail(key, f"{path!r} is no path from the root", f'write for instance "{example}"')
    return path


def disks(table: Table) -> tuple[Disk, ...]:
    """[[disk]]: speed, and [disk.files]."""
    found: list[Disk] = []
    usual = Disk("")
    for own in table.tables("disk"):
        disk = Disk(
            name=own.text("name") or f"vd{chr(ord('a') + len(found))}",
            content=content(own.table("files")),
            read_mb_s=own.bandwidth("read", usual.read_mb_s),
            write_mb_s=own.bandwidth("write", usual.write_mb_s),
            latency_ns=own.duration("latency", usual.latency_ns),
        )
        if not disk.read_mb_s or not disk.write_mb_s:
            own.fail("read" if not disk.read_mb_s else "write", "is 0")
        own.done()
        found.append(disk)
    check_files(table, found)
    return tuple(found)


def content(table: Table) -> tuple[DiskFile, ...]:
    """[disk.files]: path = size. A path that ends in / is a directory."""
    found: list[DiskFile] = []
    for key in table.data:
        path = key.removesuffix("/")
        try:
            names = patterns.count(path)
        except ValueError as error:
            table.fail(key, str(error))
        if names > MAX_FILES:
            table.fail(key, f"stands for {names} files", f"a pattern may stand for {MAX_FILES}")
        if path.startswith("/") or any(part in ("", ".", "..") for part in path.split("/")):
            table.fail(key, "is no path below data/", 'write for instance "logs/f{0..9}"')
        directory = key.endswith("/")
        size = table.size(key)
        if directory and size:
            table.fail(key, "is a directory, whose size is 0")
        found.append(DiskFile(path, size, directory))
    return tuple(found)


def check_files(table: Table, found: Sequence[Disk]) -> None:
    """No name twice, no file that is another one's directory: all disks make one tree.

    Only what lies below the same first name can clash, so a pattern of many files is seldom expanded.
    """
    by_top: dict[str, list[DiskFile]] = {}
    for item in (item for disk in found for item in disk.content):
        for name in patterns.expand(item.path.partition("/")[0]):
            by_top.setdefault(name, []).append(item)
    for items in by_top.values():
        if len(items) > 1:
            check_clashes(table, items)


def check_clashes(table: Table, items: Sequence[DiskFile]) -> None:
    """No name twice among those that `items` stand for, no file that is another one's directory."""
    directories: dict[str, bool] = {}
    for item in items:
        for path in patterns.expand(item.path):
            if path in directories:
                table.fail("disk", f"gives {path} a second time")
            directories[path] = item.directory
    for path in directories:
        parent = path.rpartition("/")[0]
        if not directories.get(parent, True):
            table.fail("disk", f"{parent} is a file, but {path} lies below it")


def devices(table: Table, nids: Sequence[int]) -> tuple[Device, ...]:
    """[[device]]: PCI devices and their nodes."""
    found: list[Device] = []
    usual = Device("")
    for own in table.tables("device"):
        address = own.text("address").lower()
        match = ADDRESS.fullmatch(address)
        if match is None:
            own.fail("address", f"{address!r} is no PCI address", 'write for instance "0000:3b:00.0"')
        device = Device(
            address=address if match[1] else f"0000:{address}",
            numa_node=own.integer("node", -1, low=-1),
            class_code=class_code(own, usual.class_code),
            vendor=own.integer("vendor", usual.vendor, high=0xFFFF),
            device=own.integer("device", usual.device, high=0xFFFF),
        )
        if device.numa_node not in (-1, *nids):
            own.fail("node", f"{device.numa_node} is not there", "-1 means none")
        if any(device.address == old.address for old in found):
            own.fail("address", f"{device.address} is there twice")
        own.done()
        found.append(device)
    return tuple(found)


def class_code(own: Table, default: int) -> int:
    """`class`: a name such as "nvme", or the number."""
    if isinstance(own.raw("class"), str):
        return CLASSES[own.choice("class", CLASSES, "")]
    return own.integer("class", default, high=0xFFFFFF)
