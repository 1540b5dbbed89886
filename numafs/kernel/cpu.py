# SPDX-License-Identifier: MIT
"""Taking CPUs on and off line: kernel/cpu.c (v6.1).

Simplified: a CPU's node stays the one that the machine describes; kernel threads of a CPU stay as they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cpuset_hotplug import cpuset_update_active_cpus
from .errors import EBUSY, EINVAL, EPERM
from .printk import Level
from .sched import select_fallback_rq

if TYPE_CHECKING:
    from .kernel import Kernel

__all__ = ["cpu_down", "cpu_hotpluggable", "cpu_up"]


def cpu_hotpluggable(cpu: int) -> bool:
    """Has it an `online` file? x86 keeps its boot CPU (CONFIG_BOOTPARAM_HOTPLUG_CPU0)."""
    return cpu != 0


def cpu_up(kernel: Kernel, cpu: int) -> None:
    """Bring a present CPU on line; of the cpusets only the root regains it."""
    if not kernel.cpu_present >> cpu & 1:
        raise EINVAL(f"CPU {cpu} is not present")
    if kernel.cpu_online >> cpu & 1:
        return
    kernel.cpu_online |= 1 << cpu
    kernel.printk(f"smpboot: Booting Node {kernel.cpu_to_node[cpu]} Processor {cpu} APIC {cpu:#x}", Level.INFO)
    cpuset_update_active_cpus(kernel)


def cpu_down(kernel: Kernel, cpu: int) -> None:
    """Take a CPU off line: its tasks go elsewhere, cpusets lose it."""
    if not kernel.cpu_present >> cpu & 1:
        raise EINVAL(f"CPU {cpu} is not present")
    if not kernel.cpu_online >> cpu & 1:
        return
    if not cpu_hotpluggable(cpu):
        raise EPERM("the boot CPU stays on line")
    if kernel.cpu_online == 1 << cpu:
        raise EBUSY(f"CPU {cpu} is the last one")
    kernel.cpu_online &= ~(1 << cpu)
    kernel.printk(f"smpboot: CPU {cpu} is now offline", Level.INFO)
    for task in kernel.tasks:
        if task.cpu == cpu and not task.bound:
            select_fallback_rq(kernel, task)
    cpuset_update_active_cpus(kernel)
