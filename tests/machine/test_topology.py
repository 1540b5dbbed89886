# SPDX-License-Identifier: MIT
"""CPUs: numbers, cores, sockets, caches."""

from __future__ import annotations

from numafs.machine.presets import resolve
from numafs.machine.spec import Machine
from numafs.machine.toml import loads


def nodes_of(machine: Machine) -> list[list[int]]:
    return [[cpu.cpu for cpu in machine.cpus if cpu.node == node.nid] for node in machine.nodes]


def test_a_node_with_cpus_is_a_socket_unless_told_otherwise() -> None:
    machine = loads('nodes = 2\ncpus = 2\nmemory = "1G"')
    assert [(cpu.cpu, cpu.node, cpu.socket, cpu.core) for cpu in machine.cpus] == [
        (0, 0, 0, 0), (1, 0, 0, 1), (2, 1, 1, 0), (3, 1, 1, 1),
    ]


def test_nodes_may_have_different_numbers_of_cpus() -> None:
    machine = loads('memory = "1G"\n[[node]]\ncpus = 3\n[[node]]\n[[node]]\ncpus = 1\n')
    assert nodes_of(machine) == [[0, 1, 2], [], [3]]
    assert [cpu.socket for cpu in machine.cpus] == [0, 0, 0, 1]


def test_second_threads_come_after_all_first_ones() -> None:
    machine = loads('nodes = 2\ncpus = 4\nmemory = "1G"\ntopology = {threads = 2}')
    assert nodes_of(machine) == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert [cpu.core for cpu in machine.cpus if cpu.node == 0] == [0, 1, 0, 1]


def test_or_threads_of_a_core_are_neighbours() -> None:
    machine = loads('nodes = 2\ncpus = 4\nmemory = "1G"\ntopology = {threads = 2, numbering = "threads-adjacent"}')
    assert nodes_of(machine) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert [cpu.core for cpu in machine.cpus if cpu.node == 0] == [0, 0, 1, 1]


def test_sockets_may_hold_several_nodes_and_a_node_several_sockets() -> None:
    eight = resolve("eight")
    assert [cpu.socket for cpu in eight.cpus] == [0, 0, 0, 0, 1, 1, 1, 1]
    wide = loads('nodes = 1\ncpus = 4\nmemory = "1G"\ntopology = {sockets = 2, dies = 2}')
    assert [(cpu.socket, cpu.die, cpu.core) for cpu in wide.cpus] == [(0, 0, 0), (0, 1, 1), (1, 0, 0), (1, 1, 1)]


def test_cpus_can_be_given_by_number() -> None:
    machine = loads('[[node]]\ncpus = "0,2"\nmemory = "1G"\n[[node]]\ncpus = [1, 3]')
    assert nodes_of(machine) == [[0, 2], [1, 3]]


def test_caches_are_shared_by_those_behind_them() -> None:
    machine = resolve("epyc")
    cpu = machine.cpus[9]
    assert [(cache.level, cache.type, cache.size_kb, cache.sets) for cache in cpu.caches] == [
        (1, "Data", 32, 64), (1, "Instruction", 32, 64), (2, "Unified", 512, 1024), (3, "Unified", 32768, 32768),
    ]
    assert cpu.caches[0].shared_cpus == (9, 137)
    assert cpu.caches[3].shared_cpus == (*range(8, 16), *range(136, 144))


def test_the_usual_caches_are_a_core_s_and_a_node_s() -> None:
    cpu = resolve("two").cpus[3]
    assert [cache.shared_cpus for cache in cpu.caches] == [(3,), (3,), (3,), (2, 3)]


def test_a_machine_may_have_no_caches() -> None:
    machine = loads('nodes = 1\ncpus = 1\nmemory = "1G"\ncache = []')
    assert machine.cpus[0].caches == ()
