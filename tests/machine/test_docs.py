# SPDX-License-Identifier: MIT
"""docs/machine.md: its examples load, and it names every key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from numafs.machine.errors import MachineError
from numafs.machine.toml import dumps, loads

DOC = (Path(__file__).parents[2] / "docs" / "machine.md").read_text()
WHOLE, PARTS = re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL)


def test_the_first_example_is_a_machine() -> None:
    assert len(loads(WHOLE).nodes) == 4


def test_what_hangs_on_a_machine_hangs_on_it() -> None:
    machine = loads('nodes = 3\ncpus = 1\nmemory = "1G"\n' + PARTS)
    assert len(machine.disks[0].files) == 16 + 20_000 + 1
    assert machine.devices[0].numa_node == 2
    assert machine.sysctl == {"kernel.numa_balancing": 0, "vm.swappiness": 10}


def test_the_messages_are_the_real_ones() -> None:
    with pytest.raises(MachineError) as caught:
        loads('nodes = 2\ncpus = 2\nmemory = "512Q"\n', "lab.toml")
    assert str(caught.value) in DOC


def test_every_key_that_is_written_is_explained() -> None:
    keys = set(re.findall(r"^(\w+) =", dumps(loads(WHOLE + PARTS)), re.MULTILINE))
    assert {key for key in keys if key not in DOC} == set()
