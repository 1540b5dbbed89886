# SPDX-License-Identifier: MIT
"""Whatever stands in a machine file, reading it ends in a machine or in a MachineError."""

from __future__ import annotations

import copy
import datetime
import tomllib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from numafs.machine.errors import MachineError
from numafs.machine.parse import machine_of
from numafs.machine.presets import presets
from numafs.machine.spec import Machine
from numafs.machine.table import Source, Table
from numafs.machine.toml import loads

SHORT = tomllib.loads(
    presets()["cxl"].read_text()
    + '[topology]\nthreads = 2\n[[cache]]\nlevel = 1\nsize = "32K"\nshared = ["0-1", "2-3"]\n'
    + "[sysctl]\nvm.swappiness = 1\n"
    + '[[device]]\naddress = "3b:00.0"\nclass = "gpu"\nnode = 1\n[latency]\nfault = "1us"\n'
)
LONG = tomllib.loads(presets()["oracle/two"].read_text())
VALUES = st.one_of(
    st.integers(-3, 3), st.integers(), st.booleans(), st.floats(), st.just(datetime.date(2006, 3, 20)),
    st.sampled_from(["", "0-1", "1G", "512M", "4K", "auto", "a/../b", "{0..3}", "{", "0000:00:00.0", "\x00"]),
    st.text(),
    st.lists(st.integers(0, 30)), st.lists(st.lists(st.integers(0, 30))), st.just({}), st.just([{}]),
    st.dictionaries(st.sampled_from(["cpus", "memory", "type", "size", "x"]), st.integers(0, 9)),
)


def paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [p for key, each in items for p in [(*path, key), *paths(each, (*path, key))]]


def read(data: dict[str, Any]) -> Machine | MachineError:
    try:
        return machine_of(Table(data, Source("m.toml")), "m")
    except MachineError as error:
        return error


def test_what_is_broken_below_was_whole() -> None:
    assert isinstance(read(SHORT), Machine)
    assert isinstance(read(LONG), Machine)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_wrong_value_anywhere_is_a_machine_error(data: st.DataObject) -> None:
    broken = copy.deepcopy(data.draw(st.sampled_from([SHORT, LONG])))
    for _ in range(data.draw(st.integers(1, 2))):
        path = data.draw(st.sampled_from(paths(broken)))
        at: Any = broken
        for key in path[:-1]:
            at = at[key]
        if data.draw(st.booleans()):
            at[path[-1]] = data.draw(VALUES)
        else:
            del at[path[-1]]
    result = read(broken)
    assert isinstance(result, Machine) or (str(result).startswith("m.toml") and result.problem)


@given(st.text(st.sampled_from('nodes=cpu[]{}"\n #.,0123456789memory512M'), max_size=60))
def test_any_text_is_a_machine_or_a_machine_error(text: str) -> None:
    try:
        loads(text, "m.toml")
    except MachineError as error:
        assert str(error).startswith("m.toml")
