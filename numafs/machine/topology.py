# SPDX-License-Identifier: MIT
"""From a few counts to every CPU's number, core, die, socket and caches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .spec import Cache, Cpu

__all__ = ["PER", "CacheRule", "Shape", "build", "number_cpus", "with_caches"]

PER = ("thread", "core", "die", "node", "socket", "machine")
"""Who shares a cache."""


@dataclass(frozen=True)
class Shape:
    """How cores lie in the machine."""

    sockets: int
    dies: int = 1
    """In each socket."""
    threads: int = 1
    """In each core."""
    adjacent: bool = False
    """Threads of a core have neighbouring numbers (QEMU), else the second threads follow all first ones (firmware)."""


@dataclass(frozen=True)
class CacheRule:
    """A cache that each `per` has, or each of the groups of CPUs."""

    cache: Cache
    """With no sharers yet."""
    per: str = "core"
    cores: int = 1
    """So many neighbouring cores share it, if it is per core."""
    groups: tuple[tuple[int, ...], ...] = ()


def number_cpus(counts: Sequence[int], shape: Shape) -> list[list[int]]:
    """Numbers of the CPUs of nodes that have `counts` of them; counts are whole cores."""
    nodes: list[list[int]] = []
    cores = sum(counts) // shape.threads
    done = 0
    for count in counts:
        own = count // shape.threads
        if shape.adjacent:
            nodes.append(list(range(done * shape.threads, (done + own) * shape.threads)))
        else:
            nodes.append([thread * cores + core for thread in range(shape.threads) for core in range(done, done + own)])
        done += own
    return nodes


def build(nodes: Sequence[tuple[int, Sequence[int]]], shape: Shape) -> tuple[Cpu, ...]:
    """Every CPU of nodes given as (nid, its CPUs). Raises ValueError if they don't fit the shape."""
    found: list[Cpu] = []
    for socket, cores in enumerate(sockets_of([(nid, cpus) for nid, cpus in nodes if cpus], shape)):
        if len(cores) % shape.dies:
            raise ValueError(f"{len(cores)} cores of a socket cannot be shared out to {shape.dies} dies")
        for at, (nid, core) in enumerate(cores):
            found += [Cpu(cpu, nid, socket, at * shape.dies // len(cores), at) for cpu in core]
    return tuple(sorted(found, key=lambda cpu: cpu.cpu))


def sockets_of(nodes: Sequence[tuple[int, Sequence[int]]], shape: Shape) -> list[list[tuple[int, Sequence[int]]]]:
    """The cores of each socket, with their nodes: a socket has several nodes, or a node several sockets."""
    cores = [[(nid, core) for core in cores_of(sorted(cpus), shape)] for nid, cpus in nodes]
    several, rest = divmod(len(nodes), shape.sockets)
    if several and not rest:
        return [sum(cores[at : at + several], []) for at in range(0, len(nodes), several)]
    parts = shape.sockets // len(nodes)
    if shape.sockets % len(nodes) or any(len(own) % parts for own in cores):
        raise ValueError(f"{len(nodes)} nodes with CPUs cannot be shared out to {shape.sockets} sockets")
    return [
        own[part * len(own) // parts : (part + 1) * len(own) // parts] for own in cores for part in range(parts)
    ]


def cores_of(cpus: Sequence[int], shape: Shape) -> list[Sequence[int]]:
    """The CPUs of one node, core by core."""
    if len(cpus) % shape.threads:
        raise ValueError(f"{len(cpus)} CPUs of a node are no whole cores of {shape.threads} threads")
    own = len(cpus) // shape.threads
    if shape.adjacent:
        return [cpus[core * shape.threads : (core + 1) * shape.threads] for core in range(own)]
    return [cpus[core::own] for core in range(own)]


def with_caches(cpus: Sequence[Cpu], rules: Sequence[CacheRule]) -> tuple[Cpu, ...]:
    """The CPUs with their caches, in the order of the rules."""
    own: dict[int, list[Cache]] = {cpu.cpu: [] for cpu in cpus}
    for rule in rules:
        for group in rule.groups or sharers(cpus, rule):
            cache = replace(rule.cache, shared_cpus=tuple(group))
            for number in group:
                own[number].append(cache)
    return tuple(replace(cpu, caches=tuple(own[cpu.cpu])) for cpu in cpus)


def sharers(cpus: Sequence[Cpu], rule: CacheRule) -> list[list[int]]:
    """The CPUs of each core, die, ..."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for cpu in cpus:
        key = {
            "thread": (cpu.cpu,), "core": (cpu.socket, cpu.core // rule.cores), "die": (cpu.socket, cpu.die),
            "node": (cpu.node,), "socket": (cpu.socket,), "machine": (),
        }[rule.per]
        groups.setdefault(key, []).append(cpu.cpu)
    return list(groups.values())
