# SPDX-License-Identifier: MIT
"""What is in use when the first shell starts: the booted kernel's memory and its first programs'.

The machine says how many pages of each kind a node holds (`BootUse`); this puts them in place.

Simplified: the first programs' memory is one mapping of pid 1 a node, and block-device buffers and the
files of the initial ramfs are one file each.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from .filemap import Inode
from .mm import Mm, Vma
from .mm_inline import enter
from .mmzone import Lru, PageUse, Pgdat, Zone
from .page import PG, Kind, Run, Space
from .slab import take_boot_slabs
from .vmstat import NodeStat, ZoneStat, mod_node_page_state, mod_zone_page_state

if TYPE_CHECKING:
    from numafs.machine.spec import BootUse

    from .kernel import Kernel

__all__ = ["populate"]

INIT_VPN = 0x400
"""Where pid 1's memory begins (0x400000 / 4096)."""


def populate(kernel: Kernel) -> None:
    """Take the memory in use at boot from every node's free pages."""
    kernel.rootfs = Inode("/", mode=0o040755)
    kernel.bdev = Inode("/dev/vda", mode=0o060660)
    init = kernel.tasks.get(1)
    mm = init.mm if init and init.mm else Mm()
    kernel.boot_used = {zone: Counter() for pgdat in kernel.nodes for zone in pgdat.zones}
    for node in kernel.machine.nodes:
        Populate(kernel, kernel.nodes[node.nid], node.boot).all(mm)


class Populate:
    """Takes pages of one node, from its highest zone down, leaving each zone what is to stay free."""

    def __init__(self, kernel: Kernel, pgdat: Pgdat, use: BootUse) -> None:
        self.kernel = kernel
        self.pgdat = pgdat
        self.use = use
        self.left = {zone: zone.managed - use.free.get(zone.type, 0) for zone in reversed(pgdat.populated_zones)}

    def take(self, n: int, *, movable: bool = False) -> list[tuple[Zone, int]]:
        """`n` pages, as zones and how many of each; fewer if the node hasn't so many.

        What is not `movable` cannot be in HighMem or Movable.
        """
        taken = []
        for zone, left in self.left.items():
            if not movable and zone.type in (self.kernel.machine.highmem, "Movable"):
                continue
            count = min(n, left, zone.free)
            if count <= 0:
                continue
            self.left[zone] -= count
            n -= count
            mod_zone_page_state(zone, ZoneStat.NR_FREE_PAGES, -count)
            taken.append((zone, count))
        return taken

    def all(self, mm: Mm) -> None:
        """Put each kind of use in place; what then should not be free is the kernel's."""
        use, pgdat = self.use, self.pgdat
        self.slabs("dentry", use.slab_reclaimable)
        self.slabs("kernfs_node_cache", use.slab_unreclaimable)
        for zone, n in self.take(use.page_tables):
            zone.used[PageUse.PAGE_TABLE] += n
            self.kernel.boot_used[zone][PageUse.PAGE_TABLE] += n
            mod_node_page_state(pgdat, NodeStat.NR_PAGE_TABLE_PAGES, n)
        for zone, n in self.take(use.kernel_stack):
            zone.used[PageUse.KERNEL_STACK] += n
            self.kernel.boot_used[zone][PageUse.KERNEL_STACK] += n
            mod_node_page_state(pgdat, NodeStat.NR_KERNEL_STACK, n * self.kernel.machine.page_size // 1024)
        self.anon(mm, use.anon)
        self.cache(self.kernel.bdev.space, use.file, Lru.INACTIVE_FILE)
        self.cache(self.kernel.rootfs.space, use.unevictable, Lru.UNEVICTABLE)
        named = sum(left for zone, left in self.left.items() if zone.type in use.free)
        for zone, n in self.take(max(use.kernel, named), movable=named > 0):
            zone.used[PageUse.BOOT] += n

    def slabs(self, name: str, pages: int) -> None:
        """Full slabs of a cache whose slabs are single pages."""
        cache = self.kernel.slab.find(name)
        for zone, n in self.take(pages - pages % cache.pages_per_slab):
            take_boot_slabs(cache, zone, n // cache.pages_per_slab)

    def anon(self, mm: Mm, pages: int) -> None:
        """Memory of the first programs."""
        for zone, n in self.take(pages, movable=True):
            start = max(INIT_VPN, mm.vmas[-1].stop + 1 if mm.vmas else 0)
            vma = Vma(mm, start, start + n)
            vma.anon = Space(Kind.ANON)
            run = Run(vma.anon.lane(1, 0), start, start + n, zone, PG.DIRTY)
            run.mapcount = 1
            enter(run, Lru.INACTIVE_ANON)
            vma.map(start, start + n, vma.anon)
            mm.vmas.append(vma)

    def cache(self, space: Space, pages: int, lru: Lru) -> None:
        """Pages of a file, behind those it has."""
        for zone, n in self.take(pages, movable=True):
            start = space.nrpages
            enter(Run(space.lane(1, 0), start, start + n, zone), lru)
