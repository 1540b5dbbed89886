# SPDX-License-Identifier: MIT
"""In which order a node's requests try the zones of the machine. mm/page_alloc.c (v6.1)."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from .gfp import GFP_HIGHUSER_MOVABLE, gfp_zone
from .printk import Level
from .watermarks import nr_free_zone_pages

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = ["build_all_zonelists", "policy_zone"]


def node_distance(kernel: Kernel, a: int, b: int) -> int:
    """Distance of two possible nodes; what the firmware does not tell is 10 and 20."""
    distance = kernel.nodes[a].distance
    if b < len(distance):
        return distance[b]
    return 10 if a == b else 20


def build_all_zonelists(kernel: Kernel, *, boot: bool = False) -> None:
    """Order the fallback zones of every node; at boot no node is known to have CPUs yet.

    mm/page_alloc.c:build_all_zonelists(), build_zonelists(), find_next_best_node() (v6.1).
    """
    load = [0] * len(kernel.nodes)
    memory = [pgdat.nid for pgdat in kernel.nodes if pgdat.managed]
    for pgdat in kernel.nodes:
        order = _fallback_order(kernel, pgdat.nid, memory, load, boot)
        kernel.printk(f"Fallback order for Node {pgdat.nid}: " + "".join(f"{nid} " for nid in order), Level.INFO)
        pgdat.fallback_nodes = [nid for nid in order if nid in memory]
        zones = [zone for nid in pgdat.fallback_nodes for zone in reversed(kernel.nodes[nid].zones)]
        pgdat.fallback = [zone for zone in zones if zone.managed]
    total = nr_free_zone_pages(kernel, gfp_zone(kernel, GFP_HIGHUSER_MOVABLE))
    kernel.printk(
        f"Built {len(kernel.online_nodes)} zonelists, mobility grouping on.  Total pages: {total}", Level.INFO
    )
    kernel.printk(f"Policy zone: {kernel.machine.zone_types[policy_zone(kernel)]}", Level.INFO)


def _fallback_order(kernel: Kernel, local: int, memory: list[int], load: list[int], boot: bool) -> list[int]:
    """`local`, then the other nodes of `memory`, best first; the first node of each distance gets more load.

    The kernel looks for the next best node again and again. The load that it adds on the way is that of nodes it
    has taken already, so one sort gives the same order.
    """
    distance = kernel.nodes[local].distance
    order = [local, *sorted(
        (nid for nid in memory if nid != local), key=lambda nid: (_node_key(kernel, local, nid, load, boot), nid)
    )]
    for before, nid in pairwise(order):
        if distance[nid] != distance[before]:
            load[nid] += 1
    return order


def _node_key(kernel: Kernel, local: int, nid: int, load: list[int], boot: bool) -> int:
    value = kernel.nodes[local].distance[nid] + (nid < local)
    if not boot and kernel.nodes[nid].cpus_present:
        value += 1
    return value * kernel.machine.max_numnodes + load[nid]


def policy_zone(kernel: Kernel) -> int:
    """The highest zone type that MPOL_BIND applies to: the highest populated one below Movable."""
    movable = kernel.machine.zone_types.index("Movable")
    return max((zone.index for zone in kernel.zones() if zone.index < movable), default=0)
