# SPDX-License-Identifier: MIT
"""Small kernels for tests of the memory model: nodes by their sizes, and page cache to fill them with."""

from __future__ import annotations

from types import SimpleNamespace

from numafs.kernel import page_alloc
from numafs.kernel.gfp import GFP_HIGHUSER_MOVABLE, Gfp
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Mm, Task, Vma
from numafs.kernel.mm_inline import enter
from numafs.kernel.mmzone import Lru, Pgdat
from numafs.kernel.page import PG, Kind, Run, Space
from numafs.kernel.page_alloc import Placement
from numafs.kernel.sysctl import Sysctl
from numafs.kernel.vmstat import ZoneStat, mod_zone_page_state
from numafs.machine.spec import Cpu, Machine, Node, Zone

PAGES_PER_MIB = 256
RING = ((10, 14, 20, 14), (14, 10, 14, 20), (20, 14, 10, 14), (14, 20, 14, 10))


def machine(*sizes_mib: int, distance: tuple[tuple[int, ...], ...] | None = None, **settings: object) -> Machine:
    """Nodes of the given sizes with two CPUs each; their only zone is Normal."""
    nodes = []
    pfn = 0x100000
    for nid, size in enumerate(sizes_mib):
        pages = size * PAGES_PER_MIB
        zones = (Zone("Normal", pfn, pages, pages, pages),) if pages else ()
        nodes.append(Node(nid, zones))
        pfn += pages
    n = len(nodes)
    if distance is None:
        distance = RING if n == 4 else tuple(tuple(10 if a == b else 20 for b in range(n)) for a in range(n))
    cpus = tuple(Cpu(cpu, cpu // 2) for cpu in range(2 * n))
    return Machine("test", tuple(nodes), cpus, distance, **settings)  # type: ignore[arg-type]


def kernel_of(machine: Machine) -> Kernel:
    """A kernel without files, cpusets or programs: nothing but memory, all of it free."""
    kernel = Kernel(machine)
    kernel.vm = Sysctl(machine.zone_types)
    kernel.nodes = [Pgdat(node.nid, machine.zone_types) for node in machine.nodes]
    kernel.cpu_to_node = [cpu.node for cpu in machine.cpus]
    kernel.cpu_online = kernel.cpu_present = (1 << len(machine.cpus)) - 1
    kernel.node_online = kernel.node_possible = (1 << len(machine.nodes)) - 1
    for pgdat, node, row in zip(kernel.nodes, machine.nodes, machine.distance, strict=True):
        pgdat.online = True
        pgdat.distance = list(row)
        for described in node.zones:
            zone = pgdat.zones[machine.zone_types.index(described.type)]
            zone.start_pfn, zone.spanned = described.start_pfn, described.spanned
            zone.present, zone.managed = described.present, described.managed
            mod_zone_page_state(zone, ZoneStat.NR_FREE_PAGES, zone.managed)
    for cpu in machine.cpus:
        kernel.nodes[cpu.node].cpus_present |= 1 << cpu.cpu
    page_alloc.build_all_zonelists(kernel, boot=True)
    page_alloc.init_per_zone_wmark_min(kernel)
    kernel.slab = SimpleNamespace(shrinkers=[], reclaimed_pages=0)  # type: ignore[assignment]
    kernel.cpusets = SimpleNamespace(memory_pressure_enabled=False)  # type: ignore[assignment]
    kernel.tasks = ()  # type: ignore[assignment]
    return kernel


def small_kernel(*sizes_mib: int, **settings: object) -> Kernel:
    """`kernel_of(machine(...))`, by default with four nodes of 64 MiB."""
    return kernel_of(machine(*(sizes_mib or (64, 64, 64, 64)), **settings))  # type: ignore[arg-type]


def task_on(kernel: Kernel, nid: int, pid: int = 100) -> Task:
    """A task on the first CPU of a node, allowed everywhere."""
    everywhere = kernel.node_states_memory
    return Task(pid, pid, f"task{pid}", Mm(), kernel.cpu_online, kernel.cpu_to_node.index(nid), everywhere,
                SimpleNamespace(mems_allowed=everywhere))  # type: ignore[arg-type]


def read_file(kernel: Kernel, task: Task, space: Space, start: int, stop: int, nid: int | None = None) -> None:
    """Page cache for the pages [start, stop) of a file, on the task's node or where `nid` prefers."""
    where = Placement(kernel.cpu_to_node[task.cpu] if nid is None else nid)
    lane = space.lane(1, 0)
    while start < stop:
        zone, n = page_alloc.alloc_pages(kernel, task, GFP_HIGHUSER_MOVABLE, where, stop - start)
        enter(Run(lane, start, start + n, zone), Lru.INACTIVE_FILE)
        start += n


def allocate_anon(
    kernel: Kernel, task: Task, pages: int, where: Placement, gfp: Gfp = GFP_HIGHUSER_MOVABLE
) -> Vma:
    """A new mapping of `task` with `pages` anonymous pages, touched."""
    assert task.mm is not None
    start = task.mm.vmas[-1].stop + 1 if task.mm.vmas else 0x100000000
    vma = Vma(task.mm, start, start + pages)
    task.mm.vmas.append(vma)
    vma.anon = Space(Kind.ANON)
    lane = vma.anon.lane(1, 0)
    while start < vma.stop:
        zone, n = page_alloc.alloc_pages(kernel, task, gfp, where, vma.stop - start)
        run = Run(lane, start, start + n, zone, PG.DIRTY)
        run.mapcount = 1
        enter(run, Lru.INACTIVE_ANON)
        vma.map(start, start + n, vma.anon)
        start += n
    return vma


def anon_on(vma: Vma, nid: int) -> int:
    """Resident pages of a mapping on a node."""
    return sum(n for run, n in vma.runs() if run.zone.pgdat.nid == nid)


def assert_conserved(kernel: Kernel) -> None:
    """Every page of every zone is free, used, or on a list."""
    for zone in kernel.zones():
        listed = sum(run.n for lru in zone.pgdat.lru for run in lru if run.zone is zone)
        assert zone.managed == zone.free + zone.used.total() + listed, zone
