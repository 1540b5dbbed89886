# SPDX-License-Identifier: MIT
"""Slab caches: objects of one size, packed in slabs of pages that each lie on one node.

A slab's pages come back only when all of its objects are free: ten slabs with one object in use each
give nothing back. mm/slub.c and mm/slab_common.c (v6.1).

Simplified: an object is known by its slab, not by its place in it.
Simplified: no per-CPU lists of partial slabs; a CPU has its current slab only.
Simplified: a slab that cannot have its preferred order is not tried with a smaller one.
Simplified: what the kernel took at boot are full slabs that it never gives back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import mempolicy, page_alloc
from .cpuset import node_allowed
from .errors import EINVAL
from .gfp import GFP_KERNEL, Gfp
from .mmzone import PageUse, Pgdat, Zone
from .shrinker import Shrinker, shrink_slab
from .vmstat import NodeStat, mod_node_page_state

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task

__all__ = [
    "KMALLOC_MAX_CACHE_SIZE", "KmemCache", "Slab", "SlabCaches", "SlabInfo", "calculate_order", "get_slabinfo",
    "kmalloc_slab", "kmem_cache_alloc", "kmem_cache_alloc_bulk", "kmem_cache_create", "kmem_cache_free",
    "kmem_cache_shrink", "shrink_slab", "take_boot_slabs",
]

SLUB_MAX_ORDER = 3
MIN_PARTIAL, MAX_PARTIAL = 5, 10
REMOTE_NODE_DEFRAG_RATIO = 1000
"""Chance in 1024 that another node's partial slab is taken before a new slab is made."""
KMALLOC_SIZES = (8, 16, 32, 64, 96, 128, 192, 256, 512, 1024, 2048, 4096, 8192)
KMALLOC_MAX_CACHE_SIZE = KMALLOC_SIZES[-1]


class Slab:
    """Pages of one zone, cut into objects (struct slab)."""

    __slots__ = ("cache", "inuse", "zone")

    def __init__(self, cache: KmemCache, zone: Zone) -> None:
        self.cache = cache
        self.zone = zone
        self.inuse = 0

    @property
    def free(self) -> int:
        """Objects that can still be had from it."""
        return self.cache.objects_per_slab - self.inuse

    @property
    def nid(self) -> int:
        """Its node."""
        return self.zone.pgdat.nid

    def __repr__(self) -> str:
        return f"<slab of {self.cache.name} in {self.zone}: {self.inuse}/{self.cache.objects_per_slab}>"


class KmemCache:
    """A cache of objects of one size (struct kmem_cache)."""

    def __init__(self, name: str, object_size: int, *, reclaimable: bool, order: int, page_size: int) -> None:
        self.name = name
        self.object_size = object_size
        self.reclaimable = reclaimable
        """SLAB_RECLAIM_ACCOUNT."""
        self.order = order
        self.objects_per_slab = (page_size << order) // object_size
        self.min_partial = max(MIN_PARTIAL, min(MAX_PARTIAL, (object_size.bit_length() - 1) // 2))
        """Empty slabs are kept while their node has fewer partial ones."""
        self.cpu_slab: dict[int, Slab] = {}
        """The slab that each CPU allocates from; on no list."""
        self.partial: dict[int, dict[Slab, None]] = {}
        """Slabs with free objects by node, oldest first."""
        self.slabs: Counter[Zone] = Counter()
        """All of its slabs by zone."""
        self.boot_slabs: Counter[Zone] = Counter()
        """Those among them that were taken at boot."""
        self.inuse: Counter[int] = Counter()
        """Objects in use by node."""

    @property
    def pages_per_slab(self) -> int:
        """Pages of one slab."""
        return 1 << self.order

    @property
    def stat(self) -> NodeStat:
        """The counter of its pages."""
        return NodeStat.NR_SLAB_RECLAIMABLE if self.reclaimable else NodeStat.NR_SLAB_UNRECLAIMABLE

    def slabs_of(self, pgdat: Pgdat) -> int:
        """How many slabs it has on a node."""
        return sum(self.slabs[zone] for zone in pgdat.zones)

    def partial_of(self, nid: int) -> dict[Slab, None]:
        """The partial slabs of a node, in order."""
        return self.partial.setdefault(nid, {})

    def __repr__(self) -> str:
        return f"<cache {self.name}>"


_CACHES = (
    # name, object size on x86-64, SLAB_RECLAIM_ACCOUNT
    ("ext4_inode_cache", 1192, True),
    ("shmem_inode_cache", 768, True),
    ("proc_inode_cache", 704, True),
    ("inode_cache", 640, True),
    ("dentry", 192, True),
    ("buffer_head", 104, True),
    ("radix_tree_node", 584, True),
    ("kernfs_node_cache", 128, False),
    ("task_struct", 6784, False),
    ("mm_struct", 1088, False),
    ("vm_area_struct", 152, False),
    ("anon_vma", 104, False),
    ("filp", 256, False),
)


class SlabCaches:
    """Every cache of the machine and the shrinkers of what they hold."""

    def __init__(self, kernel: Kernel) -> None:
        self.caches: dict[str, KmemCache] = {}
        self.shrinkers: list[Shrinker] = []
        self.reclaimed_pages = 0
        """Pages of slabs freed so far (reclaim_state.reclaimed_slab)."""
        for name, size, reclaimable in _CACHES:
            self.create(kernel, name, size, reclaimable=reclaimable)
        for size in KMALLOC_SIZES:
            self.create(kernel, f"kmalloc-{size_name(size)}", size, reclaimable=False)

    def create(self, kernel: Kernel, name: str, size: int, *, reclaimable: bool) -> KmemCache:
        """A new cache of this name; an object takes a multiple of 8 bytes."""
        size = -(-size // 8) * 8
        order = calculate_order(size, kernel.cpu_present.bit_count(), kernel.machine.page_size)
        cache = KmemCache(name, size, reclaimable=reclaimable, order=order, page_size=kernel.machine.page_size)
        self.caches[name] = cache
        return cache

    def find(self, name: str) -> KmemCache:
        """The cache of this name."""
        cache = self.caches.get(name)
        if cache is None:
            raise EINVAL(f"no slab cache {name!r}")
        return cache


def size_name(size: int) -> str:
    """`512`, `1k`, `8k`: as kmalloc caches are called."""
    return f"{size >> 10}k" if size >= 1024 else str(size)


def calculate_order(size: int, cpus: int, page_size: int) -> int:
    """The order that gives enough objects with little waste. mm/slub.c:calculate_order() (v6.1)."""
    largest = (page_size << SLUB_MAX_ORDER) // size
    min_objects = min(4 * (cpus.bit_length() + 1), largest)
    while min_objects > 1:
        for fraction in (16, 8, 4):
            order = calc_slab_order(size, min_objects, fraction, page_size)
            if order <= SLUB_MAX_ORDER:
                return order
        min_objects -= 1
    return calc_slab_order(size, 1, 1, page_size)


def calc_slab_order(size: int, min_objects: int, fraction: int, page_size: int) -> int:
    """The smallest order with `min_objects` objects of which at most 1/fraction is wasted. mm/slub.c (v6.1)."""
    order = (-(-min_objects * size // page_size) - 1).bit_length()
    while order <= SLUB_MAX_ORDER and (page_size << order) % size > (page_size << order) // fraction:
        order += 1
    return order


def kmem_cache_create(kernel: Kernel, name: str, size: int, *, reclaimable: bool = False) -> KmemCache:
    """A cache of a name that there is not yet. mm/slab_common.c:kmem_cache_create() (v6.1)."""
    if name in kernel.slab.caches:
        raise EINVAL(f"slab cache {name!r} exists")
    if not 8 <= size <= kernel.machine.page_size << SLUB_MAX_ORDER:
        raise EINVAL(f"objects of {size} bytes do not fit in a slab")
    return kernel.slab.create(kernel, name, size, reclaimable=reclaimable)


def kmalloc_slab(kernel: Kernel, size: int) -> KmemCache:
    """The kmalloc cache for `size` bytes. mm/slab_common.c:kmalloc_slab() (v6.1)."""
    fitting = [limit for limit in KMALLOC_SIZES if limit >= size]
    if not fitting:
        raise EINVAL(f"no kmalloc cache for {size} bytes")
    return kernel.slab.find(f"kmalloc-{size_name(fitting[0])}")


def kmem_cache_alloc(kernel: Kernel, task: Task | None, name: str, nid: int | None = None) -> Slab:
    """One object of the cache `name`, known by its slab. mm/slub.c:kmem_cache_alloc_node() (v6.1)."""
    [(slab, _)] = kmem_cache_alloc_bulk(kernel, task, kernel.slab.find(name), 1, nid)
    return slab


def kmem_cache_alloc_bulk(
    kernel: Kernel, task: Task | None, cache: KmemCache, n: int, nid: int | None = None,
) -> list[tuple[Slab, int]]:
    """`n` objects, as the slabs they lie in and how many in each; all or none.

    From the CPU's slab, a partial slab of the node, mostly a partial one of another node if none was
    demanded, and at last a new one. mm/slub.c:___slab_alloc() (v6.1).
    """
    cpu = cpu_of(kernel, task, nid)
    taken: list[tuple[Slab, int]] = []
    try:
        while n:
            slab = cache.cpu_slab.get(cpu)
            if slab is None or not slab.free or nid not in (None, slab.nid):
                slab = refill_cpu_slab(kernel, task, cache, cpu, nid)
            count = min(n, slab.free)
            slab.inuse += count
            cache.inuse[slab.nid] += count
            taken.append((slab, count))
            n -= count
    except BaseException:
        for slab, count in taken:
            kmem_cache_free(kernel, slab, count)
        raise
    return taken


def cpu_of(kernel: Kernel, task: Task | None, nid: int | None) -> int:
    """The CPU that executes: the task's; for the kernel itself one of the wanted node."""
    if task:
        return task.cpu
    here = kernel.nodes[nid].cpus_present & kernel.cpu_online if nid is not None else 0
    return ((here & -here) or 1).bit_length() - 1


def refill_cpu_slab(kernel: Kernel, task: Task | None, cache: KmemCache, cpu: int, nid: int | None) -> Slab:
    """Give the CPU another slab with free objects."""
    old = cache.cpu_slab.pop(cpu, None)
    if old:
        deactivate_slab(kernel, old)
    local = local_memory_node(kernel.node_of_cpu(cpu)) if nid is None else nid
    slab = get_partial_node(cache, local)
    if slab is None and nid is None:
        slab = get_any_partial(kernel, task, cache, local)
    if slab is None:
        slab = new_slab(kernel, task, cache, nid)
        displaced = cache.cpu_slab.pop(cpu, None)  # the allocation may have reclaimed, and that may allocate
        if displaced:
            deactivate_slab(kernel, displaced)
    cache.cpu_slab[cpu] = slab
    return slab


def local_memory_node(pgdat: Pgdat) -> int:
    """numa_mem_id(): the node itself, or the nearest with memory."""
    return pgdat.fallback[0].pgdat.nid


def get_partial_node(cache: KmemCache, nid: int) -> Slab | None:
    """The oldest partial slab of a node. mm/slub.c:get_partial_node() (v6.1)."""
    partial = cache.partial_of(nid)
    slab = next(iter(partial), None)
    if slab:
        del partial[slab]
    return slab


def get_any_partial(kernel: Kernel, task: Task | None, cache: KmemCache, local: int) -> Slab | None:
    """Mostly, a partial slab of a node that has plenty of them. mm/slub.c:get_any_partial() (v6.1)."""
    if not any(len(partial) > cache.min_partial for partial in cache.partial.values()):
        return None
    if kernel.random.randrange(1024) > REMOTE_NODE_DEFRAG_RATIO:
        return None
    for nid in kernel.nodes[local].fallback_nodes:
        allowed = task is None or node_allowed(task, nid, GFP_KERNEL)
        if allowed and len(cache.partial_of(nid)) > cache.min_partial:
            return get_partial_node(cache, nid)
    return None


def new_slab(kernel: Kernel, task: Task | None, cache: KmemCache, nid: int | None) -> Slab:
    """A slab of fresh pages: on `nid` or near it, else where the task's policy says.

    mm/slub.c:allocate_slab() (v6.1).
    """
    gfp = GFP_KERNEL | Gfp.RECLAIMABLE if cache.reclaimable else GFP_KERNEL
    if nid is not None or task is None:
        where = page_alloc.Placement(nid or 0)
    else:
        where = mempolicy.placement(kernel, task, gfp)
    zone, _ = page_alloc.alloc_pages(kernel, task, gfp, where, 1, cache.order)
    enter_slabs(cache, zone, 1)
    return Slab(cache, zone)


def enter_slabs(cache: KmemCache, zone: Zone, n: int) -> None:
    """Count `n` (or with -n take back) slabs of a zone whose pages were taken (account_slab)."""
    cache.slabs[zone] += n
    zone.used[PageUse.SLAB] += n * cache.pages_per_slab
    mod_node_page_state(zone.pgdat, cache.stat, n * cache.pages_per_slab)


def kmem_cache_free(kernel: Kernel, slab: Slab, n: int = 1) -> None:
    """Give back `n` objects of `slab`; emptied, it goes unless its node is short of partial slabs.

    mm/slub.c:__slab_free() (v6.1).
    """
    if n <= 0:
        return
    assert slab.inuse >= n, f"{n} objects freed of {slab}"
    cache = slab.cache
    slab.inuse -= n
    cache.inuse[slab.nid] -= n
    if any(current is slab for current in cache.cpu_slab.values()):
        return
    partial = cache.partial_of(slab.nid)
    if slab.inuse or n > 1:
        partial.setdefault(slab)  # freed one by one, the first object puts a full slab on the list
    if slab.inuse == 0 and len(partial) >= cache.min_partial:
        partial.pop(slab, None)
        discard_slab(kernel, slab)
    else:
        partial.setdefault(slab)


def deactivate_slab(kernel: Kernel, slab: Slab) -> None:
    """A CPU's slab joins the others. mm/slub.c:deactivate_slab() (v6.1)."""
    partial = slab.cache.partial_of(slab.nid)
    if slab.inuse == 0 and len(partial) >= slab.cache.min_partial:
        discard_slab(kernel, slab)
    elif slab.free:
        partial[slab] = None


def discard_slab(kernel: Kernel, slab: Slab) -> None:
    """Free the pages of an empty slab that is on no list. mm/slub.c:free_slab() (v6.1)."""
    enter_slabs(slab.cache, slab.zone, -1)
    kernel.slab.reclaimed_pages += slab.cache.pages_per_slab
    page_alloc.free_pages(kernel, slab.zone, 1, slab.cache.order)


def kmem_cache_shrink(kernel: Kernel, cache: KmemCache) -> None:
    """Free every empty slab, those of the CPUs too. mm/slub.c:__kmem_cache_shrink() (v6.1)."""
    for cpu in list(cache.cpu_slab):
        deactivate_slab(kernel, cache.cpu_slab.pop(cpu))
    for partial in cache.partial.values():
        for slab in [slab for slab in partial if slab.inuse == 0]:
            del partial[slab]
            discard_slab(kernel, slab)


def take_boot_slabs(cache: KmemCache, zone: Zone, n: int) -> None:
    """`n` full slabs of the booted kernel; their pages have been taken from the zone's free ones."""
    enter_slabs(cache, zone, n)
    cache.boot_slabs[zone] += n
    cache.inuse[zone.pgdat.nid] += n * cache.objects_per_slab


@dataclass(frozen=True)
class SlabInfo:
    """A row of /proc/slabinfo."""

    active_objs: int
    num_objs: int
    active_slabs: int
    num_slabs: int


def get_slabinfo(cache: KmemCache) -> SlabInfo:
    """Objects and slabs of a cache; SLUB counts the objects of a CPU's slab as active.

    mm/slub.c:get_slabinfo() (v6.1).
    """
    slabs = cache.slabs.total()
    objects = slabs * cache.objects_per_slab
    unused = sum(slab.free for partial in cache.partial.values() for slab in partial)
    return SlabInfo(objects - unused, objects, slabs, slabs)
