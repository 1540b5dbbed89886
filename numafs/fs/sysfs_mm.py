# SPDX-License-Identifier: MIT
"""/sys/kernel/mm: huge pages, transparent huge pages, tiering and reclaim switches; memory tiers.

mm/{hugetlb,huge_memory,shmem,migrate,vmscan,memory-tiers}.c (v6.1).

Simplified: of transparent_hugepage/, `use_zero_page` only remembers what was written; there is no multi-generational
LRU, so lru_gen/enabled stays 0; shmem never takes huge pages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from numafs.kernel import hugetlb, khugepaged
from numafs.kernel.errors import EINVAL
from numafs.kernel.nodemask import list_text

from .attr import Attr, Caller
from .numbers import kstrtobool, kstrtoul, sysfs_word
from .sysfs_device import UEVENT, add_power
from .sysfs_khugepaged import KHUGEPAGED
from .sysfs_mempolicy import add_weighted_interleave
from .tree import SYSFS, Dir, Following, Link

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mmzone import HugePool

__all__ = ["memory_tiers_dir", "mm_dir"]


class Hstate:
    """The huge pages of one size on all nodes (struct hstate)."""

    def __init__(self, kernel: Kernel, pages: int) -> None:
        self.kernel = kernel
        self.pages = pages
        self.default = pages == kernel.machine.page_size // 8

    @property
    def pools(self) -> list[HugePool]:
        """Its pools, by node."""
        return [pgdat.hugepages[self.pages] for pgdat in self.kernel.nodes if self.pages in pgdat.hugepages]


def nr_hugepages_store(hstate: Hstate, data: bytes, caller: Caller) -> None:
    """Over all nodes with memory. mm/hugetlb.c:nr_hugepages_store() (v6.1)."""
    hugetlb.set_max_huge_pages(hstate.kernel, hstate.pages, kstrtoul(data), None, None)


def nr_hugepages_mempolicy_store(hstate: Hstate, data: bytes, caller: Caller) -> None:
    """Over the nodes of the writer's policy. mm/hugetlb.c:nr_hugepages_mempolicy_store() (v6.1)."""
    task = hstate.kernel.tasks.get(caller.pid)
    hugetlb.set_max_huge_pages(hstate.kernel, hstate.pages, kstrtoul(data), None, task)


def nr_hugepages_show(hstate: Hstate) -> str:
    """Pages in the pools."""
    return f"{sum(pool.total for pool in hstate.pools)}\n"


def nr_overcommit_hugepages_show(hstate: Hstate) -> str:
    """Pages by which the pools may grow on demand; only those of the default size do."""
    return f"{hstate.kernel.vm.nr_overcommit_hugepages if hstate.default else 0}\n"


def nr_overcommit_hugepages_store(hstate: Hstate, data: bytes, caller: Caller) -> None:
    """mm/hugetlb.c:nr_overcommit_hugepages_store() (v6.1): gigantic pages are never made on demand."""
    if not hstate.default:
        raise EINVAL("gigantic pages are not made on demand")
    hstate.kernel.vm.set(hstate.kernel, "nr_overcommit_hugepages", kstrtoul(data))


HSTATE: tuple[Attr[Hstate], ...] = (
    Attr("free_hugepages", 0o444, lambda hstate: f"{sum(pool.free for pool in hstate.pools)}\n", size=4096),
    Attr("nr_hugepages", 0o644, nr_hugepages_show, nr_hugepages_store, size=4096),
    Attr("nr_hugepages_mempolicy", 0o644, nr_hugepages_show, nr_hugepages_mempolicy_store, size=4096),
    Attr("nr_overcommit_hugepages", 0o644, nr_overcommit_hugepages_show, nr_overcommit_hugepages_store, size=4096),
    Attr("resv_hugepages", 0o444, lambda hstate: "0\n", size=4096),
    Attr("surplus_hugepages", 0o444, lambda hstate: f"{sum(pool.surplus for pool in hstate.pools)}\n", size=4096),
)


class Choice:
    """A file that offers words and marks the chosen one: `always [madvise] never`."""

    def __init__(self, words: tuple[str, ...], chosen: str) -> None:
        self.words = words
        self.chosen = chosen

    def text(self) -> str:
        """The words, the chosen one in brackets."""
        return " ".join(f"[{word}]" if word == self.chosen else word for word in self.words) + "\n"

    def choose(self, data: bytes) -> str:
        """Choose what was written."""
        word = sysfs_word(data)
        if word not in self.words:
            raise EINVAL(f"{word!r} is none of {', '.join(self.words)}")
        self.chosen = word
        return word


def choice_show(choice: Choice) -> str:
    """The words, the chosen one in brackets."""
    return choice.text()


def choice_store(choice: Choice, data: bytes, caller: Caller) -> None:
    """Choose a word."""
    choice.choose(data)


def enabled_show(kernel: Kernel) -> str:
    """mm/huge_memory.c:enabled_show() (v6.1)."""
    return Choice(("always", "madvise", "never"), kernel.thp_enabled).text()


def enabled_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """mm/huge_memory.c:enabled_store() (v6.1): khugepaged is started or stopped."""
    kernel.thp_enabled = Choice(("always", "madvise", "never"), "").choose(data)
    khugepaged.start_stop_khugepaged(kernel)


def defrag_show(kernel: Kernel) -> str:
    """mm/huge_memory.c:defrag_show() (v6.1)."""
    return Choice(DEFRAG, kernel.thp_defrag).text()


def defrag_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """How hard a fault tries to get a huge page. mm/huge_memory.c:defrag_store() (v6.1)."""
    kernel.thp_defrag = Choice(DEFRAG, "").choose(data)


class Number:
    """A number that is remembered."""

    def __init__(self, value: int, highest: int) -> None:
        self.value = value
        self.highest = highest


def number_store(number: Number, data: bytes, caller: Caller) -> None:
    """Remember it."""
    value = kstrtoul(data)
    if value > number.highest:
        raise EINVAL(f"{value} is more than {number.highest}")
    number.value = value


def demotion_show(kernel: Kernel) -> str:
    """mm/memory-tiers.c:numa_demotion_enabled_show() (v6.1)."""
    return "true\n" if kernel.tiers.demotion_enabled else "false\n"


def demotion_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """mm/memory-tiers.c:numa_demotion_enabled_store() (v6.1)."""
    kernel.tiers.demotion_enabled = kstrtobool(data)


def lru_gen_store(number: Number, data: bytes, caller: Caller) -> None:
    """Words and numbers are checked; there is nothing to enable. mm/vmscan.c:enabled_store() (v6.1)."""
    if data[:1] not in (b"y", b"Y", b"n", b"N"):
        kstrtoul(data, 0)


def number_row(name: str) -> Attr[Number]:
    """A file that remembers a number."""
    return Attr(name, 0o644, lambda number: f"{number.value}\n", number_store, size=4096)


DEMOTION: Attr[Kernel] = Attr("demotion_enabled", 0o644, demotion_show, demotion_store, size=4096)
DEFRAG = ("always", "defer", "defer+madvise", "madvise", "never")
SHMEM = ("always", "within_size", "advise", "never", "deny", "force")
THP_DEFRAG: Attr[Kernel] = Attr("defrag", 0o644, defrag_show, defrag_store, size=4096)
ENABLED: Attr[Kernel] = Attr("enabled", 0o644, enabled_show, enabled_store, size=4096)


def _add_transparent_hugepage(home: Dir, kernel: Kernel) -> None:
    home.add_files((ENABLED,), kernel)
    home.add_files((THP_DEFRAG,), kernel)
    home.dir("khugepaged").add_files(KHUGEPAGED, kernel)
    home.add_files((Attr("shmem_enabled", 0o644, choice_show, choice_store, size=4096),), Choice(SHMEM, "never"))
    home.add_files((number_row("use_zero_page"),), Number(1, 1))
    bytes_ = kernel.machine.page_size * (kernel.machine.page_size // 8)
    home.add_files((Attr("hpage_pmd_size", 0o444, lambda kernel: f"{bytes_}\n", size=4096),), kernel)


def mm_dir(kernel: Kernel) -> Dir:
    """The directory /sys/kernel/mm."""
    top = Dir(SYSFS, 0o755)
    kb = kernel.machine.page_size // 1024
    hugepages = top.dir("hugepages")
    for pages in sorted({pages for pgdat in kernel.nodes for pages in pgdat.hugepages}):
        hugepages.dir(f"hugepages-{pages * kb}kB").add_files(HSTATE, Hstate(kernel, pages))
    _add_transparent_hugepage(top.dir("transparent_hugepage"), kernel)
    top.dir("numa").add_files((DEMOTION,), kernel)
    if kernel.has("weighted_interleave"):
        add_weighted_interleave(top, kernel)
    lru_gen: Attr[Number] = Attr("enabled", 0o644, lambda number: "0x0000\n", lru_gen_store, size=4096)
    top.dir("lru_gen").add_files((lru_gen,), Number(0, 7))
    top.dir("lru_gen").add_files((number_row("min_ttl_ms"),), Number(0, 2**32 - 1))
    return top


class Tier:
    """A memory tier, by its number: which nodes it has may change."""

    def __init__(self, kernel: Kernel, number: int) -> None:
        self.kernel = kernel
        self.number = number


def nodelist_show(tier: Tier) -> str:
    """mm/memory-tiers.c:nodelist_show() (v6.1)."""
    return list_text(sum(found.nodes for found in tier.kernel.tiers.tiers if found.number == tier.number)) + "\n"


NODELIST: Attr[Tier] = Attr("nodelist", 0o444, nodelist_show, size=4096)


def memory_tiers_dir(kernel: Kernel) -> Dir:
    """/sys/devices/virtual/memory_tiering: a device for each memory tier."""

    def numbers() -> list[int]:
        return [tier.number for tier in kernel.tiers.tiers]

    def make(number: int) -> Dir:
        home = Dir(SYSFS, 0o755)
        home.add_files((NODELIST, UEVENT), Tier(kernel, number))
        home.add("subsystem", Link("../../../../bus/memory_tiering"))
        add_power(home)
        return home

    tiers = Following("memory_tier", numbers, lambda number: number in numbers(), make)
    return Dir(SYSFS, 0o755, find=tiers.find, more=tiers.names)
