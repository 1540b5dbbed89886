# SPDX-License-Identifier: MIT
"""What an edit of a machine file plugs in and pulls out."""

from __future__ import annotations

from numafs.machine.changes import compare
from numafs.machine.presets import resolve
from numafs.machine.spec import Machine
from numafs.machine.toml import loads


def machine(nodes: str, rest: str = "") -> Machine:
    return loads(rest + "\n" + nodes, "m.toml")


ONE = '[[node]]\ncpus = 2\nmemory = "512M"\n'
TWO = ONE + '[[node]]\ncpus = 2\nmemory = "512M"\n'


def test_the_same_machine_has_no_changes() -> None:
    assert not compare(resolve("ring4"), resolve("ring4"))


def test_a_node_is_plugged_in_with_its_memory_and_cpus() -> None:
    changes = compare(machine(ONE), machine(TWO))
    assert [node.nid for node in changes.new_nodes] == [1]
    assert changes.new_blocks == ((1, 4), (1, 5), (1, 6), (1, 7))
    assert [cpu.cpu for cpu in changes.new_cpus] == [2, 3]
    assert not (changes.gone_nodes or changes.gone_blocks or changes.gone_cpus or changes.fixed or changes.distances)


def test_pulling_it_out_is_the_reverse() -> None:
    changes = compare(machine(TWO), machine(ONE))
    assert changes.gone_nodes == (1,)
    assert changes.gone_blocks == ((1, 7), (1, 6), (1, 5), (1, 4))
    assert changes.gone_cpus == (2, 3)
    assert not changes.fixed


def test_more_memory_in_a_node_lies_behind_all_memory() -> None:
    grown = TWO.replace("512M", "768M", 1)
    changes = compare(machine(TWO), machine(grown))
    assert changes.new_blocks == ((0, 8), (0, 9))
    assert not changes.gone_blocks
    assert compare(machine(TWO), machine(TWO.replace("512M", "256M", 1))).gone_blocks == ((0, 3), (0, 2))


def test_distances_may_change() -> None:
    changes = compare(machine(TWO), machine(TWO, "distances = 40"))
    assert changes.distances
    assert not changes.fixed


def test_what_is_fixed_at_boot_is_refused_in_words() -> None:
    changes = compare(machine(ONE), machine(ONE, 'thp = "never"\nseed = 2'))
    assert changes.fixed == (
        "a running machine cannot change what transparent_hugepage is at boot",
        "a running machine cannot change its seed",
    )


def test_a_cpu_cannot_move() -> None:
    cpus = 'cpu = [{cpu = 0, node = %d}, {cpu = 1}]\nnodes = 2\nmemory = "512M"\n'
    changes = compare(loads(cpus % 0), loads(cpus % 1))
    assert changes.fixed == ("CPU 0 cannot move to another node, socket or core",)


def test_a_new_name_is_no_change() -> None:
    assert not compare(machine(ONE), machine(ONE, 'name = "other"\nabout = "it"'))
