# SPDX-License-Identifier: MIT
"""What `numafs show` prints."""

from __future__ import annotations

import json

from numafs.machine.describe import describe, to_json
from numafs.machine.presets import resolve


def test_a_description_is_one_page_of_tables() -> None:
    text = describe(resolve("cxl"))
    assert text.splitlines()[0] == "cxl: Two sockets and a memory expander (CXL)"
    assert text.splitlines()[1] == (
        "x86_64, Linux 6.1: 3 nodes, 4 CPUs, 2G of memory, pages of 4K, memory blocks of 128M"
    )
    assert "   2  -         1G  1007.3M  DMA32 1G               8-15\n" in text
    assert "       1  21  10  40\n" in text
    assert "2 sockets, 4 cores, 4 threads\n" in text
    assert "swap /dev/vdb: 2G\n" in text


def test_a_description_names_devices_and_what_was_set() -> None:
    assert "device 0000:01:00.0: class 010802, node 3\n" in describe(resolve("epyc"))
    assert "zone_reclaim_mode = auto\n" in describe(resolve("itanium-16k"))


def test_json_has_every_field_by_its_name() -> None:
    data = json.loads(to_json(resolve("two")))
    assert data["distance"] == [[10, 21], [21, 10]]
    assert data["nodes"][1]["zones"][0]["type"] == "DMA32"
    assert data["nodes"][0]["memory_blocks"] == list(range(8))
    assert data["thp"] == "always"
