# SPDX-License-Identifier: MIT
"""What every device directory of sysfs has: uevent and power/.

drivers/base/core.c, drivers/base/power/sysfs.c, lib/kobject_uevent.c (v6.1). No device of this
tree is ever suspended: power management is not enabled for any of them.
"""

from __future__ import annotations

import re
from typing import Any

from numafs.kernel.errors import EINVAL, EIO

from .attr import Attr, Caller
from .numbers import sysfs_word
from .tree import Dir

__all__ = ["UEVENT", "add_power"]

_ACTION = re.compile(r"(add|remove|change|move|online|offline|bind|unbind)( [0-9a-fA-F-]{36}( \w+=\w+)*)?")


def uevent_store(device: Any, data: bytes, caller: Caller) -> None:
    """Nobody listens here: a proper action is accepted. lib/kobject_uevent.c:kobject_synth_uevent() (v6.1)."""
    word = sysfs_word(data)
    if not _ACTION.fullmatch(word):
        raise EINVAL(f"unknown uevent action {word!r}")


def empty_show(obj: Any) -> str:
    """Nothing."""
    return ""


UEVENT: Attr[Any] = Attr("uevent", 0o644, empty_show, uevent_store, size=4096)


class Power:
    """The two switches of a device's power directory that can be turned; they change nothing."""

    def __init__(self) -> None:
        self.control = "auto"
        self.async_ = "disabled"


def control_store(power: Power, data: bytes, caller: Caller) -> None:
    """`on` or `auto`."""
    word = sysfs_word(data)
    if word not in ("auto", "on"):
        raise EINVAL(f"{word!r} is neither auto nor on")
    power.control = word


def async_store(power: Power, data: bytes, caller: Caller) -> None:
    """`enabled` or `disabled`."""
    word = sysfs_word(data)
    if word not in ("enabled", "disabled"):
        raise EINVAL(f"{word!r} is neither enabled nor disabled")
    power.async_ = word


def autosuspend_show(power: Power) -> str:
    """No device here uses autosuspend."""
    raise EIO("autosuspend is not used")


def autosuspend_store(power: Power, data: bytes, caller: Caller) -> None:
    """No device here uses autosuspend."""
    raise EIO("autosuspend is not used")


POWER: tuple[Attr[Power], ...] = (
    Attr("async", 0o644, lambda power: power.async_ + "\n", async_store, size=4096),
    Attr("autosuspend_delay_ms", 0o644, autosuspend_show, autosuspend_store, size=4096),
    Attr("control", 0o644, lambda power: power.control + "\n", control_store, size=4096),
    Attr("runtime_active_kids", 0o444, lambda power: "0\n", size=4096),
    Attr("runtime_active_time", 0o444, lambda power: "0\n", size=4096),
    Attr("runtime_enabled", 0o444, lambda power: "disabled\n", size=4096),
    Attr("runtime_status", 0o444, lambda power: "unsupported\n", size=4096),
    Attr("runtime_suspended_time", 0o444, lambda power: "0\n", size=4096),
    Attr("runtime_usage", 0o444, lambda power: "0\n", size=4096),
)


def add_power(device: Dir) -> None:
    """Enter power/ in a device's directory."""
    device.dir("power").add_files(POWER, Power())
