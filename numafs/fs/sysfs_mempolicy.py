# SPDX-License-Identifier: MIT
"""/sys/kernel/mm/mempolicy: the weights of MPOL_WEIGHTED_INTERLEAVE. mm/mempolicy.c (v6.18)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from numafs.kernel.errors import EINVAL
from numafs.kernel.nodemask import members

from .attr import Attr, Caller
from .numbers import kstrtobool, kstrtoul
from .tree import SYSFS, Dir, File, Following

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel

__all__ = ["add_weighted_interleave"]

MAX_WEIGHT = 255


class NodeWeight:
    """The weight of one node."""

    def __init__(self, kernel: Kernel, nid: int) -> None:
        self.weights = kernel.il_weights
        self.nid = nid


def node_store(node: NodeWeight, data: bytes, caller: Caller) -> None:
    """1..255; from then on the weights are the user's."""
    try:
        weight = kstrtoul(data, 0, MAX_WEIGHT)
    except OSError as error:
        raise EINVAL(str(error.strerror)) from None
    if not weight:
        raise EINVAL("a weight of 0")
    node.weights.set(node.nid, weight)


def weighted_interleave_auto_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """Whether weights follow the bandwidths."""
    kernel.il_weights.set_auto(kstrtobool(data))


NODE: Attr[NodeWeight] = Attr("node", 0o644, lambda node: f"{node.weights.get(node.nid)}\n", node_store, size=4096)
AUTO: Attr[Kernel] = Attr(
    "__auto_type", 0o664, lambda kernel: "true\n" if kernel.il_weights.auto else "false\n",
    weighted_interleave_auto_store, size=4096,
)
"""It was to be called `auto`, which in the kernel's sources is a macro."""


def add_weighted_interleave(top: Dir, kernel: Kernel) -> None:
    """Enter mempolicy/weighted_interleave/ in /sys/kernel/mm: a file for each node with memory."""
    nodes = Following(
        "node", lambda: members(kernel.node_states_memory), lambda nid: bool(kernel.node_states_memory >> nid & 1),
        lambda nid: File(SYSFS, replace(NODE, name=f"node{nid}"), NodeWeight(kernel, nid)),
    )
    home = Dir(SYSFS, 0o755, find=nodes.find, more=nodes.names)
    home.add_files((AUTO,), kernel)
    top.dir("mempolicy").add("weighted_interleave", home)
