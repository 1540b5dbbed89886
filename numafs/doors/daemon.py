# SPDX-License-Identifier: MIT
"""A mount in the background: fork, boot, mount, and tell who waits when it answers."""

from __future__ import annotations

import ctypes
import logging
import logging.handlers
import os
import select
import signal
import sys
from collections.abc import Callable

__all__ = ["background", "end", "log_to_stderr", "log_to_syslog"]

log = logging.getLogger("numafs.door")

READY = b"ready\n"
PR_SET_PDEATHSIG = 1


def background(serve: Callable[[Callable[[], None]], None], *, outlive: bool = True) -> tuple[int, str]:
    """Run `serve(ready)` in a daemon of its own session; returns its pid when it called `ready`.

    If it ends without, the second value says why, and it is empty otherwise. Unless it is to `outlive` this
    thread, it is terminated when that ends, however that ends.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        if not outlive:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        _child(serve, writer)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.readline()
        if said == READY:
            return pid, ""
        said += pipe.read()
    os.waitpid(pid, 0)
    return pid, said.decode("utf-8", "replace").strip() or "the daemon died before it mounted"


def _child(serve: Callable[[Callable[[], None]], None], writer: int) -> None:
    """The daemon; never returns."""
    status = 0
    told = False

    def ready() -> None:
        nonlocal told
        _leave_terminal()
        os.write(writer, READY)
        os.close(writer)
        told = True

    try:
        os.setsid()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        serve(ready)
    except BaseException as error:
        status = 1
        if told:
            log.exception("the daemon stops")
        else:
            os.write(writer, (str(error) or repr(error)).encode())
    finally:
        logging.shutdown()
        os._exit(status)


def end(pid: int, grace_s: float = 5.0) -> None:
    """Wait for a daemon that was unmounted; one that something keeps busy is killed."""
    pidfd = os.pidfd_open(pid)
    for sent in (signal.SIGTERM, signal.SIGKILL):
        if select.select([pidfd], [], [], grace_s)[0]:
            break
        signal.pidfd_send_signal(pidfd, sent)
    os.close(pidfd)
    os.waitpid(pid, 0)


def _leave_terminal() -> None:
    """Let go of what would keep a terminal, a pipe or a directory busy."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)


def log_to_stderr(level: int) -> None:
    """Log as a program in the foreground does."""
    logging.basicConfig(
        level=level, stream=sys.stderr, format="%(asctime)s.%(msecs)03d %(name)s: %(message)s", datefmt="%H:%M:%S",
        force=True,
    )


def log_to_syslog(level: int, ident: str) -> None:
    """Log to the journal or syslog; to nowhere where neither runs."""
    handlers: list[logging.Handler] = []
    if os.path.exists("/dev/log"):
        syslog = logging.handlers.SysLogHandler("/dev/log", facility=logging.handlers.SysLogHandler.LOG_DAEMON)
        syslog.ident = f"{ident}[{os.getpid()}]: "
        handlers.append(syslog)
    logging.basicConfig(
        level=level, handlers=handlers or [logging.NullHandler()], format="%(name)s: %(message)s", force=True,
    )
