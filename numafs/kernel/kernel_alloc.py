# SPDX-License-Identifier: MIT
"""The kernel's own allocations, on behalf of a task: objects, pages, virtual areas, DMA buffers.

mm/slub.c:__kmalloc_node(), mm/page_alloc.c:__alloc_pages_node(), mm/vmalloc.c and kernel/dma/direct.c (v6.1).
Each is a block that the task owns and gives back by hand or when it exits.

Simplified: in Linux the kernel's memory is nobody's; here it goes with the task that asked for it.
Simplified: the page tables of vmalloc areas are not modelled, nor is the virtual address space they take.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import mempolicy, page_alloc
from .errors import EINVAL, ENODEV
from .gfp import GFP_KERNEL, Gfp
from .mmzone import PageUse, Zone
from .page_alloc import Placement
from .slab import KMALLOC_MAX_CACHE_SIZE, Slab, kmalloc_slab, kmem_cache_alloc_bulk, kmem_cache_free, local_memory_node

if TYPE_CHECKING:
    from numafs.machine.spec import Device

    from .kernel import Kernel
    from .mm import Task

__all__ = [
    "Block", "alloc_pages", "dma_alloc_coherent", "exit_task", "free", "kmalloc", "pages_by_node", "slab_alloc",
    "vmalloc",
]

MAX_ORDER = 10


@dataclass
class Block:
    """What one call allocated."""

    name: str
    """The call, for people: `kmalloc 512`."""
    use: PageUse
    order: int = 0
    blocks: list[tuple[Zone, int]] | None = None
    """For pages: how many blocks of 2**order of which zone."""
    objects: list[tuple[Slab, int]] | None = None
    """For objects: how many in which slab."""


def slab_alloc(kernel: Kernel, task: Task, cache: str, n: int, nid: int | None = None) -> Block:
    """`n` objects of a slab cache, on node `nid` or where the task is. mm/slub.c:kmem_cache_alloc_node() (v6.1)."""
    check_count(n)
    check_node(kernel, nid)
    objects = kmem_cache_alloc_bulk(kernel, task, kernel.slab.find(cache), n, nid)
    return own(task, Block(f"{cache} x {n}", PageUse.SLAB, objects=objects))


def kmalloc(kernel: Kernel, task: Task, size_bytes: int, n: int = 1, nid: int | None = None) -> Block:
    """`n` pieces of memory of `size_bytes`; large ones are whole pages. mm/slab_common.c:__kmalloc_node() (v6.1)."""
    check_count(n)
    check_node(kernel, nid)
    if size_bytes <= 0:
        raise EINVAL(f"kmalloc of {size_bytes} bytes")
    if size_bytes <= KMALLOC_MAX_CACHE_SIZE:
        objects = kmem_cache_alloc_bulk(kernel, task, kmalloc_slab(kernel, size_bytes), n, nid)
        return own(task, Block(f"kmalloc {size_bytes} x {n}", PageUse.SLAB, objects=objects))
    order = (-(-size_bytes // kernel.machine.page_size) - 1).bit_length()
    return alloc_pages(kernel, task, order, n, nid)


def alloc_pages(
    kernel: Kernel, task: Task, order: int, n: int = 1, nid: int | None = None, gfp: Gfp = GFP_KERNEL,
) -> Block:
    """`n` blocks of 2**order pages: by the task's policy, or with `nid` from there or near it.

    mm/mempolicy.c:alloc_pages(), include/linux/gfp.h:alloc_pages_node() (v6.1).
    """
    check_count(n)
    check_node(kernel, nid)
    if not 0 <= order <= MAX_ORDER:
        raise EINVAL(f"order {order} is not within 0..{MAX_ORDER}")
    blocks = take(kernel, task, gfp, n, order, PageUse.KERNEL, lambda: where_of(kernel, task, gfp, nid))
    return own(task, Block(f"alloc_pages order {order} x {n}", PageUse.KERNEL, order, blocks))


def vmalloc(kernel: Kernel, task: Task, pages: int, nid: int | None = None) -> Block:
    """`pages` single pages that look like one area. mm/vmalloc.c:__vmalloc_node_range() (v6.1)."""
    check_count(pages)
    check_node(kernel, nid)
    gfp = GFP_KERNEL | Gfp.HIGHMEM
    blocks = take(kernel, task, gfp, pages, 0, PageUse.VMALLOC, lambda: where_of(kernel, task, gfp, nid))
    return own(task, Block(f"vmalloc {pages} pages", PageUse.VMALLOC, blocks=blocks))


def dma_alloc_coherent(kernel: Kernel, task: Task, address: str, size_bytes: int) -> Block:
    """A buffer for a device, near it; the task's policy does not matter. kernel/dma/direct.c (v6.1)."""
    check_count(size_bytes)
    device = find_device(kernel, address)
    nid = device.numa_node if device.numa_node >= 0 else kernel.node_of_cpu(task.cpu).nid
    check_node(kernel, nid)
    order = (-(-size_bytes // kernel.machine.page_size) - 1).bit_length()
    if order > MAX_ORDER:
        raise EINVAL(f"{size_bytes} bytes are more than a block of order {MAX_ORDER}")
    blocks = take(kernel, task, GFP_KERNEL, 1, order, PageUse.DMA, lambda: Placement(nid))
    return own(task, Block(f"dma_alloc_coherent {address} {size_bytes}", PageUse.DMA, order, blocks))


def free(kernel: Kernel, task: Task, block: Block) -> None:
    """kfree(), vfree(), __free_pages(): give a block of `task` back."""
    if not any(block is owned for owned in task.kernel_memory):
        raise EINVAL(f"{block.name} is not {task.comm}'s ({task.pid})")
    task.kernel_memory = [owned for owned in task.kernel_memory if owned is not block]
    release(kernel, block)


def exit_task(kernel: Kernel, task: Task) -> None:
    """The task ends: all of its blocks go."""
    blocks, task.kernel_memory = task.kernel_memory, []
    for block in blocks:
        release(kernel, block)


def pages_by_node(block: Block) -> dict[int, int]:
    """How many pages of a block each node holds; for objects, how many objects."""
    count: dict[int, int] = {}
    for zone, n in block.blocks or ():
        count[zone.pgdat.nid] = count.get(zone.pgdat.nid, 0) + (n << block.order)
    for slab, n in block.objects or ():
        count[slab.nid] = count.get(slab.nid, 0) + n
    return count


def take(
    kernel: Kernel, task: Task, gfp: Gfp, n: int, order: int, use: PageUse, where: Callable[[], Placement],
) -> list[tuple[Zone, int]]:
    """`n` blocks, charged to `use`; all or none. `where` is asked anew for each request."""
    taken: list[tuple[Zone, int]] = []
    try:
        while n:
            placement = where()
            zone, got = page_alloc.alloc_pages(kernel, task, gfp, placement, 1 if placement.interleave else n, order)
            zone.used[use] += got << order
            n -= got
            if taken and taken[-1][0] is zone:
                taken[-1] = (zone, taken[-1][1] + got)
            else:
                taken.append((zone, got))
    except BaseException:
        give_back(kernel, taken, order, use)
        raise
    return taken


def give_back(kernel: Kernel, blocks: list[tuple[Zone, int]], order: int, use: PageUse) -> None:
    """Free blocks of pages."""
    for zone, n in blocks:
        zone.used[use] -= n << order
        page_alloc.free_pages(kernel, zone, n, order)


def release(kernel: Kernel, block: Block) -> None:
    """Free what a block holds."""
    give_back(kernel, block.blocks or [], block.order, block.use)
    for slab, n in block.objects or ():
        kmem_cache_free(kernel, slab, n)


def own(task: Task, block: Block) -> Block:
    """The block is the task's."""
    task.kernel_memory.append(block)
    return block


def where_of(kernel: Kernel, task: Task, gfp: Gfp, nid: int | None) -> Placement:
    """The wanted node without a policy, or what the task's policy says."""
    if nid is None:
        return mempolicy.placement(kernel, task, gfp)
    return Placement(local_memory_node(kernel.nodes[nid]))


def check_count(n: int) -> None:
    """EINVAL for nothing."""
    if n <= 0:
        raise EINVAL(f"{n} is no number to allocate")


def check_node(kernel: Kernel, nid: int | None) -> None:
    """EINVAL for a node that is not there."""
    if nid is not None and not (0 <= nid < len(kernel.nodes) and kernel.node_online >> nid & 1):
        raise EINVAL(f"node {nid} is not on line")


def find_device(kernel: Kernel, address: str) -> Device:
    """The PCI device of an address."""
    for device in kernel.machine.devices:
        if device.address == address:
            return device
    raise ENODEV(f"no device {address!r}")
