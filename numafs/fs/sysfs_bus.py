# SPDX-License-Identifier: MIT
"""/sys/bus: the buses that NUMA tools look at, and the PCI devices with their nodes.

drivers/pci/pci-sysfs.c (v6.1).

Simplified: PCI devices hang on their root bus directly, and have no configuration space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from numafs.kernel.errors import EINVAL
from numafs.kernel.nodemask import Mask, hex_mask, list_text

from .attr import Attr, Caller
from .numbers import kstrtol
from .sysfs_device import UEVENT, add_power
from .sysfs_node import nr_cpu_ids
from .tree import SYSFS, Dir, Link, Node

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel
    from numafs.machine.spec import Device

__all__ = ["add_buses", "add_pci"]


class PciDevice:
    """A PCI device; its node may be corrected by the administrator, as the kernel lets them."""

    def __init__(self, kernel: Kernel, device: Device) -> None:
        self.kernel = kernel
        self.device = device
        self.numa_node = device.numa_node

    @property
    def local_cpus(self) -> Mask:
        """CPUs on line at its node; all if it has none."""
        kernel = self.kernel
        if self.numa_node < 0:
            return kernel.cpu_online
        return kernel.nodes[self.numa_node].cpus_present & kernel.cpu_online


def numa_node_store(pci: PciDevice, data: bytes, caller: Caller) -> None:
    """A node on line, or -1. drivers/pci/pci-sysfs.c:numa_node_store() (v6.1)."""
    nid = kstrtol(data, 0)
    if nid != -1 and (nid < 0 or not pci.kernel.node_online >> nid & 1):
        raise EINVAL(f"node {nid} is not on line")
    pci.numa_node = nid


PCI: tuple[Attr[PciDevice], ...] = (
    Attr("class", 0o444, lambda pci: f"0x{pci.device.class_code:06x}\n", size=4096),
    Attr("device", 0o444, lambda pci: f"0x{pci.device.device:04x}\n", size=4096),
    Attr("local_cpulist", 0o444, lambda pci: list_text(pci.local_cpus) + "\n", size=4096),
    Attr("local_cpus", 0o444, lambda pci: hex_mask(pci.local_cpus, nr_cpu_ids(pci.kernel)) + "\n", size=4096),
    Attr("numa_node", 0o644, lambda pci: f"{pci.numa_node}\n", numa_node_store, size=4096),
    UEVENT,
    Attr("vendor", 0o444, lambda pci: f"0x{pci.device.vendor:04x}\n", size=4096),
)


class Links:
    """Links of a bus's devices/, one for each numbered directory of a device tree."""

    def __init__(self, devices: Dir, prefix: str, where: str) -> None:
        self.devices = devices
        self.prefix = prefix
        self.where = where

    def find(self, name: str) -> Node | None:
        """The link to the device of that name."""
        if name in self.names():
            return Link(f"{self.where}/{name}")
        return None

    def names(self) -> Iterator[str]:
        """The names of the devices there are now."""
        more: Callable[[], object] | None = self.devices.more
        if more is None:
            return iter(())
        return (name for name in self.devices.more() if name.startswith(self.prefix))  # type: ignore[misc]


def _bus(buses: Dir, name: str, devices: Dir) -> Dir:
    bus = buses.dir(name)
    bus.dir("drivers")
    bus.add("devices", devices)
    return bus


def add_buses(buses: Dir, system: Dir, tiers: Dir) -> None:
    """Enter bus/{cpu,memory,node,memory_tiering}: links to the devices in devices/system and to the memory tiers."""
    for name in ("cpu", "memory", "node"):
        links = Links(system.dir(name), name, f"../../../devices/system/{name}")
        _bus(buses, name, Dir(SYSFS, 0o755, find=links.find, more=links.names))
    links = Links(tiers, "memory_tier", "../../../devices/virtual/memory_tiering")
    _bus(buses, "memory_tiering", Dir(SYSFS, 0o755, find=links.find, more=links.names))


def add_pci(buses: Dir, devices: Dir, kernel: Kernel) -> None:
    """Enter the PCI devices in devices/, and bus/pci with links to them."""
    links = Dir(SYSFS, 0o755)
    _bus(buses, "pci", links)
    for device in kernel.machine.devices:
        root_bus = "pci" + device.address.rpartition(":")[0]
        home = devices.dir(f"{root_bus}/{device.address}")
        home.add_files(PCI, PciDevice(kernel, device))
        home.add("subsystem", Link("../../../bus/pci"))
        add_power(home)
        links.add(device.address, Link(f"../../../devices/{root_bus}/{device.address}"))
