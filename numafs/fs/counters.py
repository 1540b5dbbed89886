# SPDX-License-Identifier: MIT
"""The counters as /proc/vmstat, nodeN/vmstat and /proc/zoneinfo show them: which, in which order, in which unit."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from numafs.kernel.vmstat import NodeStat, NumaStat, ZoneStat
from numafs.kernel.vmstat_items import shown

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mmzone import Pgdat, Zone

__all__ = ["Counters", "counters_of"]

PAGEBLOCK_ORDER = 9
IN_HUGE_PAGES = (
    NodeStat.NR_SHMEM_HUGEPAGES, NodeStat.NR_SHMEM_PMDMAPPED, NodeStat.NR_FILE_HUGEPAGES, NodeStat.NR_FILE_PMDMAPPED,
    NodeStat.NR_ANON_TRANSPARENT_HUGEPAGES,
)


class Counters:
    """The counters of a kernel's zones and nodes."""

    def __init__(self, kernel: Kernel) -> None:
        zone, node = shown(ZoneStat, kernel.features), shown(NodeStat, kernel.features)
        self.huge = kernel.machine.page_size // 8
        """Pages of a huge page."""
        self.zone_names = tuple(item.name.lower() for items in (zone, tuple(NumaStat)) for item in items)
        self.node_names = tuple(item.name.lower() for item in node)
        self._pick_zone = itemgetter(*map(int, zone))
        self._pick_node = itemgetter(*map(int, node))
        self.text = "".join(f"{name} %d\n" for name in (*self.zone_names, *self.node_names))
        """The lines of nodeN/vmstat, which /proc/vmstat begins with too."""

    def of_zones(self, zones: Sequence[Zone]) -> tuple[int, ...]:
        """The values behind `zone_names`, summed over `zones`."""
        stat = list(map(sum, zip(*(zone.stat for zone in zones), strict=True)))
        stat[ZoneStat.NR_FREE_PAGES_BLOCKS] = sum(
            zone.stat[0] >> PAGEBLOCK_ORDER << PAGEBLOCK_ORDER for zone in zones
        )
        return (*self._pick_zone(stat), *map(sum, zip(*(zone.numa for zone in zones), strict=True)))

    def of_nodes(self, nodes: Sequence[Pgdat]) -> tuple[int, ...]:
        """The values behind `node_names`, summed over `nodes`; those of huge pages are counted in huge pages."""
        stat = nodes[0].stat.copy() if len(nodes) == 1 else list(
            map(sum, zip(*(pgdat.stat for pgdat in nodes), strict=True))
        )
        for item in IN_HUGE_PAGES:
            stat[item] //= self.huge
        stat[NodeStat.NR_HUGETLB] = sum(
            size * (pool.total - pool.free) for pgdat in nodes for size, pool in pgdat.hugepages.items()
        )
        picked: tuple[int, ...] = self._pick_node(stat)
        return picked


_KNOWN: WeakKeyDictionary[Kernel, Counters] = WeakKeyDictionary()


def counters_of(kernel: Kernel) -> Counters:
    """The counters that `kernel` shows."""
    found = _KNOWN.get(kernel)
    if found is None:
        found = _KNOWN[kernel] = Counters(kernel)
    return found
