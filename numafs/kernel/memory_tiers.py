# SPDX-License-Identifier: MIT
"""Memory tiers: which nodes' memory is fast, and where cold pages go from each. mm/memory-tiers.c (v6.1).

The abstract distance of a node's memory says how slow it is. Memory that the firmware reports is DRAM, wherever it
is; what a driver added later (CXL memory and persistent memory by way of dax kmem) is slower.

As in the kernel, which tiers hold CPUs is looked at when memory comes or goes, and not when a CPU does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .nodemask import Mask, mask_of, members

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = [
    "MemoryTier", "MemoryTiers", "establish_demotion_targets", "next_demotion_node", "node_get_allowed_targets",
    "node_is_toptier",
]

MEMTIER_CHUNK_BITS = 7
MEMTIER_CHUNK_SIZE = 1 << MEMTIER_CHUNK_BITS


@dataclass(eq=False)
class MemoryTier:
    """Nodes whose memory is about equally fast (struct memory_tier)."""

    adistance_start: int
    nodes: Mask = 0
    lower_tier_mask: Mask = 0
    """Nodes of all slower tiers."""

    @property
    def number(self) -> int:
        """N of its name in sysfs, memory_tierN."""
        return self.adistance_start >> MEMTIER_CHUNK_BITS


@dataclass(eq=False)
class MemoryTiers:
    """The tiers of a machine, fastest first, and the demotion targets of its nodes."""

    tiers: list[MemoryTier] = field(default_factory=list)
    by_node: dict[int, MemoryTier] = field(default_factory=dict)
    preferred: dict[int, Mask] = field(default_factory=dict)
    """Nodes that pages of a node are demoted to first; nodes of the slowest tier are not in it."""
    top_tier_adistance: int = 0
    demotion_enabled: bool = False
    """/sys/kernel/mm/numa/demotion_enabled."""
    promoting: bool = False
    """Was kernel.numa_balancing in tiering mode when it was last written?"""


def establish_demotion_targets(kernel: Kernel) -> None:
    """Sort the nodes that have memory into tiers, and find the demotion targets of each (mm/memory-tiers.c, v6.1)."""
    tiers = kernel.tiers
    found: dict[int, MemoryTier] = {}
    tiers.by_node = {}
    for nid in members(kernel.node_states_memory):
        start = kernel.nodes[nid].adistance // MEMTIER_CHUNK_SIZE * MEMTIER_CHUNK_SIZE
        tier = tiers.by_node[nid] = found.setdefault(start, MemoryTier(start))
        tier.nodes |= 1 << nid
    tiers.tiers = [found[start] for start in sorted(found)]
    with_cpus = mask_of(pgdat.nid for pgdat in kernel.nodes if pgdat.cpus_present & kernel.cpu_online)
    tiers.top_tier_adistance = max(
        (tier.adistance_start + MEMTIER_CHUNK_SIZE - 1 for tier in tiers.tiers if tier.nodes & with_cpus), default=0
    )
    lower = kernel.node_states_memory
    for tier in tiers.tiers:
        lower &= ~tier.nodes
        tier.lower_tier_mask = lower
    tiers.preferred = {
        nid: _best_targets(kernel, nid, below.nodes, with_cpus)
        for tier, below in zip(tiers.tiers, tiers.tiers[1:], strict=False) for nid in members(tier.nodes)
    }


def _best_targets(kernel: Kernel, nid: int, candidates: Mask, with_cpus: Mask) -> Mask:
    """The nodes of the next tier at the distance of the best one, as far as find_next_best_node() lists them first."""
    distance = kernel.nodes[nid].distance

    def value(other: int) -> int:
        return distance[other] + (other < nid) + (with_cpus >> other & 1)

    best: Mask = 0
    nearest = None
    for other in sorted(members(candidates), key=value):
        if nearest is not None and distance[other] != nearest:
            break
        nearest = distance[other]
        best |= 1 << other
    return best


def node_is_toptier(kernel: Kernel, nid: int) -> bool:
    """Is the memory of the node as fast as that of the slowest node with CPUs? Promotion leaves such pages alone."""
    tier = kernel.tiers.by_node.get(nid)
    return tier is None or tier.adistance_start <= kernel.tiers.top_tier_adistance


def next_demotion_node(kernel: Kernel, nid: int) -> int | None:
    """Where pages of the node are demoted to: one of its best targets, at random; None for the slowest tier."""
    targets = list(members(kernel.tiers.preferred.get(nid, 0)))
    if len(targets) > 1:
        return kernel.random.choice(targets)
    return targets[0] if targets else None


def node_get_allowed_targets(kernel: Kernel, nid: int) -> Mask:
    """Every node of a slower tier: where pages may go if the best target is full."""
    tier = kernel.tiers.by_node.get(nid)
    return tier.lower_tier_mask if tier else 0
