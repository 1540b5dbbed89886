# SPDX-License-Identifier: MIT
"""The release agent: a program of this host that is run when a group of the mount becomes empty.

Only with the option `release_agent`, because whoever may write the file of that name chooses the
program. It runs as a usermode helper of the kernel does: as the mount's root, in /, with nothing but
HOME and PATH, and nobody waits for it. kernel/cgroup/cgroup-v1.c:cgroup1_release_agent() (v6.1).
"""

from __future__ import annotations

import logging
import subprocess
import threading

__all__ = ["not_run", "start_agent"]

log = logging.getLogger("numafs.door")

ENVIRONMENT = {"HOME": "/", "PATH": "/sbin:/bin:/usr/sbin:/usr/bin"}


def not_run(agent: str, path: str) -> None:
    """What happens without the option."""
    log.warning("release agent %s %s was to be run; the mount has no option `release_agent`", agent, path)


def start_agent(agent: str, path: str) -> None:
    """Run AGENT PATH. In a thread of its own: the program may lie in the mount, which is busy with this call."""
    threading.Thread(target=_run, args=(agent, path), name="release agent", daemon=True).start()


def _run(agent: str, path: str) -> None:
    """call_usermodehelper(), and what came of it in the log."""
    try:
        done = subprocess.run(
            [agent, path], env=ENVIRONMENT, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True, check=False,
        )
    except OSError as error:
        log.warning("release agent %s %s could not be run: %s", agent, path, error.strerror)
    else:
        log.info("release agent %s %s ended with status %d", agent, path, done.returncode)
