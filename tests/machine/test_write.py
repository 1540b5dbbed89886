# SPDX-License-Identifier: MIT
"""What is written reads back as the same machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from numafs.machine.spec import (
    DRAM_DISTANCE,
    BootUse,
    Cache,
    Cpu,
    Device,
    Disk,
    DiskFile,
    Latency,
    Machine,
    Node,
    Performance,
    Swap,
    Zone,
)
from numafs.machine.toml import dumps, loads

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
COUNT = st.integers(0, 1 << 30)


@st.composite
def zones(draw: Callable[..., Any]) -> tuple[Zone, ...]:
    types = draw(st.lists(st.sampled_from(["DMA", "DMA32", "Normal", "Movable"]), max_size=3, unique=True))
    found, pfn = [], 0
    for type_ in types:
        pfn += draw(st.integers(0, 9999))
        spanned = draw(st.integers(1, 1 << 20))
        present = draw(st.integers(1, spanned))
        found.append(Zone(type_, pfn, spanned, present, draw(st.integers(0, present))))
        pfn += spanned
    return tuple(found)


@st.composite
def nodes(draw: Callable[..., Any], nid: int) -> Node:
    own = draw(zones())
    if nid == 0 and not own:
        own = (Zone("Normal", 0, 1 << 20, 1 << 20, 1 << 20),)
    left = sum(zone.managed for zone in own) // 16
    amounts = [draw(st.integers(0, left)) for _ in range(8)]
    free = {zone.type: draw(st.integers(0, zone.managed // 4)) for zone in own if draw(st.booleans())}
    blocks = draw(st.lists(st.integers(0, 99), max_size=4, unique=True).map(sorted))
    performance = draw(st.none() | st.builds(Performance, COUNT, COUNT, COUNT, COUNT))
    distance = draw(st.just(DRAM_DISTANCE) | st.integers(1, 5000))
    return Node(nid, own, BootUse(*amounts, free=free), tuple(blocks), performance, distance)


@st.composite
def cpus(draw: Callable[..., Any], nids: list[int]) -> tuple[Cpu, ...]:
    small = st.integers(0, 3)
    numbers = draw(st.lists(st.integers(0, 40), min_size=1, max_size=8, unique=True).map(sorted))
    plain = [Cpu(n, draw(st.sampled_from(nids)), draw(small), draw(small), draw(small)) for n in numbers]
    kinds = draw(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 64)), max_size=3, unique=True))
    own: dict[int, list[Cache]] = {n: [] for n in numbers}
    for level, sets in kinds:
        cut = draw(st.integers(0, len(numbers)))
        for group in (tuple(numbers[:cut]), tuple(numbers[cut:])):
            for n in group:
                own[n].append(Cache(level, "Unified", 4 * sets, 64, 64, sets, group))
    return tuple(Cpu(c.cpu, c.node, c.socket, c.die, c.core, tuple(own[c.cpu])) for c in plain)


@st.composite
def disks(draw: Callable[..., Any]) -> tuple[Disk, ...]:
    names = draw(st.lists(st.text("abc {}0.\"\\", min_size=1, max_size=5), max_size=3, unique=True))
    plain = [name.replace("{", "[").replace("}", "]") for name in names if name.strip(".")]
    files = [DiskFile(f"x/{index}{name}", draw(COUNT)) for index, name in enumerate(plain)]
    files += [DiskFile("y{0..3}/{a,b}", draw(COUNT)), DiskFile("empty", 0, True)]
    speed = st.integers(1, 10**6)
    return (Disk(draw(TEXT) or "vda", tuple(files), draw(speed), draw(speed), draw(COUNT)),)


@st.composite
def machines(draw: Callable[..., Any]) -> Machine:
    nids = draw(st.lists(st.integers(0, 60), min_size=1, max_size=4, unique=True).map(sorted))
    far = st.integers(11, 255)
    return Machine(
        name=draw(TEXT),
        about=draw(TEXT),
        nodes=tuple(draw(nodes(nid if index else 0)) for index, nid in enumerate(nids)) if nids[0] == 0
        else (draw(nodes(0)), *(draw(nodes(nid)) for nid in nids[1:])),
        cpus=draw(cpus([0, *nids[1:]])),
        distance=tuple(tuple(10 if a == b else draw(far) for b in nids) for a in nids),
        block_size_bytes=1 << draw(st.integers(27, 31)),
        possible_cpus=draw(st.sampled_from([0, 64])),
        possible_nodes=draw(st.sampled_from([0, 64])),
        swaps=draw(st.lists(
            st.builds(
                Swap, st.just("/dev/s"), st.integers(1, 1 << 40), st.none() | st.integers(0, 32767), st.booleans(),
                st.booleans(),
            ), max_size=1).map(tuple)),
        disks=draw(disks()),
        devices=draw(st.lists(
            st.builds(Device, st.just("0000:3b:00.0"), st.sampled_from([-1, 0]), st.integers(0, 0xFFFFFF)), max_size=1
        ).map(tuple)),
        latency=Latency(*(draw(COUNT) for _ in range(4)), draw(st.integers(1, 10**6))),
        sysctl=draw(st.dictionaries(st.sampled_from(["kernel.numa_balancing", "vm.swappiness"]), COUNT)),
        zone_reclaim_mode=draw(st.sampled_from(["0", "1", "7", "auto"])),
        zone_reclaim_interval=draw(st.booleans()),
        thp=draw(st.sampled_from(["always", "madvise", "never"])),
        cgroup=draw(st.sampled_from(["v1", "v2", "none"])),
        kernel_release=draw(TEXT) or "6.1",
        seed=draw(COUNT),
    )


@settings(max_examples=60, deadline=None)
@given(machines())
def test_a_written_machine_reads_back_as_itself(machine: Machine) -> None:
    text = dumps(machine)
    assert loads(text) == machine
    assert dumps(loads(text)) == text


def test_files_that_were_listed_make_no_difference() -> None:
    text = 'nodes = 1\ncpus = 1\nmemory = "1G"\n[[disk]]\nfiles = {"f{0..9}" = "1M"}\n'
    looked_at, fresh = loads(text), loads(text)
    assert len(looked_at.disks[0].files) == 10
    assert looked_at == fresh
    assert hash(looked_at.disks) == hash(fresh.disks)
