# SPDX-License-Identifier: MIT
"""`numafs show MACHINE`: what a machine is made of, without mounting it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from numafs.machine.errors import MachineError
from numafs.machine.presets import resolve
from numafs.machine.spec import Machine
from numafs.machine.toml import dumps

from .parser import ERROR, OK, VerbParser, fail

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """`numafs show`."""
    made = VerbParser("numafs show", "Show the nodes, distances and disks of a machine.")
    made.add_argument("machine", metavar="MACHINE", help="a file, a name, or a form such as 4x2:512M")
    made.add_argument("--toml", action="store_true", help="print the whole machine as a machine file")
    arguments = made.read(argv)
    try:
        machine = resolve(arguments.machine)
    except MachineError as error:
        return fail(error, ERROR)
    print(dumps(machine) if arguments.toml else "\n".join(lines(machine)), end="" if arguments.toml else "\n")
    return OK


def lines(machine: Machine) -> Iterator[str]:
    """The machine, as `numactl --hardware` would put it."""
    yield f"{machine.name}: {' '.join(machine.about.split())}".rstrip(": ")
    page_kb = machine.page_size // 1024
    for node in machine.nodes:
        cpus = " ".join(str(cpu.cpu) for cpu in machine.cpus if cpu.node == node.nid) or "none"
        present = sum(zone.present for zone in node.zones) * page_kb // 1024
        zones = " ".join(f"{zone.type} {zone.present * page_kb // 1024} MB" for zone in node.zones)
        yield f"node {node.nid} cpus: {cpus}; size: {present} MB" + (f" ({zones})" if len(node.zones) > 1 else "")
    yield "node distances:"
    yield "node " + " ".join(f"{node.nid:>3}" for node in machine.nodes)
    for node, row in zip(machine.nodes, machine.distance, strict=True):
        yield f"{node.nid:>3}: " + " ".join(f"{distance:>3}" for distance in row)
    for swap in machine.swaps:
        yield f"swap {swap.path}: {swap.pages * page_kb // 1024} MB"
    for disk in machine.disks:
        yield f"disk {disk.name}: {len(disk.files)} files"
    for device in machine.devices:
        yield f"device {device.address}: node {device.numa_node}"
