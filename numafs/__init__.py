# SPDX-License-Identifier: MIT
"""numafs: a NUMA machine with a live model of Linux memory management, to drive from Python or to mount.

>>> import numafs
>>> kernel = numafs.load("ring4")                   # a booted kernel, without any mount
>>> task = numafs.Task(kernel, node=0)              # a modelled task on node 0
>>> task.alloc("300M", touch=True)                  # maps region 0
0
>>> task.where()
{0: 76800}
>>> task.migrate("0", "2-3")
0
>>> task.where()
{2: 76800}
>>> numafs.check(kernel)                            # raises Inconsistent, were the model wrong

    with numafs.mounted("ring4") as root:         the machine as files
        print((root / "sys/devices/system/node/node0/meminfo").read_text())

A machine is a file, the name of one that comes with numafs, or a short form such as `4x2:512M`.
`load` and `mounted` raise `MachineError` if it is none, `mounted` raises `MountFailed`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from numafs.doors.errors import MountFailed
    from numafs.doors.mounting import mounted
    from numafs.fs.verbs import run_verb
    from numafs.kernel.check import Inconsistent, check
    from numafs.kernel.kernel import Kernel
    from numafs.machine.errors import MachineError
    from numafs.machine.spec import Machine
    from numafs.task import Task

__all__ = [
    "Inconsistent", "Kernel", "Machine", "MachineError", "MountFailed", "Task", "check", "load", "mounted", "run_verb",
]

HOMES = {
    "Inconsistent": "numafs.kernel.check",
    "Kernel": "numafs.kernel.kernel",
    "Machine": "numafs.machine.spec",
    "MachineError": "numafs.machine.errors",
    "MountFailed": "numafs.doors.errors",
    "Task": "numafs.task",
    "check": "numafs.kernel.check",
    "mounted": "numafs.doors.mounting",
    "run_verb": "numafs.fs.verbs",
}
"""Where the names of the API live. Imported when first asked for: `numafs --help` needs none of them."""


def __getattr__(name: str) -> Any:
    if name not in HOMES:
        raise AttributeError(f"module 'numafs' has no attribute {name!r}")
    return getattr(import_module(HOMES[name]), name)


def load(machine: Machine | str | Path) -> Kernel:
    """The booted kernel of a machine."""
    from numafs.kernel.boot import boot
    from numafs.machine.presets import resolve
    from numafs.machine.spec import Machine

    return boot(machine if isinstance(machine, Machine) else resolve(str(machine)))
