# SPDX-License-Identifier: MIT
"""/sys/kernel/slab: one directory a slab cache. mm/slub.c:slab_attrs[] (v6.1).

Simplified: only the files that say how full a cache is, where it lies, and `shrink`; no aliases.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from numafs.kernel import slab
from numafs.kernel.errors import EINVAL

from .attr import Attr, Caller
from .tree import SYSFS, Dir, Node

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.slab import KmemCache

__all__ = ["slab_dir"]


class CacheDevice(NamedTuple):
    """A cache and the kernel it belongs to."""

    kernel: Kernel
    cache: KmemCache


def by_node(counts: Counter[int]) -> str:
    """`9 N0=4 N2=5`: the sum, and the nodes that have any. mm/slub.c:show_slab_objects() (v6.1)."""
    nodes = "".join(f" N{nid}={n}" for nid, n in sorted(counts.items()) if n)
    return f"{counts.total()}{nodes}\n"


def slabs_by_node(cache: KmemCache) -> Counter[int]:
    """Its slabs by node."""
    counts: Counter[int] = Counter()
    for zone, n in cache.slabs.items():
        counts[zone.pgdat.nid] += n
    return counts


def total_objects_show(device: CacheDevice) -> str:
    """Objects that its slabs have room for."""
    slabs = slabs_by_node(device.cache)
    return by_node(Counter({nid: n * device.cache.objects_per_slab for nid, n in slabs.items()}))


def partial_show(device: CacheDevice) -> str:
    """Slabs that are on the nodes' partial lists."""
    return by_node(Counter({nid: len(partial) for nid, partial in device.cache.partial.items()}))


def cpu_slabs_show(device: CacheDevice) -> str:
    """Slabs that CPUs allocate from."""
    return by_node(Counter(current.nid for current in device.cache.cpu_slab.values()))


def shrink_store(device: CacheDevice, data: bytes, caller: Caller) -> None:
    """`1` frees its empty slabs. mm/slub.c:shrink_store() (v6.1)."""
    if data[:1] != b"1":
        raise EINVAL("only 1 shrinks a cache")
    slab.kmem_cache_shrink(device.kernel, device.cache)


ROWS: tuple[Attr[CacheDevice], ...] = (
    Attr("cpu_slabs", 0o400, cpu_slabs_show, size=4096),
    Attr("min_partial", 0o444, lambda device: f"{device.cache.min_partial}\n", size=4096),
    Attr("object_size", 0o400, lambda device: f"{device.cache.object_size}\n", size=4096),
    Attr("objects", 0o400, lambda device: by_node(device.cache.inuse), size=4096),
    Attr("objs_per_slab", 0o400, lambda device: f"{device.cache.objects_per_slab}\n", size=4096),
    Attr("order", 0o400, lambda device: f"{device.cache.order}\n", size=4096),
    Attr("partial", 0o400, partial_show, size=4096),
    Attr("reclaim_account", 0o400, lambda device: f"{int(device.cache.reclaimable)}\n", size=4096),
    Attr("shrink", 0o600, lambda device: "", shrink_store, size=4096),
    Attr("slab_size", 0o400, lambda device: f"{device.cache.object_size}\n", size=4096),
    Attr("slabs", 0o400, lambda device: by_node(slabs_by_node(device.cache)), size=4096),
    Attr("total_objects", 0o400, total_objects_show, size=4096),
)


def slab_dir(kernel: Kernel) -> Dir:
    """The directory /sys/kernel/slab."""
    made: dict[str, Dir] = {}

    def find(name: str) -> Node | None:
        cache = kernel.slab.caches.get(name)
        if cache is not None and name not in made:
            made[name] = Dir(SYSFS, 0o755)
            made[name].add_files(ROWS, CacheDevice(kernel, cache))
        return made.get(name)

    return Dir(SYSFS, 0o755, find=find, more=lambda: kernel.slab.caches)
