# SPDX-License-Identifier: MIT
"""Task verbs that call the kernel's own allocators on behalf of the task, by their kernel names.

Each makes a block, numbered in the order in which the task has them, that goes with `kfree` or
with the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numafs.kernel import kernel_alloc

from .verb_grammar import Verb, bad, doing

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.kernel_alloc import Block
    from numafs.kernel.mm import Task

__all__ = ["VERBS"]


def blocks_of(task: Task) -> list[Block]:
    """The blocks that a task has."""
    blocks: list[Block] = task.kernel_memory
    return blocks


def _text(task: Task, block: Block) -> str:
    count = sorted(kernel_alloc.pages_by_node(block).items())
    number = next(i for i, owned in enumerate(blocks_of(task)) if owned is block)
    return f"k{number} {' '.join(f'N{nid}={n}' for nid, n in count)}\n"


def kmalloc(kernel: Kernel, task: Task, size: int, count: int = 1) -> str:
    """Objects, where the task's policy puts them."""
    with doing("kmalloc"):
        return _text(task, kernel_alloc.kmalloc(kernel, task, size, count))


def kmalloc_node(kernel: Kernel, task: Task, size: int, node: int, count: int = 1) -> str:
    """Objects of a node."""
    with doing("kmalloc_node"):
        return _text(task, kernel_alloc.kmalloc(kernel, task, size, count, node))


def kmem_cache_alloc(kernel: Kernel, task: Task, cache: str, count: int = 1) -> str:
    """Objects of a slab cache."""
    with doing("kmem_cache_alloc"):
        return _text(task, kernel_alloc.slab_alloc(kernel, task, cache, count))


def kmem_cache_alloc_node(kernel: Kernel, task: Task, cache: str, node: int, count: int = 1) -> str:
    """Objects of a slab cache on a node."""
    with doing("kmem_cache_alloc_node"):
        return _text(task, kernel_alloc.slab_alloc(kernel, task, cache, count, node))


def alloc_pages(kernel: Kernel, task: Task, order: int, count: int = 1) -> str:
    """Blocks of pages."""
    with doing("alloc_pages"):
        return _text(task, kernel_alloc.alloc_pages(kernel, task, order, count))


def alloc_pages_node(kernel: Kernel, task: Task, node: int, order: int, count: int = 1) -> str:
    """Blocks of pages of a node."""
    with doing("alloc_pages_node"):
        return _text(task, kernel_alloc.alloc_pages(kernel, task, order, count, node))


def vmalloc(kernel: Kernel, task: Task, size: int) -> str:
    """An area of single pages."""
    with doing("vmalloc"):
        return _text(task, kernel_alloc.vmalloc(kernel, task, -(-size // kernel.machine.page_size)))


def vmalloc_node(kernel: Kernel, task: Task, size: int, node: int) -> str:
    """An area of single pages of a node."""
    with doing("vmalloc_node"):
        return _text(task, kernel_alloc.vmalloc(kernel, task, -(-size // kernel.machine.page_size), node))


def dma_alloc_coherent(kernel: Kernel, task: Task, device: str, size: int) -> str:
    """A buffer near a device."""
    with doing("dma_alloc_coherent"):
        return _text(task, kernel_alloc.dma_alloc_coherent(kernel, task, device, size))


def kfree(kernel: Kernel, task: Task, block: int) -> str:
    """Give a block back."""
    if not 0 <= block < len(blocks_of(task)):
        raise bad(f"no block {block}")
    with doing("kfree"):
        kernel_alloc.free(kernel, task, blocks_of(task)[block])
    return ""


def blocks(kernel: Kernel, task: Task) -> str:
    """Which blocks there are."""
    return "".join(f"{_text(task, block).rstrip()} {block.name}\n" for block in blocks_of(task))


VERBS = (
    Verb("kmalloc", "SIZE [COUNT]", "COUNT pieces of kernel memory; says their number and nodes", kmalloc),
    Verb("kmalloc_node", "SIZE NODE [COUNT]", "the same, on a node", kmalloc_node),
    Verb("kmem_cache_alloc", "CACHE [COUNT]", "objects of a slab cache: dentry, kmalloc-512, ...", kmem_cache_alloc),
    Verb("kmem_cache_alloc_node", "CACHE NODE [COUNT]", "the same, on a node", kmem_cache_alloc_node),
    Verb("alloc_pages", "ORDER [COUNT]", "COUNT blocks of 2**ORDER pages for the kernel", alloc_pages),
    Verb("alloc_pages_node", "NODE ORDER [COUNT]", "the same, on a node", alloc_pages_node),
    Verb("vmalloc", "SIZE", "a vmalloc area", vmalloc),
    Verb("vmalloc_node", "SIZE NODE", "the same, on a node", vmalloc_node),
    Verb("dma_alloc_coherent", "DEVICE SIZE", "a DMA buffer near a device: 0000:00:1f.0", dma_alloc_coherent),
    Verb("kfree", "BLOCK", "give block number BLOCK back; those behind it move up", kfree),
    Verb("blocks", "", "say which blocks of kernel memory the task has", blocks),
)
