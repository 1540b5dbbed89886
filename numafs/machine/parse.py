# SPDX-License-Identifier: MIT
"""From the tables of a machine file to a `Machine`: defaults, derivation, and everything that can be refused.

docs/machine.md describes the keys; this module is the only one that knows them, and
`numafs.machine.write` the only one that writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import layout, parse_cpus, parse_devices
from .layout import ARCHES, Arch
from .spec import (
    DRAM_DISTANCE,
    FEATURES,
    SLOW_DISTANCE,
    BootUse,
    Latency,
    Machine,
    Node,
    Performance,
    Zone,
)
from .table import Table
from .units import list_text, size_text

__all__ = ["machine_of"]

LOCAL_DISTANCE, REMOTE_DISTANCE, MAX_DISTANCE = 10, 20, 255
MAX_NUMNODES, NR_CPUS = 1024, 8192
NODE_MIN_SIZE = 4 << 20
"""Linux ignores a node with less memory (arch/x86/include/asm/numa.h)."""
MACHINE_MIN_SIZE, MACHINE_MAX_SIZE = 32 << 20, 1 << 50
MAX_PCI_HOLE = 3 << 30
MIN_BLOCK_SIZE = 64 << 20
BOOT_PAGES = (
    "anon", "file", "unevictable", "slab_reclaimable", "slab_unreclaimable", "page_tables", "kernel_stack", "kernel"
)


@dataclass
class Draft:
    """One node as the file gives it, before memory is laid out."""

    table: Table
    nid: int
    memory: int
    movable: int
    """In bytes; -1 stands for all of it."""


def machine_of(table: Table, default_name: str, default_about: str = "") -> Machine:
    """The machine that a file's top table describes."""
    name = table.text("name", default_name)
    arch_name = table.choice("arch", ARCHES, "x86_64")
    arch = ARCHES[arch_name]
    page_size = page_size_of(table, arch)
    profile = table.choice("kernel", FEATURES, "6.1")
    drafts = drafts_of(table)
    nodes, block_bytes = lay_out(table, drafts, arch, page_size)
    nids = [node.nid for node in nodes]
    machine = Machine(
        name=name,
        about=table.text("about", default_about),
        arch=arch_name,
        page_size=page_size,
        nodes=nodes,
        cpus=parse_cpus.cpus_of(table, [(draft.nid, draft.table) for draft in drafts]),
        distance=distances(table, nids),
        zone_types=texts(table, "zone_types") or arch.zone_types,
        highmem=table.text("highmem") or arch.highmem,
        block_size_bytes=block_bytes,
        possible_cpus=table.integer("possible_cpus", high=NR_CPUS),
        possible_nodes=table.integer("possible_nodes", high=MAX_NUMNODES),
        max_numnodes=table.integer("max_numnodes", MAX_NUMNODES, low=1, high=MAX_NUMNODES),
        nr_cpus=table.integer("nr_cpus", NR_CPUS, low=1, high=1 << 16),
        swaps=parse_devices.swaps(table, page_size),
        disks=parse_devices.disks(table),
        devices=parse_devices.devices(table, nids),
        latency=latency(table.table("latency")),
        sysctl=sysctl(table.table("sysctl")),
        zone_reclaim_mode=zone_reclaim_mode(table),
        zone_reclaim_interval=table.flag("zone_reclaim_interval"),
        slab_allocator=table.choice("slab_allocator", ("slub", "slab"), "slub"),
        thp=table.choice("thp", ("always", "madvise", "never"), "always"),
        cgroup=table.choice("cgroup", ("v1", "v2", "none"), "v1"),
        cpuset_v2_mode=table.flag("cpuset_v2_mode"),
        kernel=profile,
        kernel_release=table.text("kernel_release", f"{profile}.0-numafs"),
        seed=table.integer("seed", 1),
    )
    for each in [*(draft.table for draft in drafts), table]:
        each.done()
    check_possible(table, machine)
    return machine


def page_size_of(table: Table, arch: Arch) -> int:
    """page_size, one that the architecture has."""
    size = table.size("page_size", arch.page_sizes[0])
    if size not in arch.page_sizes:
        table.fail("page_size", f"{size_text(size)} is none of {', '.join(map(size_text, arch.page_sizes))}")
    return size


def texts(table: Table, key: str) -> tuple[str, ...]:
    """An array of texts."""
    value = table.raw(key)
    items = [] if value is None else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        table.fail(key, "should be an array of texts")
    return tuple(items)


# Nodes and their memory.


def drafts_of(table: Table) -> list[Draft]:
    """The nodes: so many equal ones (`nodes`), or one [[node]] for each or for `count` of them."""
    usual = {key: table.raw(key) for key in ("cpus", "memory", "movable") if key in table}
    several = table.integer("nodes", 0, low=1, high=MAX_NUMNODES)
    tables = table.tables("node")
    if several and tables:
        table.fail("nodes", "stands beside [[node]]", "give either a count of equal nodes, or each node")
    if not several and not tables:
        table.fail("", "has no nodes", 'write for instance: nodes = 2, cpus = 2, memory = "512M"')
    drafts: list[Draft] = []
    for own in tables or [Table({"count": several}, table.source)]:
        count = own.integer("count", 1, low=1, high=MAX_NUMNODES)
        nid = own.integer("id", drafts[-1].nid + 1 if drafts else 0, high=MAX_NUMNODES - 1)
        drafts += [draft_of(own, usual, nid + index) for index in range(count)]
    nids = [draft.nid for draft in drafts]
    if nids != sorted(set(nids)):
        table.fail("node", f"has the ids {list_text(nids)}", "each node needs one of its own, ascending")
    if nids[-1] >= MAX_NUMNODES:
        table.fail("node", f"reaches {nids[-1]}", f"Linux has at most {MAX_NUMNODES} nodes")
    return drafts


def draft_of(own: Table, usual: dict[str, Any], nid: int) -> Draft:
    """One node; what it doesn't say, `usual` says for all."""
    inherited = {key: value for key, value in usual.items() if key == "cpus" or "zone" not in own}
    table = Table({**inherited, **own.data}, own.source, own.path)
    table.known |= {"count", "id"}
    movable = -1 if table.raw("movable") is True else table.size("movable")
    return Draft(table, nid, table.size("memory"), movable)


def lay_out(
    table: Table, drafts: Sequence[Draft], arch: Arch, page_size: int
) -> tuple[tuple[Node, ...], int]:
    """The nodes with their zones, and the size of a memory block."""
    for draft in drafts:
        check_memory(draft, page_size)
    total = sum(draft.memory for draft in drafts)
    if total > MACHINE_MAX_SIZE:
        table.fail("", f"has {size_text(total)} in all", f"at most {size_text(MACHINE_MAX_SIZE)} can be addressed")
    extents = layout.place([draft.memory for draft in drafts], page_size, pci_hole(table, page_size))
    block_bytes = table.size("block_size", layout.block_size(arch, total))
    if block_bytes < MIN_BLOCK_SIZE or block_bytes & (block_bytes - 1):
        table.fail(
            "block_size", f"{size_text(block_bytes)} is no power of two from {size_text(MIN_BLOCK_SIZE)} up"
        )
    empty = table.choice("boot", ("small", "empty"), "small") == "empty"
    nodes: list[Node] = []
    first = True
    for draft, own in zip(drafts, extents, strict=True):
        node = node_of(draft, own, arch, page_size, block_bytes, first=first, empty=empty)
        first = first and not node.zones
        nodes.append(node)
    if first:
        table.fail("", "has no memory", 'give one node at least, for instance, memory = "512M"')
    if not any("zone" in draft.table for draft in drafts) and total < MACHINE_MIN_SIZE:
        table.fail("", f"has {size_text(total)} in all", f"a kernel needs {size_text(MACHINE_MIN_SIZE)}")
    return tuple(nodes), block_bytes


def pci_hole(table: Table, page_size: int) -> int:
    """pci_hole, in bytes."""
    hole = table.size("pci_hole")
    if hole > MAX_PCI_HOLE or hole % page_size:
        table.fail("pci_hole", f"{size_text(hole)} is no whole number of pages up to {size_text(MAX_PCI_HOLE)}")
    return hole


def check_memory(draft: Draft, page_size: int) -> None:
    """Refuse sizes that no node has."""
    if draft.memory % page_size:
        draft.table.fail("memory", f"{size_text(draft.memory)} is no whole number of pages of {size_text(page_size)}")
    if 0 < draft.memory < NODE_MIN_SIZE:
        draft.table.fail("memory", f"{size_text(draft.memory)} is too little", "Linux ignores a node below 4M")
    if draft.movable % page_size and draft.movable > 0 or draft.movable > draft.memory:
        draft.table.fail("movable", "is no part of the node's memory in whole pages")


def node_of(
    draft: Draft, extents: list[tuple[int, int]], arch: Arch, page_size: int, block_bytes: int, *, first: bool,
    empty: bool,
) -> Node:
    """One node, its zones as given or derived."""
    table = draft.table
    free: dict[str, int] = {}
    if "zone" in table:
        if draft.memory:
            table.fail("zone", "stands beside memory", "give either the node's size, or its zones")
        zones = given_zones(table, free, page_size)
        extents = [(zone.start_pfn, zone.start_pfn + zone.spanned) for zone in zones]
    else:
        movable = (draft.memory if draft.movable < 0 else draft.movable) // page_size
        zones = layout.zones_of(arch, extents, page_size, first=first, movable=movable)
    blocks = table.numbers("blocks") if "blocks" in table else layout.blocks_of(extents, page_size, block_bytes)
    if "boot" in table or free:
        boot = boot_of(table.table("boot"), free, page_size)
    else:
        boot = BootUse() if empty else layout.boot_use(arch, zones, page_size, first=first)
    held = sum(getattr(boot, use) for use in BOOT_PAGES)
    managed = sum(zone.managed for zone in zones)
    if held + sum(free.values()) > managed:
        table.fail("boot", f"holds {held} pages and leaves {sum(free.values())} free of {managed} managed ones")
    return Node(draft.nid, zones, boot, blocks, performance(table), abstract_distance(table))


def abstract_distance(table: Table) -> int:
    """How slow the node's memory is: a number, or `slow = true` for memory that a driver adds."""
    slow = table.flag("slow")
    if "abstract_distance" not in table:
        return SLOW_DISTANCE if slow else DRAM_DISTANCE
    if slow:
        table.fail("slow", "stands beside abstract_distance", f"it is another word for {SLOW_DISTANCE}")
    return table.integer("abstract_distance", low=1, high=1 << 20)


def given_zones(table: Table, free: dict[str, int], page_size: int) -> tuple[Zone, ...]:
    """Zones to the page; fills in `free` where a zone says it."""
    zones: list[Zone] = []
    for own in table.tables("zone"):
        type_ = own.choice("type", ("DMA", "DMA32", "Normal", "HighMem", "Movable", "Device"), "")
        spanned = own.pages("spanned", page_size)
        present = own.pages("present", page_size, spanned)
        managed = own.pages("managed", page_size, present)
        if not managed <= present <= spanned or not present:
            own.fail("", f"spans {spanned} pages, has {present}, manages {managed}", "managed <= present <= spanned")
        zone = Zone(type_, own.integer("start_pfn"), spanned, present, managed)
        if (zone.start_pfn + spanned) * page_size > MACHINE_MAX_SIZE:
            own.fail("spanned", "reaches beyond what can be addressed", f"that is {size_text(MACHINE_MAX_SIZE)}")
        if any(zone.start_pfn < old.start_pfn + old.spanned for old in zones):
            own.fail("start_pfn", "lies before the end of the zone above it", "list zones by address, ascending")
        if "free" in own:
            free[type_] = own.pages("free", page_size)
            if free[type_] > managed:
                own.fail("free", f"{free[type_]} pages are more than the {managed} managed ones")
        own.done()
        zones.append(zone)
    return tuple(zones)


def boot_of(table: Table, free: dict[str, int], page_size: int) -> BootUse:
    """[node.boot]: pages in use at boot."""
    use = BootUse(**{key: table.pages(key, page_size) for key in BOOT_PAGES}, free=free)
    table.done()
    return use


def performance(table: Table) -> Performance | None:
    """[node.performance]: `latency` and `bandwidth`, or those of reads and writes."""
    own = table.table("performance")
    if "performance" not in table:
        return None
    latency_ns, bandwidth = own.duration("latency", 0), own.bandwidth("bandwidth", 0)
    found = Performance(
        own.duration("read_latency", latency_ns), own.duration("write_latency", latency_ns),
        own.bandwidth("read_bandwidth", bandwidth), own.bandwidth("write_bandwidth", bandwidth),
    )
    own.done()
    return found


# Distances.


def distances(table: Table, nids: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """The SLIT: a matrix, one number for all pairs, or levels of groups of neighbours."""
    value = table.raw("distances")
    if value is None:
        value = REMOTE_DISTANCE
    if isinstance(value, int):
        remote = table.bounded("distances", value, LOCAL_DISTANCE + 1, MAX_DISTANCE)
        return by_levels([(len(nids), remote)], len(nids))
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        return by_levels(levels(table, len(nids)), len(nids))
    return matrix(table, value, nids)


def levels(table: Table, nodes: int) -> list[tuple[int, int]]:
    """[[distances]] entries: within each group of `nodes` neighbours, `distance`."""
    found: list[tuple[int, int]] = []
    for own in table.tables("distances"):
        size = own.integer("nodes", nodes, low=1, high=nodes)
        found.append((size, own.integer("distance", REMOTE_DISTANCE, low=LOCAL_DISTANCE + 1, high=MAX_DISTANCE)))
        own.done()
    if found[-1][0] != nodes:
        table.fail("distances", f"ends with groups of {found[-1][0]} nodes", f"the last level covers all {nodes}")
    return found


def by_levels(found: Sequence[tuple[int, int]], nodes: int) -> tuple[tuple[int, ...], ...]:
    """The matrix in which two nodes have the distance of the smallest group that holds both."""
    def between(a: int, b: int) -> int:
        return LOCAL_DISTANCE if a == b else next(far for size, far in found if a // size == b // size)

    return tuple(tuple(between(a, b) for b in range(nodes)) for a in range(nodes))


def matrix(table: Table, value: Any, nids: Sequence[int]) -> tuple[tuple[int, ...], ...]:
    """drivers/acpi/numa/srat.c:slit_valid() (v6.1): 10 to itself, more to others; it may be asymmetric."""
    nodes = len(nids)
    if not isinstance(value, list) or not all(isinstance(row, list) for row in value):
        table.fail("distances", "is no matrix", "write a row for each node: [[10, 20], [20, 10]]")
    if len(value) != nodes or any(len(row) != nodes for row in value):
        sizes = " ".join(str(len(row)) for row in value)
        hint = f"{nodes} nodes need {nodes} rows of {nodes}"
        table.fail("distances", f"has {len(value)} rows of {sizes} numbers", hint)
    for a, row in enumerate(value):
        for b, far in enumerate(row):
            table.bounded("distances", far, 0, MAX_DISTANCE)
            if a == b and far != LOCAL_DISTANCE:
                table.fail("distances", f"is {far} from node {nids[a]} to itself", f"that must be {LOCAL_DISTANCE}")
            if a != b and far <= LOCAL_DISTANCE:
                table.fail(
                    "distances", f"is {far} from node {nids[a]} to node {nids[b]}",
                    f"Linux ignores a table unless that is {LOCAL_DISTANCE + 1} to {MAX_DISTANCE}",
                )
    return tuple(map(tuple, value))


# The rest.


def latency(table: Table) -> Latency:
    """[latency]."""
    usual = Latency()
    found = Latency(
        fault_ns=table.duration("fault", usual.fault_ns),
        copy_page_ns=table.duration("copy_page", usual.copy_page_ns),
        reclaim_page_ns=table.duration("reclaim_page", usual.reclaim_page_ns),
        access_ns=table.duration("access", usual.access_ns),
        bandwidth_mb_s=table.bandwidth("bandwidth", usual.bandwidth_mb_s),
    )
    if not found.bandwidth_mb_s:
        table.fail("bandwidth", "is 0")
    table.done()
    return found


def sysctl(table: Table) -> dict[str, int]:
    """[sysctl]: `"vm.swappiness" = 10` and `vm.swappiness = 10` are the same."""
    found: dict[str, int] = {}
    pending = [("", table)]
    while pending:
        prefix, own = pending.pop(0)
        for key, value in own.data.items():
            if isinstance(value, dict):
                pending.append((f"{prefix}{key}.", own.table(key)))
                continue
            name = f"{prefix}{key}"
            if not name.startswith(("vm.", "kernel.")):
                own.fail(key, f"{name!r} is no name below vm or kernel", "write for instance vm.swappiness = 10")
            found[name] = own.integer(key, low=-(1 << 31), high=(1 << 63) - 1)
    return dict(sorted(found.items()))


def zone_reclaim_mode(table: Table) -> str:
    """A number of mode bits, or `auto`."""
    value = table.raw("zone_reclaim_mode")
    if value is None:
        return "0"
    if value == "auto":
        return "auto"
    if isinstance(value, str):
        table.fail("zone_reclaim_mode", f"{value!r} is no mode", 'write "auto", or a number such as 0, 1 or 7')
    return str(table.bounded("zone_reclaim_mode", value, 0, (1 << 31) - 1))


def check_possible(table: Table, machine: Machine) -> None:
    """What is there must be possible."""
    cpus = max(cpu.cpu for cpu in machine.cpus) + 1
    if machine.possible_cpus and machine.possible_cpus < cpus:
        table.fail("possible_cpus", f"is {machine.possible_cpus}, but CPU {cpus - 1} is there")
    if cpus > machine.nr_cpus:
        table.fail("nr_cpus", f"is {machine.nr_cpus}, but CPU {cpus - 1} is there")
    nodes = machine.nodes[-1].nid + 1
    if machine.possible_nodes and machine.possible_nodes < nodes:
        table.fail("possible_nodes", f"is {machine.possible_nodes}, but node {nodes - 1} is there")
    if nodes > machine.max_numnodes:
        table.fail("max_numnodes", f"is {machine.max_numnodes}, but node {nodes - 1} is there")
    for node in machine.nodes:
        if any(zone.type not in machine.zone_types for zone in node.zones):
            table.fail("node", f"{node.nid} has a zone that is none of {', '.join(machine.zone_types)}")
