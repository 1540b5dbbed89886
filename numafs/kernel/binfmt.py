# SPDX-License-Identifier: MIT
"""What a small statically linked program has in memory once it runs.

fs/binfmt_elf.c:load_elf_binary() (v6.1), for one program: segments, relocated data, bss,
heap, stack, vvar and vdso.

Simplified: every program has the same layout, at the same addresses, and its file lies in memory (an initramfs).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .filemap import Inode
from .memory import touch
from .mm import Vma
from .mmap import mmap
from .page import Kind

if TYPE_CHECKING:
    from .kernel import Kernel
    from .mm import Task

__all__ = ["exec_program"]

SEGMENTS = (
    # vpn, pages, offset in the file, write, exec, pages that starting it reads, and writes
    (0x400, 1, 0, False, False, 1, 0),
    (0x401, 0x90, 1, False, True, 48, 0),
    (0x491, 0x28, 0x91, False, False, 16, 0),
    (0x4B9, 4, 0xB8, False, False, 0, 0),
    (0x4BD, 3, 0xBC, True, False, 0, 3),
)
BSS = (0x4C0, 6, 2)
HEAP = (0x24C9, 0x22, 2)
STACK = (0x7FFC_3D5A_E, 0x21, 3)
VVAR = (0x7FFC_3D5D_4, 4)
VDSO = (0x7FFC_3D5D_8, 2)
FILE_PAGES = 0xC0


def exec_program(kernel: Kernel, task: Task) -> None:
    """Map the program into the task's empty address space, and touch what its start touches."""
    assert task.mm is not None
    inode = program_file(kernel, task)
    for start, pages, pgoff, write, exec_, reads, writes in SEGMENTS:
        mmap(kernel, task, start, pages, file=inode, pgoff=pgoff, write=write, exec_=exec_)
        touch(kernel, task, start, start + reads, write=False)
        touch(kernel, task, start, start + writes, write=True)
    for name, (start, pages, writes) in (("", BSS), ("heap", HEAP), ("stack", STACK)):
        vma = mmap(kernel, task, start, pages)
        vma.name = name
        top = start + pages if name == "stack" else start + writes
        touch(kernel, task, top - writes, top, write=True)
    task.mm.start_brk = HEAP[0]
    for start, pages in (VVAR, VDSO):
        special = Vma(task.mm, start, start + pages)
        special.special = True
        special.write = False
        special.exec_ = start == VDSO[0]
        task.mm.vmas.append(special)


def program_file(kernel: Kernel, task: Task) -> Inode:
    """The file of the program, which all tasks map."""
    if kernel.tasks.program is None:
        size = FILE_PAGES * kernel.machine.page_size
        kernel.tasks.program = Inode("/bin/memtool", size, kind=Kind.SHMEM, mode=0o100755)
    return kernel.tasks.program
