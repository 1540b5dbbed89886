# SPDX-License-Identifier: MIT
"""/proc/sys/vm and /proc/sys/kernel: one row a knob, with the numbers that it takes.

kernel/sysctl.c:vm_table[], kern_table[], mm/hugetlb.c and mm/compaction.c (v6.1; what is newer v6.18). What a value
does is the model's (`kernel.vm.set`).

Simplified: of /proc/sys/kernel, only what this tree is about.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from numafs.kernel import compaction, hugetlb
from numafs.kernel.drop_caches import drop_caches
from numafs.kernel.errors import EINVAL

from .attr import Attr, Caller
from .sysctl_text import INT_MAX, get_int, get_ints, get_ulong
from .tree import SYSCTL, Dir

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel

__all__ = ["KERNEL", "VM", "sys_dir"]

HZ = 250


def integer(name: str, low: int | None = None, high: int | None = None, mode: int = 0o644) -> Attr[Kernel]:
    """A knob that holds one int (proc_dointvec, or with a range proc_dointvec_minmax)."""
    attribute = name.replace("-", "_")

    def show(kernel: Kernel) -> str:
        return f"{getattr(kernel.vm, attribute)}\n"

    def store(kernel: Kernel, data: bytes, caller: Caller) -> None:
        kernel.vm.set(kernel, name, get_int(data, low, high))

    return Attr(name, mode, show, store)


def unsigned_long(name: str, low: int = 0) -> Attr[Kernel]:
    """A knob that holds one unsigned long; a negative number is accepted and passed over (proc_doulongvec_minmax)."""

    def show(kernel: Kernel) -> str:
        return f"{getattr(kernel.vm, name)}\n"

    def store(kernel: Kernel, data: bytes, caller: Caller) -> None:
        value = get_ulong(data, low)
        kernel.vm.set(kernel, name, getattr(kernel.vm, name) if value is None else value)

    return Attr(name, 0o644, show, store)


def command(name: str, action: Callable[[Kernel, bytes, Caller], None], mode: int = 0o200) -> Attr[Kernel]:
    """A file that does something when it is written, and reads empty if its mode allows."""
    return Attr(name, mode, (lambda kernel: "") if mode & 0o400 else None, action)


def lowmem_reserve_ratio_show(kernel: Kernel) -> str:
    """One ratio for each zone type."""
    return "\t".join(map(str, kernel.vm.lowmem_reserve_ratio)) + "\n"


def lowmem_reserve_ratio_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """As many ratios as are numbers; the handler forgets what was wrong with the others.

    mm/page_alloc.c:lowmem_reserve_ratio_sysctl_handler() (v6.1).
    """
    ratios = list(kernel.vm.lowmem_reserve_ratio)
    try:
        values = get_ints(data, len(ratios))
    except OSError:
        values = []
    kernel.vm.set(kernel, "lowmem_reserve_ratio", values + ratios[len(values) :])


def percpu_pagelist_high_fraction_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """0, or 8 and more. mm/page_alloc.c:percpu_pagelist_high_fraction_sysctl_handler() (v6.1)."""
    value = get_int(data, 0)
    if 0 < value < 8:
        raise EINVAL(f"{value} is neither 0 nor at least 8")
    kernel.vm.set(kernel, "percpu_pagelist_high_fraction", value)


def numa_zonelist_order_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """Only the node order is left to choose. mm/page_alloc.c:__parse_numa_zonelist_order() (v6.1)."""
    if data[:1] not in (b"d", b"D", b"n", b"N"):
        raise EINVAL("zonelists are ordered by node")


def drop_caches_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """1 page cache, 2 slab, 3 both, 4 be quiet from now on. fs/drop_caches.c (v6.1)."""
    drop_caches(kernel, kernel.tasks.get(caller.pid), get_int(data, 1, 4))


def compact_memory_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """Any write compacts every node; with the feature compact_memory_checks only a 1.

    mm/compaction.c:sysctl_compaction_handler() (v6.1, v6.18).
    """
    if kernel.has("compact_memory_checks") and get_int(data) != 1:
        raise EINVAL("only 1 compacts")
    for pgdat in kernel.online_nodes:
        compaction.compact_node(kernel, pgdat)


def stat_refresh_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """Counters are exact already."""


def nr_hugepages_show(kernel: Kernel) -> str:
    """Persistent huge pages of the default size."""
    pools = [pgdat.hugepages.get(default_huge_pages(kernel)) for pgdat in kernel.nodes]
    return f"{sum(pool.total - pool.surplus for pool in pools if pool)}\n"


def default_huge_pages(kernel: Kernel) -> int:
    """Pages in a huge page of the default size: what a page middle directory spans."""
    return kernel.machine.page_size // 8


def nr_hugepages_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """Spread over all nodes with memory. mm/hugetlb.c:hugetlb_sysctl_handler() (v6.1)."""
    count = get_ulong(data)
    if count is not None:
        hugetlb.set_max_huge_pages(kernel, default_huge_pages(kernel), count, None, None)


def nr_hugepages_mempolicy_store(kernel: Kernel, data: bytes, caller: Caller) -> None:
    """Spread over the nodes of the writer's policy. mm/hugetlb.c:hugetlb_mempolicy_sysctl_handler() (v6.1)."""
    count = get_ulong(data)
    if count is not None:
        hugetlb.set_max_huge_pages(kernel, default_huge_pages(kernel), count, None, kernel.tasks.get(caller.pid))


VM: tuple[Attr[Kernel], ...] = (
    unsigned_long("admin_reserve_kbytes"),
    command("compact_memory", compact_memory_store),
    integer("compact_unevictable_allowed", 0, 1),
    integer("compaction_proactiveness", 0, 100),
    unsigned_long("dirty_background_bytes", 1),
    integer("dirty_background_ratio", 0, 100),
    unsigned_long("dirty_bytes", 8192),
    integer("dirty_expire_centisecs", 0),
    integer("dirty_ratio", 0, 100),
    integer("dirty_writeback_centisecs"),
    integer("dirtytime_expire_seconds", 0),
    command("drop_caches", drop_caches_store),
    integer("extfrag_threshold", 0, 1000),
    integer("hugetlb_optimize_vmemmap", 0, 1),
    integer("hugetlb_shm_group"),
    integer("laptop_mode", None, INT_MAX // HZ),
    integer("legacy_va_layout", 0),
    Attr("lowmem_reserve_ratio", 0o644, lowmem_reserve_ratio_show, lowmem_reserve_ratio_store),
    integer("max_map_count", 0),
    integer("memory_failure_early_kill", 0, 1),
    integer("memory_failure_recovery", 0, 1),
    integer("min_free_kbytes", 0),
    integer("min_slab_ratio", 0, 100),
    integer("min_unmapped_ratio", 0, 100),
    unsigned_long("mmap_min_addr"),
    integer("mmap_rnd_bits", 28, 32, 0o600),
    integer("mmap_rnd_compat_bits", 8, 16, 0o600),
    Attr("nr_hugepages", 0o644, nr_hugepages_show, nr_hugepages_store),
    Attr("nr_hugepages_mempolicy", 0o644, nr_hugepages_show, nr_hugepages_mempolicy_store),
    unsigned_long("nr_overcommit_hugepages"),
    integer("numa_stat", 0, 1),
    Attr("numa_zonelist_order", 0o644, lambda kernel: "Node\n", numa_zonelist_order_store),
    integer("oom_dump_tasks"),
    integer("oom_kill_allocating_task"),
    unsigned_long("overcommit_kbytes"),
    integer("overcommit_memory", 0, 2),
    integer("overcommit_ratio"),
    integer("page-cluster", 0, 31),
    integer("page_lock_unfairness", 0),
    integer("panic_on_oom", 0, 2),
    Attr(
        "percpu_pagelist_high_fraction", 0o644, lambda kernel: f"{kernel.vm.percpu_pagelist_high_fraction}\n",
        percpu_pagelist_high_fraction_store,
    ),
    integer("stat_interval", None, INT_MAX // HZ),
    command("stat_refresh", stat_refresh_store, 0o600),
    integer("swappiness", 0, 200),
    integer("unprivileged_userfaultfd", 0, 1),
    unsigned_long("user_reserve_kbytes"),
    integer("vfs_cache_pressure", 0),
    integer("watermark_boost_factor", 0),
    integer("watermark_scale_factor", 1, 3000),
    integer("zone_reclaim_mode", 0),
)

ZONE_RECLAIM_INTERVAL = integer("zone_reclaim_interval", 0)
"""Seconds between two attempts at a node; of Linux 2.6.16."""

NEWER = (
    integer("defrag_mode", 0, 1), integer("memfd_noexec", 0, 2), integer("vfs_cache_pressure_denom", 100),
)
"""Knobs of newer kernels, each with a feature of its name."""


def constant(name: str, text: str) -> Attr[Kernel]:
    """A file that always says the same."""
    return Attr(name, 0o444, lambda kernel: text)


KERNEL: tuple[Attr[Kernel], ...] = (
    constant("cap_last_cap", "40\n"),
    integer("numa_balancing", 0, 4),
    integer("numa_balancing_promote_rate_limit_MBps", 0),
    Attr("osrelease", 0o444, lambda kernel: kernel.machine.kernel_release + "\n"),
    constant("ostype", "Linux\n"),
    constant("pid_max", "4194304\n"),
)


def sys_dir(kernel: Kernel) -> Dir:
    """The directory /proc/sys."""
    top = Dir(SYSCTL, 0o555)
    vm = top.dir("vm")
    vm.add_files(VM, kernel)
    vm.add_files((row for row in NEWER if kernel.has(row.name)), kernel)
    if kernel.has("zone_reclaim_interval"):
        vm.add_files((ZONE_RECLAIM_INTERVAL,), kernel)
    top.dir("kernel").add_files(KERNEL, kernel)
    return top
