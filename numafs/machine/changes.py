# SPDX-License-Identifier: MIT
"""What an edit of a machine file plugs in and pulls out, and what it asks that no plug can do.

Memory is counted in blocks: when a node has more of them than before, the new ones lie behind all
memory there is, as a new memory module would, whatever the edited file's own layout says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from .spec import Cpu, Machine, Node

__all__ = ["Changes", "compare"]


@dataclass(frozen=True)
class Changes:
    """What to do to a live machine, in the order of the fields, to make it what the new file says."""

    new_nodes: tuple[Node, ...] = ()
    """Nodes that were not there; their memory is in `new_blocks`."""
    new_blocks: tuple[tuple[int, int], ...] = ()
    """(node, number of the memory block)."""
    new_cpus: tuple[Cpu, ...] = ()
    gone_cpus: tuple[int, ...] = ()
    gone_blocks: tuple[tuple[int, int], ...] = ()
    """(node, number of the memory block), highest first."""
    gone_nodes: tuple[int, ...] = ()
    distances: bool = False
    """Distances of nodes that stay have changed."""
    fixed: tuple[str, ...] = ()
    """What a running machine cannot change, a sentence each: refuse the edit if there is any."""

    def __bool__(self) -> bool:
        """Is there anything to do, or to refuse?"""
        return any(getattr(self, each.name) for each in fields(self))


CANNOT = {
    "arch": "its architecture", "page_size": "its page size", "zone_types": "its zone types",
    "highmem": "its zone types", "block_size_bytes": "the size of its memory blocks",
    "possible_cpus": "how many CPUs are possible", "possible_nodes": "how many nodes are possible",
    "max_numnodes": "limits of the kernel", "nr_cpus": "limits of the kernel", "swaps": "its swap areas",
    "disks": "its disks", "devices": "its devices", "latency": "its latencies", "sysctl": "what sysctls are at boot",
    "zone_reclaim_mode": "what zone_reclaim_mode is at boot",
    "zone_reclaim_interval": "whether zone_reclaim_interval is there", "slab_allocator": "its slab allocator",
    "thp": "what transparent_hugepage is at boot", "cgroup": "its cgroup version", "kernel": "its kernel",
    "kernel_release": "its kernel", "seed": "its seed",
}
"""Fields that are fixed from boot on."""


def compare(old: Machine, new: Machine) -> Changes:
    """How to get from the running machine `old` to `new`."""
    before = {node.nid: node for node in old.nodes}
    after = {node.nid: node for node in new.nodes}
    added, removed = blocks(before, after)
    old_cpus = {cpu.cpu: cpu for cpu in old.cpus}
    new_cpus = {cpu.cpu: cpu for cpu in new.cpus}
    moved = [cpu for number, cpu in new_cpus.items() if number in old_cpus and place(old_cpus[number]) != place(cpu)]
    return Changes(
        new_nodes=tuple(node for nid, node in after.items() if nid not in before),
        new_blocks=tuple(added),
        new_cpus=tuple(cpu for number, cpu in new_cpus.items() if number not in old_cpus),
        gone_cpus=tuple(number for number in old_cpus if number not in new_cpus),
        gone_blocks=tuple(removed),
        gone_nodes=tuple(nid for nid in before if nid not in after),
        distances=distances(old, after) != distances(new, before),
        fixed=(*fixed(old, new), *(f"CPU {cpu.cpu} cannot move to another node, socket or core" for cpu in moved)),
    )


def fixed(old: Machine, new: Machine) -> list[str]:
    """A sentence for each thing that differs and cannot."""
    differing = dict.fromkeys(what for name, what in CANNOT.items() if getattr(old, name) != getattr(new, name))
    return [f"a running machine cannot change {what}" for what in differing]


def place(cpu: Cpu) -> tuple[int, int, int, int]:
    """Where a CPU sits."""
    return cpu.node, cpu.socket, cpu.die, cpu.core


def blocks(before: dict[int, Node], after: dict[int, Node]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(node, block) pairs that come and that go."""
    added: list[tuple[int, int]] = []
    removed: list[tuple[int, int]] = []
    free = 1 + max((block for node in before.values() for block in node.memory_blocks), default=-1)
    for nid in sorted({*before, *after}):
        old = before[nid].memory_blocks if nid in before else ()
        wanted = len(after[nid].memory_blocks) if nid in after else 0
        removed += [(nid, block) for block in sorted(old, reverse=True)[: max(0, len(old) - wanted)]]
        fresh = range(free, free + max(0, wanted - len(old)))
        added += [(nid, block) for block in fresh]
        free += len(fresh)
    return added, removed


def distances(machine: Machine, others: dict[int, Node]) -> Sequence[tuple[int, ...]]:
    """The distances between nodes that are among `others` too."""
    stay = [index for index, node in enumerate(machine.nodes) if node.nid in others]
    return [tuple(machine.distance[a][b] for b in stay) for a in stay]
