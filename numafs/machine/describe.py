# SPDX-License-Identifier: MIT
"""A machine for a reader: one page of text, or JSON for a program. For TOML, see `numafs.machine.write`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from .spec import Cpu, Disk, Machine, Node
from .units import bandwidth_text, list_text, size_text, time_text

__all__ = ["describe", "to_json"]


def describe(machine: Machine) -> str:
    """Nodes, CPUs, memory, zones, distances and what hangs on the machine, as text that ends with a newline."""
    parts = [head(machine), nodes_table(machine), distance_table(machine), cpus_text(machine.cpus)]
    parts += [things for things in (disks_text(machine), devices_text(machine), settings_text(machine)) if things]
    return "\n".join(parts)


def to_json(machine: Machine) -> str:
    """Every field of the record, under its name."""
    data: dict[str, Any] = asdict(machine)
    data["sysctl"] = dict(machine.sysctl)
    return json.dumps(data, indent=2) + "\n"


def head(machine: Machine) -> str:
    """What machine it is, in two lines."""
    memory = sum(node.present for node in machine.nodes) * machine.page_size
    facts = [
        plural(len(machine.nodes), "node"), plural(len(machine.cpus), "CPU"), f"{rounded(memory)} of memory",
        f"pages of {size_text(machine.page_size)}", f"memory blocks of {size_text(machine.block_size_bytes)}",
    ]
    about = machine.about.partition(". ")[0].rstrip(".")
    title = machine.name + (f": {about}" if about else "")
    return f"{title}\n{machine.arch}, Linux {machine.kernel}: {', '.join(facts)}\n"


def nodes_table(machine: Machine) -> str:
    """A line for each node."""
    cpus: dict[int, list[int]] = {node.nid: [] for node in machine.nodes}
    for cpu in machine.cpus:
        cpus[cpu.node].append(cpu.cpu)
    rows: list[tuple[str, ...]] = [("node", "cpus", "memory", "usable", "zones", "memory blocks")]
    rows += [node_row(machine, node, cpus[node.nid]) for node in machine.nodes]
    return table(rows, right=(0, 2, 3))


def node_row(machine: Machine, node: Node, cpus: Sequence[int]) -> tuple[str, ...]:
    """One node's line: memory is what it has, usable what its allocator manages."""
    size = machine.page_size
    zones = ", ".join(f"{zone.type} {rounded(zone.present * size)}" for zone in node.zones)
    managed = sum(zone.managed for zone in node.zones) * size
    return (
        str(node.nid), list_text(cpus) or "-", rounded(node.present * size), rounded(managed), zones or "-",
        list_text(node.memory_blocks) or "-",
    )


def distance_table(machine: Machine) -> str:
    """The matrix, from each node (a row) to each other."""
    nids = [str(node.nid) for node in machine.nodes]
    rows: list[tuple[str, ...]] = [("distance", *nids)]
    rows += [(nid, *map(str, row)) for nid, row in zip(nids, machine.distance, strict=True)]
    return table(rows, right=range(len(rows)))


def cpus_text(cpus: Sequence[Cpu]) -> str:
    """How CPUs and caches lie in the machine."""
    def distinct(key: Callable[[Cpu], object]) -> int:
        return len({key(cpu) for cpu in cpus})

    sockets = distinct(lambda cpu: cpu.socket)
    dies = distinct(lambda cpu: (cpu.socket, cpu.die))
    cores = distinct(lambda cpu: (cpu.socket, cpu.die, cpu.core))
    counts = [plural(sockets, "socket"), *([plural(dies, "die")] if dies > sockets else []), plural(cores, "core")]
    lines = [f"{', '.join(counts)}, {plural(len(cpus), 'thread')}"]
    caches = {cache: None for cpu in cpus for cache in cpu.caches}
    kinds: dict[str, int] = {}
    for cache in caches:
        letter = {"Data": "d", "Instruction": "i"}.get(cache.type, "")
        kind = f"L{cache.level}{letter} {size_text(cache.size_kb << 10)}"
        kinds[kind] = kinds.get(kind, 0) + 1
    if kinds:
        lines.append("caches " + ", ".join(f"{count} x {kind}" for kind, count in kinds.items()))
    return "\n".join(lines) + "\n"


def disks_text(machine: Machine) -> str:
    """Disks and swap areas."""
    lines = [disk_line(disk) for disk in machine.disks]
    for swap in machine.swaps:
        state = "" if swap.active else ", off"
        lines.append(f"swap {swap.path}: {size_text((swap.pages + 1) * machine.page_size)}{state}")
    return "".join(f"{line}\n" for line in lines)


def disk_line(disk: Disk) -> str:
    """One disk."""
    files = [file for file in disk.files if not file.directory]
    total = sum(file.size_bytes for file in files)
    speed = f"reads {bandwidth_text(disk.read_mb_s)}, writes {bandwidth_text(disk.write_mb_s)}"
    content = f"{plural(len(files), 'file')}, {rounded(total)}"
    return f"disk {disk.name}: {content}; {speed}, latency {time_text(disk.latency_ns)}"


def devices_text(machine: Machine) -> str:
    """PCI devices."""
    return "".join(
        f"device {device.address}: class {device.class_code:06x}, node {device.numa_node}\n"
        for device in machine.devices
    )


def settings_text(machine: Machine) -> str:
    """What isn't as the kernel would choose it."""
    lines = [f"{name} = {value}" for name, value in machine.sysctl.items()]
    if machine.zone_reclaim_mode != "0":
        lines.append(f"zone_reclaim_mode = {machine.zone_reclaim_mode}")
    if machine.zone_reclaim_interval:
        lines.append("zone_reclaim_interval is there")
    return "".join(f"{line}\n" for line in lines)


def table(rows: Sequence[Sequence[str]], right: Sequence[int]) -> str:
    """Rows in columns; those numbered in `right` are flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if index in right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def plural(count: int, word: str) -> str:
    """`1 node`, `4 nodes`."""
    return f"{count} {word}{'' if count == 1 else 's'}"


def rounded(size: int) -> str:
    """A size in the largest unit that leaves a whole part: `511.6M`."""
    for letter, unit in (("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if size >= unit:
            return f"{size / unit:.1f}".removesuffix(".0") + letter
    return f"{size}B"
