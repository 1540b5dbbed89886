# SPDX-License-Identifier: MIT
"""nodeN/access0 and access1: how fast a node's memory is from its nearest CPUs, as the firmware's HMAT says.

drivers/acpi/numa/hmat.c and drivers/base/node.c:node_set_perf_attrs() (v6.1).

Simplified: the best initiators of a node are the nearest nodes with CPUs; there are no generic initiators, so that
both access classes are alike, and no memory-side caches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numafs.machine.spec import Performance

from .attr import Attr
from .sysfs_device import UEVENT, add_power
from .tree import Dir, Link

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel

__all__ = ["add_access"]

PERFORMANCE: tuple[Attr[Performance], ...] = (
    Attr("read_bandwidth", 0o444, lambda memory: f"{memory.read_bandwidth_mb_s}\n", size=4096),
    Attr("read_latency", 0o444, lambda memory: f"{memory.read_latency_ns}\n", size=4096),
    Attr("write_bandwidth", 0o444, lambda memory: f"{memory.write_bandwidth_mb_s}\n", size=4096),
    Attr("write_latency", 0o444, lambda memory: f"{memory.write_latency_ns}\n", size=4096),
)


def initiators(kernel: Kernel, nid: int) -> list[int]:
    """The nodes with CPUs that are nearest to node `nid`."""
    distance = kernel.nodes[nid].distance
    with_cpus = [pgdat.nid for pgdat in kernel.nodes if pgdat.cpus_present]
    nearest = min((distance[other] for other in with_cpus), default=0)
    return [other for other in with_cpus if distance[other] == nearest]


def add_access(node: Dir, kernel: Kernel, nid: int) -> None:
    """Enter access0/ and access1/, if the machine's firmware knows of its nodes' speed."""
    described = {each.nid: each.performance for each in kernel.machine.nodes if each.performance is not None}
    targets = [target for target in described if nid in initiators(kernel, target)]
    memory = described.get(nid)
    if memory is None and not targets:
        return
    for name in ("access0", "access1"):
        access = node.dir(name)
        access.add_files((UEVENT,), nid)
        add_power(access)
        own = access.dir("initiators")
        if memory is not None:
            own.add_files(PERFORMANCE, memory)
            for other in initiators(kernel, nid):
                own.add(f"node{other}", Link(f"../../../node{other}"))
        others = access.dir("targets")
        for target in targets:
            others.add(f"node{target}", Link(f"../../../node{target}"))
