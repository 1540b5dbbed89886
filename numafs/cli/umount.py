# SPDX-License-Identifier: MIT
"""`numafs umount DIR`."""

from __future__ import annotations

from collections.abc import Sequence

from numafs.doors import mounts

from .parser import ERROR, OK, VerbParser, fail

__all__ = ["run"]


def run(argv: Sequence[str]) -> int:
    """`numafs umount`."""
    made = VerbParser("numafs umount", "Unmount the machine on DIR, which ends its daemon.")
    made.add_argument("directory", metavar="DIR")
    made.add_argument("-l", action="store_true", dest="lazy", help="even if it is in use")
    arguments = made.read(argv)
    if mounts.mount_at(arguments.directory) is None:
        return fail(f"{arguments.directory}: no machine is mounted there", ERROR)
    try:
        mounts.unmount(mounts.real(arguments.directory), lazy=arguments.lazy)
    except OSError as error:
        return fail(f"{arguments.directory}: {error.strerror}", ERROR)
    return OK
