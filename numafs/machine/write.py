# SPDX-License-Identifier: MIT
"""A machine as TOML, nothing left to derive: what `numafs.machine.toml.loads` reads back as an equal machine."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace

from .layout import ARCHES
from .spec import DRAM_DISTANCE, BootUse, Cache, Cpu, Disk, Latency, Machine, Node, Performance, Swap
from .units import bandwidth_text, list_text, size_text, time_text

__all__ = ["dumps"]

Value = str | int | bool
SCALARS = (
    "zone_reclaim_interval", "possible_cpus", "possible_nodes", "max_numnodes", "nr_cpus", "slab_allocator", "thp",
    "cgroup", "cpuset_v2_mode", "kernel", "kernel_release", "seed",
)
"""Keys of the top table that have the name and the form of a field."""


def dumps(machine: Machine) -> str:
    """The machine file of `machine`."""
    parts = [top(machine), *(node_text(node) for node in machine.nodes), *caches(machine.cpus)]
    parts += [swap_text(swap, machine.page_size) for swap in machine.swaps]
    parts += [disk_text(disk) for disk in machine.disks]
    parts += [
        section("[[device]]", {
            "address": device.address, "node": device.numa_node, "class": device.class_code, "vendor": device.vendor,
            "device": device.device,
        })
        for device in machine.devices
    ]
    parts += [section("[latency]", latency_values(machine.latency))]
    if machine.sysctl:
        parts += [section("[sysctl]", {quoted(name): value for name, value in sorted(machine.sysctl.items())})]
    return "\n".join(parts)


def top(machine: Machine) -> str:
    """The keys before the first table."""
    arch = ARCHES[machine.arch]
    values: dict[str, Value] = {"name": machine.name, "about": machine.about, "arch": machine.arch}
    values |= {"page_size": size_text(machine.page_size), "block_size": size_text(machine.block_size_bytes)}
    if machine.highmem and machine.highmem != arch.highmem:
        values["highmem"] = machine.highmem
    values |= {key: getattr(machine, key) for key in SCALARS}
    mode = machine.zone_reclaim_mode
    values["zone_reclaim_mode"] = int(mode) if mode.isdigit() else mode
    lines = [section("", values)]
    if machine.zone_types != arch.zone_types:
        lines.append(f"zone_types = [{', '.join(map(quoted, machine.zone_types))}]\n")
    lines.append(rows("distances", (f"[{', '.join(map(str, row))}]" for row in machine.distance)))
    lines.append(rows("cpu", map(cpu_text, machine.cpus)))
    if not any(cpu.caches for cpu in machine.cpus):
        lines.append("cache = []\n")
    return "".join(lines)


def cpu_text(cpu: Cpu) -> str:
    """One CPU as an inline table."""
    return f"{{cpu = {cpu.cpu}, node = {cpu.node}, socket = {cpu.socket}, die = {cpu.die}, core = {cpu.core}}}"


def node_text(node: Node) -> str:
    """One [[node]] with its zones, what it holds at boot and how fast it is."""
    head: dict[str, Value] = {"id": node.nid, "blocks": list_text(node.memory_blocks)}
    if node.abstract_distance != DRAM_DISTANCE:
        head["abstract_distance"] = node.abstract_distance
    parts = [section("[[node]]", head)]
    parts.append(section("[node.boot]", boot_values(node.boot)))
    for zone in node.zones:
        values: dict[str, Value] = {
            "type": zone.type, "start_pfn": zone.start_pfn, "spanned": zone.spanned, "present": zone.present,
            "managed": zone.managed,
        }
        if zone.type in node.boot.free:
            values["free"] = node.boot.free[zone.type]
        parts.append(section("[[node.zone]]", values))
    if node.performance is not None:
        parts.append(section("[node.performance]", performance_values(node.performance)))
    return "\n".join(parts)


def boot_values(boot: BootUse) -> dict[str, Value]:
    """Pages in use at boot, those that are none left out."""
    values = {each.name: getattr(boot, each.name) for each in fields(BootUse) if each.name != "free"}
    return {name: value for name, value in values.items() if value}


def performance_values(performance: Performance) -> dict[str, Value]:
    """[node.performance]."""
    return {
        "read_latency": time_text(performance.read_latency_ns),
        "write_latency": time_text(performance.write_latency_ns),
        "read_bandwidth": bandwidth_text(performance.read_bandwidth_mb_s),
        "write_bandwidth": bandwidth_text(performance.write_bandwidth_mb_s),
    }


def latency_values(latency: Latency) -> dict[str, Value]:
    """[latency]."""
    return {
        "fault": time_text(latency.fault_ns), "copy_page": time_text(latency.copy_page_ns),
        "reclaim_page": time_text(latency.reclaim_page_ns), "access": time_text(latency.access_ns),
        "bandwidth": bandwidth_text(latency.bandwidth_mb_s),
    }


def caches(cpus: Sequence[Cpu]) -> Iterator[str]:
    """[[cache]] entries: equal caches are one entry, with the CPUs behind each."""
    for cache, groups in cache_order(cpus):
        values: dict[str, Value] = {
            "level": cache.level, "type": cache.type, "size": size_text(cache.size_kb << 10), "line": cache.line_size,
            "ways": cache.ways, "sets": cache.sets,
        }
        shared = ", ".join(quoted(list_text(group)) for group in groups)
        yield section("[[cache]]", values) + f"shared = [{shared}]\n"


def cache_order(cpus: Sequence[Cpu]) -> list[tuple[Cache, list[tuple[int, ...]]]]:
    """Each kind of cache and the groups of CPUs that share one, so that every CPU sees its own in its order.

    A kind goes out when no CPU has another kind, not yet out, before it.
    """
    waiting = {cpu.cpu: [replace(cache, shared_cpus=()) for cache in cpu.caches] for cpu in cpus}
    groups = {cpu.cpu: [cache.shared_cpus for cache in cpu.caches] for cpu in cpus}
    found: list[tuple[Cache, list[tuple[int, ...]]]] = []
    while any(waiting.values()):
        heads = list(dict.fromkeys(own[0] for own in waiting.values() if own))
        kind = next((head for head in heads if not any(head in own[1:] for own in waiting.values())), heads[0])
        holders = [cpu for cpu, own in waiting.items() if own and own[0] == kind]
        found.append((kind, list(dict.fromkeys(groups[cpu].pop(0) for cpu in holders))))
        for cpu in holders:
            waiting[cpu].pop(0)
    return found


def swap_text(swap: Swap, page_size: int) -> str:
    """One [[swap]]."""
    values: dict[str, Value] = {"path": swap.path, "size": size_text((swap.pages + 1) * page_size)}
    if swap.priority is not None:
        values["priority"] = swap.priority
    return section("[[swap]]", values | {"partition": swap.partition, "active": swap.active})


def disk_text(disk: Disk) -> str:
    """One [[disk]] and its files."""
    head = section("[[disk]]", {
        "name": disk.name, "read": bandwidth_text(disk.read_mb_s), "write": bandwidth_text(disk.write_mb_s),
        "latency": time_text(disk.latency_ns),
    })
    if not disk.content:
        return head
    files: dict[str, Value] = {
        quoted(file.path + "/" * file.directory): size_text(file.size_bytes) if file.size_bytes else 0
        for file in disk.content
    }
    return head + section("[disk.files]", files)


def section(header: str, values: Mapping[str, Value]) -> str:
    """A table: its header and a line for each key."""
    lines = [header] if header else []
    lines += [f"{key} = {literal(value)}" for key, value in values.items()]
    return "\n".join(lines) + "\n"


def rows(key: str, items: Iterator[str]) -> str:
    """An array, a line for each item."""
    return f"{key} = [\n" + "".join(f"  {item},\n" for item in items) + "]\n"


def literal(value: Value) -> str:
    """A value in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    """A basic string: JSON's escapes are TOML's too, but for DEL, which TOML wants escaped."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
