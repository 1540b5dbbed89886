# SPDX-License-Identifier: MIT
"""A machine changes while it runs: CPUs, memory and nodes are plugged in and pulled out.

What firmware would do by ACPI: drivers/acpi/{acpi_memhotplug,acpi_processor}.c,
mm/memory_hotplug.c:{add,remove}_memory() (v6.1). The change is given as another `Machine`:
what may not change is refused, the rest is done step by step, and undone if a step is refused.

Simplified: memory that comes lies behind all other memory, that which goes is the node's last; what was
possible at boot grows as needed; kernel threads of new CPUs and nodes are not made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING

from . import memory_tiers, page_alloc
from .cpu import cpu_down, cpu_up
from .cpuset_hotplug import cpuset_update_active_cpus
from .errors import EINVAL
from .memory_hotplug import add_memory, offline_block
from .mmzone import HugePool, Pgdat

if TYPE_CHECKING:
    from numafs.machine.spec import Cpu, Machine, Node

    from .kernel import Kernel

__all__ = ["change_machine"]

CHANGEABLE = frozenset(("name", "about", "nodes", "cpus", "distance", "possible_cpus"))
LOCAL_DISTANCE, REMOTE_DISTANCE = 10, 20

Undo = Callable[[], object]


def change_machine(kernel: Kernel, machine: Machine) -> list[str]:
    """Make the running machine like `machine`; says what was done.

    Raises OSError with the reason if that cannot be; then nothing has changed.
    """
    running = kernel.machine
    check_change(running, machine)
    undo: list[Undo] = []
    done: list[str] = []
    kernel.machine = replace(
        running, name=machine.name, about=machine.about, nodes=machine.nodes, cpus=machine.cpus,
        distance=machine.distance, possible_cpus=machine.possible_cpus,
    )
    try:
        _plug(kernel, running, machine, undo, done)
        _pull(kernel, running, machine, undo, done)
    except OSError:
        for step in reversed(undo):
            step()
        kernel.machine = running
        raise
    _set_distances(kernel, machine)
    return done


# ---------------------------------------------------------------- what may change


def check_change(running: Machine, machine: Machine) -> None:
    """Raises EINVAL if `machine` differs in what only a boot can change."""
    for each in fields(running):
        if each.name not in CHANGEABLE and getattr(running, each.name) != getattr(machine, each.name):
            raise EINVAL(f"{each.name} cannot change while the machine runs")
    _check_cpus(running, machine)
    block = running.block_size_bytes // running.page_size
    old = {node.nid: node for node in running.nodes}
    for node in machine.nodes:
        change = node.present - (old[node.nid].present if node.nid in old else 0)
        if change % block:
            mib = running.block_size_bytes >> 20
            raise EINVAL(f"memory of node {node.nid} can only change by whole blocks of {mib} MiB")


def _check_cpus(running: Machine, machine: Machine) -> None:
    homes = {cpu.cpu: cpu.node for cpu in running.cpus}
    for cpu in machine.cpus:
        home = homes.get(cpu.cpu, cpu.node)
        if home != cpu.node:
            raise EINVAL(f"CPU {cpu.cpu} cannot move from node {home} to node {cpu.node}")


# ---------------------------------------------------------------- in


def _plug(kernel: Kernel, running: Machine, machine: Machine, undo: list[Undo], done: list[str]) -> None:
    """Nodes first, then their memory, then their CPUs."""
    old = {node.nid: node for node in running.nodes}
    for node in machine.nodes:
        if node.nid not in old:
            _add_node(kernel, node.nid)
            kernel.nodes[node.nid].adistance = node.abstract_distance
            undo.append(partial(_remove_node, kernel, node.nid))
            done.append(f"node {node.nid} added")
        before = old[node.nid].present if node.nid in old else 0
        for _ in range((node.present - before) // _block_pages(kernel)):
            number = _add_block(kernel, node)
            undo.append(partial(_remove_block, kernel, number))
            done.append(f"memory{number} added to node {node.nid}")
    known = {cpu.cpu for cpu in running.cpus}
    for cpu in machine.cpus:
        if cpu.cpu not in known:
            _add_cpu(kernel, cpu)
            undo.append(partial(_remove_cpu, kernel, cpu))
            done.append(f"CPU {cpu.cpu} added to node {cpu.node}")


def _add_node(kernel: Kernel, nid: int) -> None:
    for new in range(len(kernel.nodes), nid + 1):
        pgdat = Pgdat(new, kernel.machine.zone_types)
        pgdat.hugepages = {size: HugePool() for size in kernel.nodes[0].hugepages}
        pgdat.distance = [REMOTE_DISTANCE] * new
        kernel.boot_used.update((zone, Counter()) for zone in pgdat.zones)
        kernel.nodes.append(pgdat)
        for other in kernel.nodes:
            other.distance.append(LOCAL_DISTANCE if other is pgdat else REMOTE_DISTANCE)
    kernel.nodes[nid].online = True
    kernel.node_online |= 1 << nid
    kernel.node_possible |= 1 << nid


def _add_block(kernel: Kernel, node: Node) -> int:
    number = max(kernel.memory_blocks, default=-1) + 1
    populated = kernel.nodes[node.nid].populated_zones
    zone = populated[-1].type if populated else node.zones[-1].type
    add_memory(kernel, node.nid, number, zone)
    return number


def _add_cpu(kernel: Kernel, cpu: Cpu) -> None:
    everywhere = (1 << len(kernel.cpu_to_node)) - 1
    while len(kernel.cpu_to_node) <= cpu.cpu:
        kernel.cpu_to_node.append(0)
    kernel.cpu_to_node[cpu.cpu] = cpu.node
    for task in kernel.tasks:
        if task.cpus_allowed == everywhere:
            task.cpus_allowed |= (1 << len(kernel.cpu_to_node)) - 1
    kernel.nodes[cpu.node].cpus_present |= 1 << cpu.cpu
    kernel.cpu_present |= 1 << cpu.cpu
    cpu_up(kernel, cpu.cpu)


# ---------------------------------------------------------------- out


def _pull(kernel: Kernel, running: Machine, machine: Machine, undo: list[Undo], done: list[str]) -> None:
    """CPUs first, then memory, then nodes that have neither."""
    kept = {cpu.cpu for cpu in machine.cpus}
    for cpu in running.cpus:
        if cpu.cpu not in kept:
            _remove_cpu(kernel, cpu)
            undo.append(partial(_add_cpu, kernel, cpu))
            done.append(f"CPU {cpu.cpu} removed")
    left = {node.nid: node.present for node in machine.nodes}
    for node in running.nodes:
        for _ in range((node.present - left.get(node.nid, 0)) // _block_pages(kernel)):
            pgdat = kernel.nodes[node.nid]
            number = pgdat.memory_blocks[-1]
            zone = _remove_block(kernel, number)
            undo.append(partial(add_memory, kernel, node.nid, number, zone))
            done.append(f"memory{number} removed from node {node.nid}")
    for node in running.nodes:
        if node.nid not in left:
            if kernel.nodes[node.nid].present:
                raise EINVAL(f"node {node.nid} has memory that is no whole block")
            _remove_node(kernel, node.nid)
            done.append(f"node {node.nid} removed")


def _remove_cpu(kernel: Kernel, cpu: Cpu) -> None:
    cpu_down(kernel, cpu.cpu)
    kernel.cpu_present &= ~(1 << cpu.cpu)
    kernel.nodes[cpu.node].cpus_present &= ~(1 << cpu.cpu)


def _remove_block(kernel: Kernel, number: int) -> str:
    """Take a block out; returns the zone that it was in."""
    block = kernel.memory_blocks[number]
    if block.online:
        offline_block(kernel, number)
    del kernel.memory_blocks[number]
    block.pgdat.memory_blocks.remove(number)
    return block.zones[0].type


def _remove_node(kernel: Kernel, nid: int) -> None:
    """try_offline_node(): it has neither memory nor CPUs any more."""
    kernel.nodes[nid].online = False
    kernel.node_online &= ~(1 << nid)
    page_alloc.build_all_zonelists(kernel)
    cpuset_update_active_cpus(kernel)


# ---------------------------------------------------------------- both


def _block_pages(kernel: Kernel) -> int:
    return kernel.machine.block_size_bytes // kernel.machine.page_size


def _set_distances(kernel: Kernel, machine: Machine) -> None:
    for node, row in zip(machine.nodes, machine.distance, strict=True):
        for other, distance in zip(machine.nodes, row, strict=True):
            kernel.nodes[node.nid].distance[other.nid] = distance
    page_alloc.build_all_zonelists(kernel)
    memory_tiers.establish_demotion_targets(kernel)
