# SPDX-License-Identifier: MIT
"""What the kernel remembers of names and inodes, and how a shrinker makes it forget.

fs/dcache.c, fs/inode.c and the superblock's shrinker of fs/super.c (v6.1). A remembered name has an object of
the cache `dentry` and keeps its inode, an object of `ext4_inode_cache`; a directory is kept by the names in it.
Inodes with page cache are on no list: only their pages' end makes them reclaimable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import slab
from .inode import Inode
from .shrinker import Shrinker, register_shrinker

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task
    from .mmzone import Pgdat
    from .slab import Slab

__all__ = ["Dentry", "DentryCache"]

DENTRY, INODE = "dentry", "ext4_inode_cache"
S_IFREG, S_IFDIR = 0o100000, 0o040000


class Dentry:
    """A name on the disk and what it stands for; `inode` and `slab` while the kernel remembers it."""

    __slots__ = (
        "children", "directory", "gid", "ino", "inode", "mode", "name", "parent", "referenced", "remembered",
        "size_bytes", "slab", "uid",
    )

    def __init__(self, name: str, parent: Dentry | None, ino: int, *, directory: bool) -> None:
        self.name = name
        self.parent = parent
        self.ino = ino
        self.directory = directory
        self.mode = S_IFDIR | 0o755 if directory else S_IFREG | 0o644
        self.uid = 0
        self.gid = 0
        self.size_bytes = 4096 if directory else 0
        self.children: dict[str, Dentry] = {} if directory else _NO_CHILDREN
        self.inode: Inode | None = None
        self.slab: Slab | None = None
        self.referenced = False
        self.remembered = 0
        """How many of its children are remembered: as long as there are any, so is it."""

    @property
    def path(self) -> str:
        """As numa_maps shows it."""
        return f"{self.parent.path}/{self.name}" if self.parent else "/data"

    @property
    def unused(self) -> bool:
        """Could it be forgotten?"""
        return not self.remembered and self.parent is not None and not (self.inode and self.inode.users)

    def __repr__(self) -> str:
        return f"<dentry {self.path}>"


_NO_CHILDREN: dict[str, Dentry] = {}


class DentryCache(Shrinker):
    """The superblock's lists of what could be forgotten, node by node, oldest first."""

    batch = 1024
    rcu = True

    def __init__(self, kernel: Kernel) -> None:
        super().__init__()
        self.kernel = kernel
        self.dentries: dict[int, dict[Dentry, None]] = {}
        """s_dentry_lru by node of the dentry's slab."""
        self.inodes: dict[Inode, tuple[Dentry, Slab]] = {}
        """Every inode that is remembered, with the name it is read from."""
        self.nameless: dict[Inode, None] = {}
        """Those of them whose name has been forgotten; reclaimable once they have no pages (s_inode_lru)."""
        register_shrinker(kernel, self)

    # ------------------------------------------------------------ remembering

    def dget(self, task: Task | None, entry: Dentry) -> Inode:
        """Remember a name and its inode, whose parents are remembered; a second use marks it referenced."""
        inode = entry.inode
        if inode is None:
            inode = entry.inode = self._iget(task, entry)
        # An inode that is not nameless stays, whatever the allocation below makes the shrinker do.
        self.nameless.pop(inode, None)
        if entry.slab is not None:
            entry.referenced = True
            return inode
        try:
            entry.slab = slab.kmem_cache_alloc(self.kernel, task, DENTRY)
        except BaseException:
            self.nameless[inode] = None
            raise
        if entry.parent is not None:
            entry.parent.remembered += 1
        self.dentries.setdefault(entry.slab.nid, {})[entry] = None
        return inode

    def _iget(self, task: Task | None, entry: Dentry) -> Inode:
        """Read an inode from the disk (ext4_iget)."""
        place = slab.kmem_cache_alloc(self.kernel, task, INODE)
        inode = Inode(entry.path, entry.size_bytes, ino=entry.ino, mode=entry.mode, uid=entry.uid, gid=entry.gid)
        self.inodes[inode] = (entry, place)
        return inode

    # ------------------------------------------------------------ forgetting

    def forget(self, entry: Dentry) -> None:
        """The name is removed from the disk: its object is freed at once, the inode becomes the caller's."""
        self._drop_name(entry)
        inode, entry.inode = entry.inode, None
        if inode is not None:
            self.nameless.pop(inode, None)
            _, place = self.inodes.pop(inode)
            slab.kmem_cache_free(self.kernel, place)

    def move(self, entry: Dentry, parent: Dentry) -> None:
        """A remembered name goes to another directory."""
        if entry.slab is not None and entry.parent is not None:
            entry.parent.remembered -= 1
            parent.remembered += 1

    def _drop_name(self, entry: Dentry) -> None:
        if entry.slab is None:
            return
        self.dentries[entry.slab.nid].pop(entry, None)
        slab.kmem_cache_free(self.kernel, entry.slab)
        entry.slab, entry.referenced = None, False
        if entry.parent is not None:
            entry.parent.remembered -= 1

    def _prune_dentry(self, entry: Dentry) -> None:
        """Forget a name; its inode is kept by nothing but its pages now."""
        self._drop_name(entry)
        if entry.inode is not None:
            self.nameless[entry.inode] = None

    def _evict(self, inode: Inode) -> None:
        """Forget an inode (fs/inode.c:evict()): what it said is on the disk."""
        entry, place = self.inodes.pop(inode)
        del self.nameless[inode]
        entry.size_bytes, entry.mode, entry.uid, entry.gid = inode.size_bytes, inode.mode, inode.uid, inode.gid
        entry.inode = None
        slab.kmem_cache_free(self.kernel, place)

    # ------------------------------------------------------------ the shrinker

    def _reclaimable_inodes(self, pgdat: Pgdat) -> list[Inode]:
        return [
            inode for inode in self.nameless
            if self.inodes[inode][1].nid == pgdat.nid
            and not inode.space.nrpages and not inode.users and inode not in self.kernel.dirty_inodes
        ]

    def _counts(self, pgdat: Pgdat) -> tuple[int, int]:
        return len(self.dentries.get(pgdat.nid, ())), len(self._reclaimable_inodes(pgdat))

    def count_objects(self, kernel: Kernel, pgdat: Pgdat) -> int:
        """fs/super.c:super_cache_count() (v6.1): what vfs_cache_pressure makes of it."""
        return sum(self._counts(pgdat)) * kernel.vm.vfs_cache_pressure // kernel.vm.vfs_cache_pressure_denom

    def scan_objects(self, kernel: Kernel, task: Task | None, pgdat: Pgdat, nr_to_scan: int) -> int:
        """fs/super.c:super_cache_scan() (v6.1): names first, since they keep inodes."""
        names, inodes = self._counts(pgdat)
        if not names + inodes:
            return 0
        share = nr_to_scan * names // (names + inodes)
        freed = self._prune_dcache(pgdat, share)
        return freed + self._prune_icache(pgdat, nr_to_scan - share)

    def _prune_dcache(self, pgdat: Pgdat, nr_to_scan: int) -> int:
        """fs/dcache.c:prune_dcache_sb() (v6.1): those in use leave the list, those used again get another round."""
        lru = self.dentries.get(pgdat.nid, {})
        freed = 0
        for entry in [entry for entry, _ in zip(lru, range(nr_to_scan), strict=False)]:
            if entry not in lru:
                continue
            if entry.referenced or not entry.unused:
                del lru[entry]
                lru[entry] = None
                entry.referenced = False
            else:
                self._prune_dentry(entry)
                freed += 1
        return freed

    def _prune_icache(self, pgdat: Pgdat, nr_to_scan: int) -> int:
        doomed = self._reclaimable_inodes(pgdat)[:nr_to_scan]
        for inode in doomed:
            self._evict(inode)
        return len(doomed)
