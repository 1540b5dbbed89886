# SPDX-License-Identifier: MIT
"""How many pages in a row each node gets from MPOL_WEIGHTED_INTERLEAVE.

mm/mempolicy.c: struct weighted_interleave_state (v6.18).

Where the firmware tells of bandwidths the weights follow them until somebody writes one; everywhere else they are 1.
"""

from __future__ import annotations

from math import gcd
from typing import TYPE_CHECKING

from .nodemask import Mask, members

if TYPE_CHECKING:
    from numafs.machine.spec import Machine

    from .kernel import Kernel

__all__ = ["InterleaveWeights", "interleave_turn"]

WEIGHTINESS = 32
"""Sum that weights by bandwidth are scaled to before they are reduced."""


class InterleaveWeights:
    """The weight of each node."""

    def __init__(self, machine: Machine) -> None:
        self.auto = True
        self._bandwidth = {
            node.nid: min(node.performance.read_bandwidth_mb_s, node.performance.write_bandwidth_mb_s)
            for node in machine.nodes if node.performance and node.present
        }
        self._weights = self._by_bandwidth()

    def _by_bandwidth(self) -> dict[int, int]:
        """reduce_interleave_weights()."""
        total = sum(self._bandwidth.values())
        if not total:
            return {}
        weights = {nid: max(1, WEIGHTINESS * mb_s // total) for nid, mb_s in self._bandwidth.items()}
        divisor = gcd(*weights.values())
        return {nid: weight // divisor for nid, weight in weights.items()}

    def get(self, nid: int) -> int:
        """The weight of a node (get_il_weight)."""
        return self._weights.get(nid, 1)

    def set(self, nid: int, weight: int) -> None:
        """A user's word for one node; the others keep what they have, and nothing is automatic any more."""
        self.auto = False
        self._weights[nid] = weight

    def set_auto(self, on: bool) -> None:
        """By bandwidth again, or as they are now from now on."""
        self.auto = on
        if on:
            self._weights = self._by_bandwidth()


def interleave_turn(kernel: Kernel, nodes: Mask, *, weighted: bool) -> list[int]:
    """The nodes that the pages of one round go to, one after the other."""
    if not weighted:
        return list(members(nodes))
    return [nid for nid in members(nodes) for _ in range(kernel.il_weights.get(nid))]
