# SPDX-License-Identifier: MIT
"""A machine, mounted: boots it, builds its tree, serves it until somebody unmounts it."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from numafs.machine.presets import path_of, resolve
from numafs.machine.spec import Machine

from . import mounts
from .daemon import background, end
from .errors import MountFailed
from .notify import sd_notify
from .options import MountOptions

__all__ = ["mounted", "prepare", "serve"]

log = logging.getLogger("numafs.door")


def prepare(directory: str) -> str:
    """Make sure that `directory` can be mounted on; the message about a dead mount that was there, or nothing.

    Raises MountFailed.
    """
    if mounts.is_stale(directory):
        return _replace_stale(directory)
    if not os.path.isdir(directory):
        problem = "is no directory" if os.path.exists(directory) else "no such directory"
        raise MountFailed(f"{directory}: {problem}")
    if mounts.mount_at(directory):
        raise MountFailed(f"{directory}: a machine is mounted there already; numafs umount {directory}")
    return ""


def _replace_stale(directory: str) -> str:
    if mounts.mount_at(directory) is None:
        raise MountFailed(f"{directory}: a dead mount is there that is not ours")
    try:
        mounts.unmount(directory, lazy=True)
    except OSError as error:
        raise MountFailed(f"{directory}: the stale mount of a killed daemon cannot be removed: {error}") from error
    return f"{directory}: replacing the stale mount of a killed daemon"


def serve(
    machine: Machine, directory: str, options: MountOptions, *, file: Path | None = None, debug: bool = False,
    ready: Callable[[], None] = lambda: None,
) -> None:
    """Boot `machine` and serve it at `directory` until it is unmounted; `file` is watched for edits.

    Raises MountFailed.
    """
    # Here, not above: numpy and the binding cost what `numafs --help` need not pay.
    from numafs.fs.root import build
    from numafs.kernel.boot import boot

    from .fuse import FuseDoor
    from .hotplug_watch import HotplugWatch
    from .launch import LaunchDoor
    from .pace import Pace
    from .real_tasks import RealTasks
    from .release_agent import not_run, start_agent
    from .service import Service

    kernel = boot(machine if options.seed is None else replace(machine, seed=options.seed))
    service = Service(build(kernel))
    tasks = RealTasks(kernel, may_kill=options.kill)
    kernel.cpusets.on_release = start_agent if options.release_agent else not_run
    if options.rate:
        service.before.append(Pace(kernel.clock, options.rate).tick)
    service.before.append(tasks.reap)
    service.before_open.append(tasks.follow)
    if options.check:
        from numafs.kernel.check import check

        service.after.append(lambda: check(kernel))
    watch = HotplugWatch(kernel, service, file) if file and options.watch else None
    launches = LaunchDoor(service, kernel, tasks, strict=options.strict)

    def answering() -> None:
        launches.start()
        if watch:
            watch.start()
        log.info("%s is mounted on %s", machine.name, directory)
        ready()
        sd_notify(f"READY=1\nSTATUS={machine.name} on {directory}")

    try:
        FuseDoor(service, strict=options.strict, ready=answering).serve(
            directory, fuse_options(machine, options), debug=debug
        )
    finally:
        sd_notify("STOPPING=1")
        if watch:
            watch.stop()
        launches.stop()
        tasks.close()
    log.info("%s is unmounted from %s", machine.name, directory)


def fuse_options(machine: Machine, options: MountOptions) -> list[str]:
    """What libfuse is told: the user's options, and our name in the mount table."""
    given = {option.partition("=")[0] for option in options.fuse}
    ours = {"fsname": f"fsname={machine.name.replace(',', ';')}", "subtype": "subtype=numafs"}
    if os.geteuid() == 0 and "allow_root" not in given:
        ours["allow_other"] = "allow_other"
    return [*options.fuse, *(text for key, text in ours.items() if key not in given)]


@contextmanager
def mounted(
    machine: Machine | str | Path, directory: str | Path | None = None, options: MountOptions | None = None
) -> Iterator[Path]:
    """`with mounted("ring4") as root:` a machine in a directory, served by a process of its own.

    Raises MountFailed and MachineError.
    """
    found = machine if isinstance(machine, Machine) else resolve(str(machine))
    file = None if isinstance(machine, Machine) else path_of(str(machine))
    where = Path(directory) if directory is not None else Path(tempfile.mkdtemp(prefix="numafs-"))
    prepare(str(where))
    pid, problem = background(
        lambda ready: serve(found, str(where), options or MountOptions(), file=file, ready=ready), outlive=False
    )
    if problem:
        raise MountFailed(problem)
    try:
        yield where
    finally:
        if mounts.mount_at(str(where)):
            mounts.unmount(str(where), lazy=True)
        end(pid)
        if directory is None:
            where.rmdir()
