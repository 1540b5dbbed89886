# SPDX-License-Identifier: MIT
"""The CPUs of a machine file: counts for each node and a shape, or each CPU by itself; and their caches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from . import topology
from .spec import Cache, Cpu
from .table import Table
from .topology import CacheRule, Shape

__all__ = ["cpus_of"]

MAX_CPUS = 8192
"""NR_CPUS of a distribution's kernel."""
USUAL_CACHES = (
    CacheRule(Cache(1, "Data", 32, 64, 8, 64, ()), "core"),
    CacheRule(Cache(1, "Instruction", 32, 64, 8, 64, ()), "core"),
    CacheRule(Cache(2, "Unified", 1024, 64, 16, 1024, ()), "core"),
    CacheRule(Cache(3, "Unified", 16384, 64, 16, 16384, ()), "node"),
)
"""Of a machine that says nothing of caches."""


def cpus_of(table: Table, nodes: Sequence[tuple[int, Table]]) -> tuple[Cpu, ...]:
    """Every CPU, by number; `nodes` are the nodes' ids and tables."""
    given = table.tables("cpu")
    if given:
        cpus = tuple(sorted((given_cpu(own) for own in given), key=lambda cpu: cpu.cpu))
        for _, own in nodes:
            if "cpus" in own:
                own.fail("cpus", "stands beside [[cpu]]", "give either each node's CPUs, or each CPU's node")
        table.raw("topology")
    else:
        cpus = derived_cpus(table, nodes)
    check_numbers(table, cpus, {nid for nid, _ in nodes})
    rules = cache_rules(table, {cpu.cpu for cpu in cpus}) if "cache" in table else USUAL_CACHES
    return topology.with_caches(cpus, rules)


def given_cpu(own: Table) -> Cpu:
    """One entry of [[cpu]]."""
    cpu = Cpu(
        own.integer("cpu"), own.integer("node"), own.integer("socket"), own.integer("die"), own.integer("core")
    )
    own.done()
    return cpu


def derived_cpus(table: Table, nodes: Sequence[tuple[int, Table]]) -> tuple[Cpu, ...]:
    """CPUs of counts or lists, shaped by [topology]."""
    shape_table = table.table("topology")
    counts: list[int] = []
    lists: list[Sequence[int]] = []
    for _, own in nodes:
        value = own.raw("cpus")
        if isinstance(value, int):
            counts.append(own.integer("cpus", high=MAX_CPUS))
        elif value is not None:
            lists.append(own.numbers("cpus"))
        else:
            counts.append(0)
            lists.append(())
    if sum(counts) > MAX_CPUS:
        table.fail("", f"has {sum(counts)} CPUs", f"Linux has at most {MAX_CPUS}")
    with_cpus = sum(1 for count in counts if count) + sum(1 for each in lists if each)
    shape = shape_of(shape_table, with_cpus)
    if len(lists) == len(nodes):
        numbers: Sequence[Sequence[int]] = lists
    elif len(counts) == len(nodes):
        for count, (_, own) in zip(counts, nodes, strict=True):
            if count % shape.threads:
                own.fail("cpus", f"{count} are no whole cores of {shape.threads} threads")
        numbers = topology.number_cpus(counts, shape)
    else:
        table.fail("node", "gives some nodes a count of cpus and others a list", "give all a count, or all a list")
    if not with_cpus:
        return ()
    with shape_table.blaming(""):
        return topology.build([(nid, own) for (nid, _), own in zip(nodes, numbers, strict=True)], shape)


def shape_of(table: Table, nodes_with_cpus: int) -> Shape:
    """[topology]."""
    shape = Shape(
        sockets=table.integer("sockets", max(1, nodes_with_cpus), low=1, high=MAX_CPUS),
        dies=table.integer("dies", 1, low=1, high=64),
        threads=table.integer("threads", 1, low=1, high=64),
        adjacent=table.choice("numbering", ("threads-last", "threads-adjacent"), "threads-last") != "threads-last",
    )
    table.done()
    return shape


def check_numbers(table: Table, cpus: Sequence[Cpu], nids: set[int]) -> None:
    """One CPU at least, no number twice, no node that isn't there."""
    if not cpus:
        table.fail("", "has no CPU", "give one node at least, for instance, cpus = 2")
    for a, b in pairwise(cpus):
        if a.cpu == b.cpu:
            table.fail("cpu" if "cpu" in table else "node", f"gives CPU {a.cpu} twice")
    for cpu in cpus:
        if cpu.node not in nids:
            table.fail("cpu", f"puts CPU {cpu.cpu} into node {cpu.node}, which is not there")


def cache_rules(table: Table, cpus: set[int]) -> list[CacheRule]:
    """[[cache]] entries; an empty array means no caches."""
    rules: list[CacheRule] = []
    for own in table.tables("cache"):
        level = own.integer("level", low=1, high=4)
        type_ = own.choice("type", ("Data", "Instruction", "Unified"), "Data" if level == 1 else "Unified")
        size, line, ways = own.size("size"), own.integer("line", 64, low=1), own.integer("ways", 8, low=1)
        if not size or size % (line * ways) or size % 1024:
            own.fail("size", f"{size} bytes are no whole sets of {ways} ways of {line} bytes, and whole KiB")
        sets = own.integer("sets", size // (line * ways), low=1)
        cache = Cache(level, type_, size // 1024, line, ways, sets, ())
        per = own.choice("per", topology.PER, "core")
        rules.append(CacheRule(cache, per, own.integer("cores", 1, low=1), cache_groups(own, cpus)))
        own.done()
    return rules


def cache_groups(own: Table, cpus: set[int]) -> tuple[tuple[int, ...], ...]:
    """`shared = ["0-1", "2-3"]`: the CPUs behind each such cache."""
    value = own.raw("shared")
    if value is None:
        return ()
    if not isinstance(value, list):
        own.fail("shared", "should be an array of lists of CPUs", 'write ["0-1", "2-3"]')
    groups = tuple(Table({"shared": item}, own.source, own.path).numbers("shared") for item in value)
    members = [cpu for group in groups for cpu in group]
    if len(members) != len(set(members)) or not set(members) <= cpus:
        own.fail("shared", "names a CPU twice, or one that is not there")
    return groups
