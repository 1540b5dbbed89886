# SPDX-License-Identifier: MIT
"""/sys/kernel/mm/transparent_hugepage/khugepaged: what khugepaged may do, and what it did. mm/khugepaged.c (v6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from numafs.kernel.errors import EINVAL
from numafs.kernel.page import HPAGE_PMD_NR

from .attr import Attr, Caller
from .numbers import kstrtoul

if TYPE_CHECKING:
    from collections.abc import Callable

    from numafs.kernel.kernel import Kernel

__all__ = ["KHUGEPAGED"]

UINT_MAX = 2**32 - 1


def _show(name: str) -> Callable[[Kernel], str]:
    return lambda kernel: f"{getattr(kernel.khugepaged, name)}\n"


def _row(name: str, low: int, high: int, *, wakes: bool = False) -> Attr[Kernel]:
    """A number from `low` to `high`; a new time to sleep ends the present sleep."""

    def store(kernel: Kernel, data: bytes, caller: Caller) -> None:
        try:
            value = kstrtoul(data)
        except OSError as bad:
            raise (bad if name == "defrag" else EINVAL(f"{data!r} is no such number")) from None
        if not low <= value <= high:
            raise EINVAL(f"{value} is not from {low} to {high}")
        setattr(kernel.khugepaged, name, value)
        if wakes:
            kernel.khugepaged.wake(kernel)

    return Attr(name, 0o644, _show(name), store, size=4096)


KHUGEPAGED: tuple[Attr[Kernel], ...] = (
    _row("alloc_sleep_millisecs", 0, UINT_MAX, wakes=True),
    _row("defrag", 0, 1),
    Attr("full_scans", 0o444, _show("full_scans"), size=4096),
    _row("max_ptes_none", 0, HPAGE_PMD_NR - 1),
    _row("max_ptes_shared", 0, HPAGE_PMD_NR - 1),
    _row("max_ptes_swap", 0, HPAGE_PMD_NR - 1),
    Attr("pages_collapsed", 0o444, _show("pages_collapsed"), size=4096),
    _row("pages_to_scan", 1, UINT_MAX),
    _row("scan_sleep_millisecs", 0, UINT_MAX, wakes=True),
)
