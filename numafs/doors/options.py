# SPDX-License-Identifier: MIT
"""The options behind `-o`: ours, those of FUSE, and those that only fstab means."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .pace import parse_rate

__all__ = ["HELP", "MountOptions", "parse_options"]

FUSE_FLAGS = frozenset(
    ("allow_other", "allow_root", "auto_unmount", "default_permissions", "nonempty", "ro", "rw", "dev", "nodev", "suid",
     "nosuid", "exec", "noexec", "atime", "noatime", "sync", "async", "dirsync")
)
FUSE_VALUES = frozenset(("fsname", "subtype", "max_read", "max_write", "modules"))
FSTAB_ONLY = frozenset(("defaults", "auto", "noauto", "user", "nouser", "users", "nofail", "_netdev", "relatime"))
HELP = """\
options of numafs for -o:
  machine=MACHINE  the machine, where it is not an argument
  time=wall        the model's clock follows the wall clock (default); time=x10: ten times as fast;
                   time=step: it stands still but for what operations cost and numafs/step lets pass
  seed=N           seed of the machine's randomness
  check            check the whole model after each operation; what is inconsistent is EIO and logged
  strict           a bug stops the daemon, instead of EIO and a traceback in the log
  kill             a write to cgroup.kill kills the real processes of the group too
  release_agent    run the program that the file of this name of cgroup v1 names when a group becomes empty
  nowatch          do not plug in and out what an edit of the machine file says
options of FUSE: allow_other (default for root) allow_root auto_unmount default_permissions ro fsname=
  max_read= ...; options of fstab such as noauto, nofail and x-* are accepted
"""


@dataclass(frozen=True)
class MountOptions:
    """What was asked for with -o."""

    machine: str = ""
    rate: float = 1.0
    """Of the model's clock to the wall clock; 0 stands still."""
    seed: int | None = None
    check: bool = False
    strict: bool = False
    kill: bool = False
    release_agent: bool = False
    watch: bool = True
    fuse: tuple[str, ...] = ()
    """For libfuse."""


def parse_options(texts: Iterable[str]) -> MountOptions:
    """Options of several `-o a,b=c`. Raises ValueError naming the first that nobody knows."""
    known: dict[str, object] = {}
    fuse: list[str] = []
    for option in filter(None, ",".join(texts).split(",")):
        key, equals, value = option.partition("=")
        if key in FUSE_FLAGS and not equals or key in FUSE_VALUES and equals:
            fuse.append(option)
        elif key not in FSTAB_ONLY and not key.startswith(("x-", "comment")):
            known.update(_ours(option, key, value, bool(equals)))
    return MountOptions(fuse=tuple(fuse), **known)  # type: ignore[arg-type]


def _ours(option: str, key: str, value: str, has_value: bool) -> dict[str, object]:
    match key, has_value:
        case "check" | "kill" | "release_agent" | "strict", False:
            return {key: True}
        case "nowatch", False:
            return {"watch": False}
        case "time", True:
            return {"rate": parse_rate(value)}
        case "machine", True if value:
            return {key: value}
        case "seed", True:
            if not value.isdecimal():
                raise ValueError(f"{option}: a seed is a number")
            return {key: int(value)}
    raise ValueError(f"{option}: no such option")
