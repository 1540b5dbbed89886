# SPDX-License-Identifier: MIT
"""How the kernel says no: an OSError with an errno and a reason.

The writer of a file sees only the errno, so the door logs the reason.
"""

from __future__ import annotations

import errno as _errno
import os

__all__ = [
    "E2BIG", "EACCES", "EAGAIN", "EBUSY", "EEXIST", "EFAULT", "EINVAL", "EIO", "ENODEV", "ENOENT", "ENOMEM", "ENOSPC",
    "ENOTDIR", "EOPNOTSUPP", "EOVERFLOW", "EPERM", "ERANGE", "ESRCH", "TaskKilled", "refuse",
]


def refuse(number: int, why: str) -> OSError:
    """An OSError of errno `number`; its text is the errno's own and the reason."""
    return OSError(number, f"{os.strerror(number)}: {why}")


def E2BIG(why: str) -> OSError:
    return refuse(_errno.E2BIG, why)


def EACCES(why: str) -> OSError:
    return refuse(_errno.EACCES, why)


def EAGAIN(why: str) -> OSError:
    return refuse(_errno.EAGAIN, why)


def EBUSY(why: str) -> OSError:
    return refuse(_errno.EBUSY, why)


def EEXIST(why: str) -> OSError:
    return refuse(_errno.EEXIST, why)


def EFAULT(why: str) -> OSError:
    return refuse(_errno.EFAULT, why)


def EINVAL(why: str) -> OSError:
    return refuse(_errno.EINVAL, why)


def EIO(why: str) -> OSError:
    return refuse(_errno.EIO, why)


def ENODEV(why: str) -> OSError:
    return refuse(_errno.ENODEV, why)


def ENOENT(why: str) -> OSError:
    return refuse(_errno.ENOENT, why)


def ENOMEM(why: str) -> OSError:
    return refuse(_errno.ENOMEM, why)


def ENOSPC(why: str) -> OSError:
    return refuse(_errno.ENOSPC, why)


def ENOTDIR(why: str) -> OSError:
    return refuse(_errno.ENOTDIR, why)


def EOPNOTSUPP(why: str) -> OSError:
    return refuse(_errno.EOPNOTSUPP, why)


def EOVERFLOW(why: str) -> OSError:
    return refuse(_errno.EOVERFLOW, why)


def EPERM(why: str) -> OSError:
    return refuse(_errno.EPERM, why)


def ERANGE(why: str) -> OSError:
    return refuse(_errno.ERANGE, why)


def ESRCH(why: str) -> OSError:
    return refuse(_errno.ESRCH, why)


class TaskKilled(Exception):
    """The task that was executing got SIGKILL, e.g. from the OOM killer; what it had done so far is done."""
