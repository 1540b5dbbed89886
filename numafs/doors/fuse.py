# SPDX-License-Identifier: MIT
"""The door of directories: a `Service` behind a FUSE mount.

The only importer of a FUSE binding: mfusepy where it is installed (it knows libfuse 3 and 2),
else fusepy (libfuse 2). Only what both share is used: their structs and prototypes. Callbacks
are bound without the bindings' generic wrapper, which costs as much as the rest of a read.

One thread serves: it is faster than many under the interpreter's lock. `direct_io`, because files
of size 0 would read empty, and what a file says changes. How long the kernel may remember a
name differs from name to name; libfuse 3 fills the timeouts in from its configuration after
getattr returns, so that getattr can set them. libfuse 2 remembers nothing here.

Simplified: fstat(2) of what was removed while it was open is ESTALE, because libfuse asks by path. sendfile(2) from
a file of size 0 whose open file has been asked for its size (fstat, lseek to the end) finds it empty; read(2) does not.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import stat
import time
from collections.abc import Callable, Sequence
from errno import EIO
from importlib import import_module
from pathlib import Path
from typing import Any

from numafs.fs.attr import Caller
from numafs.kernel.errors import ERANGE

from .errors import MountFailed
from .service import Entry, Service, reason
from .session import LOOKUP, Session

__all__ = ["FuseDoor", "binding"]

log = logging.getLogger("numafs.door")

UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
LOGGED = frozenset(
    ("write", "mkdir", "rmdir", "unlink", "rename", "chmod", "chown", "truncate", "create", "setxattr", "utimens")
)
"""Operations whose refusal is worth a line of the log."""
QUIET = frozenset(("release", "releasedir", "readdir"))
"""Operations that no time need pass for: one that it passes for came just before."""


def binding() -> Any:
    """The FUSE binding's module; raises MountFailed if there is none that works here.

    NUMAFS_FUSE names one to use: `mfusepy` or `fusepy`; FUSE_LIBRARY_NAME a library for mfusepy.
    """
    wanted = os.environ.get("NUMAFS_FUSE", "")
    problems = []
    for package, module, library in (("mfusepy", "mfusepy", "fuse3"), ("mfusepy", "mfusepy", "fuse"),
                                     ("fusepy", "fuse", "")):
        if wanted and wanted != package:
            continue
        try:
            found = _load(module, library)
        except (ImportError, OSError) as error:
            problems.append(f"{package}: {error}")
            continue
        if hasattr(found, "fuse_operations"):
            return found
        problems.append(f"{package}: module {module} is another package's (python-fuse?)")
    raise MountFailed(
        "no FUSE binding works: " + "; ".join(dict.fromkeys(problems))
        + " (apt install libfuse3-3 and pip install 'numafs[fuse3]', or libfuse2 with fusepy)"
    )


def _load(module: str, library: str) -> Any:
    if not library or "FUSE_LIBRARY_NAME" in os.environ:
        return import_module(module)
    os.environ["FUSE_LIBRARY_NAME"] = library
    try:
        return import_module(module)
    finally:
        del os.environ["FUSE_LIBRARY_NAME"]


class _Context(ctypes.Structure):
    """struct fuse_context; fusepy's lacks the umask."""

    _fields_ = (
        ("fuse", ctypes.c_void_p),
        ("uid", ctypes.c_uint32),
        ("gid", ctypes.c_uint32),
        ("pid", ctypes.c_int32),
        ("private_data", ctypes.c_void_p),
        ("umask", ctypes.c_uint32),
    )


class FuseDoor:
    """Serves one `Service` at one directory."""

    def __init__(self, service: Service, *, strict: bool = False, ready: Callable[[], None] = lambda: None) -> None:
        self.service = service
        self.strict = strict
        self.bug: BaseException | None = None
        """What stopped the door, with `strict`."""
        self._fuse = binding()
        self._ready = ready
        self._config: Any = None
        self._serving = False
        self._owner = os.geteuid()
        self._root = (_shown("uid_map", self._owner), _shown("gid_map", os.getegid()))
        self._context: Any = None
        self._last_caller = Caller()
        self._library = self._fuse._libfuse
        self._library.fuse_get_context.restype = ctypes.POINTER(_Context)
        self._stat_size = ctypes.sizeof(self._fuse.c_stat)
        self._session = Session(self._library, self.major)

    @property
    def major(self) -> int:
        """The version of libfuse: 2 or 3."""
        return getattr(self._fuse, "fuse_version_major", 2)

    def serve(self, mountpoint: str, options: Sequence[str], *, debug: bool = False) -> None:
        """Mount, and answer until somebody unmounts or a signal comes; raises MountFailed."""
        arguments = ["numafs", "-o", ",".join(self._options(options)), *(["-d"] if debug else [])]
        operations = self._operations()
        # libfuse catches the signals that nobody else does, and leaves its loop.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        status = self._session.run(arguments, mountpoint, operations)
        if self.bug is not None:
            raise self.bug
        if status and not self._serving:
            raise MountFailed(f"{mountpoint}: libfuse could not mount it (status {status})")

    def stop(self) -> None:
        """Leave the loop after this operation."""
        self._library.fuse_exit(ctypes.c_void_p(self._library.fuse_get_context().contents.fuse))

    # -- what libfuse is given -----------------------------------------------------------------

    def _options(self, options: Sequence[str]) -> list[str]:
        if self.major == 3:
            return list(options)
        return [
            *options, "direct_io", "use_ino", "hard_remove", "big_writes", "atomic_o_trunc", "attr_timeout=0",
            "entry_timeout=0", "negative_timeout=0",
        ]

    def _operations(self) -> Any:
        operations = self._fuse.fuse_operations()
        for name, prototype, *_ in self._fuse.fuse_operations._fields_:
            body = getattr(self, f"_{name}", None)
            if body is not None and hasattr(prototype, "argtypes"):
                setattr(operations, name, prototype(body if name == "init" else self._guarded(name, body)))
        if self.major == 2:
            operations.flag_nullpath_ok = operations.flag_nopath = 1
        return operations

    def _guarded(self, name: str, body: Callable[..., int | None]) -> Callable[..., int]:
        """A callback that answers with an errno whatever happens."""
        service = self.service
        hooks = name not in QUIET

        def call(*arguments: Any) -> int:
            with service.lock:
                try:
                    if hooks:
                        service.begin()
                    result = body(*arguments) or 0
                    if hooks:
                        service.end()
                    return result
                except OSError as error:
                    if name in LOGGED:
                        log.warning("%s: %s", self._describe(name, arguments), reason(error))
                    elif log.isEnabledFor(logging.DEBUG):
                        log.debug("%s: %s", self._describe(name, arguments), reason(error))
                    return -(error.errno or EIO)
                except BaseException as error:
                    self._failed(name, arguments, error)
                    return -EIO

        return call

    def _failed(self, name: str, arguments: tuple[Any, ...], error: BaseException) -> None:
        log.exception("bug in numafs: %s", self._describe(name, arguments))
        if self.strict or not isinstance(error, Exception):
            self.bug = error
            self.stop()

    def _describe(self, name: str, arguments: tuple[Any, ...]) -> str:
        """What was tried, for the log: `path <- "data"` or `mkdir path`."""
        path = os.fsdecode(arguments[0]) if arguments and isinstance(arguments[0], bytes) else ""
        if name == "write":
            data = ctypes.string_at(arguments[1], min(arguments[2], 200))
            text = data.decode("utf-8", "backslashreplace").replace("\n", "\\n")
            return f'{self._opened_path(arguments[4])} <- "{text}"'
        return f"{name} {path or self._opened_path(arguments[-1])}"

    def _opened_path(self, info: Any) -> str:
        try:
            return self.service.opened(info.contents.fh).path
        except (AttributeError, KeyError, ValueError):
            return "?"

    def _caller(self) -> Caller:
        """Who asks; whoever mounted the machine is its root."""
        context = self._context
        if context is None:  # libfuse fills in the same one each time: there is one thread
            context = self._context = self._library.fuse_get_context().contents
        pid, uid, gid, umask = context.pid, context.uid, context.gid, context.umask
        if uid == self._owner:
            uid = gid = 0
        last = self._last_caller
        if last.pid != pid or last.uid != uid or last.gid != gid or last.umask != umask:
            last = self._last_caller = Caller(pid, uid, gid, umask)
        return last

    # -- callbacks: the C signatures of struct fuse_operations, of libfuse 2 and 3 --------------

    def _init(self, connection: Any, config: Any = None) -> None:
        if self.major == 3 and config:
            self._config = config.contents
            for name in ("direct_io", "use_ino", "hard_remove", "nullpath_ok"):
                setattr(self._config, name, 1)
            self._config.negative_timeout = 0.0
        self._serving = True
        self._ready()

    def _getattr(self, path: bytes | None, buffer: Any, info: Any = None) -> None:
        if path is not None:
            where = os.fsdecode(path)
            looked_up = self._session.opcode == LOOKUP
            self._fill(buffer, self.service.lookup(where, self._caller) if looked_up else self.service.getattr(where))
        else:
            self._fgetattr(path, buffer, info)

    def _fgetattr(self, _path: bytes | None, buffer: Any, info: Any) -> None:
        opened = self.service.opened(info.contents.fh)
        self._fill(buffer, self.service.entry(opened.path, opened.node))

    def _fill(self, buffer: Any, entry: Entry) -> None:
        ctypes.memset(buffer, 0, self._stat_size)
        attributes, target = entry.stat, buffer.contents
        target.st_mode = attributes.mode
        target.st_nlink = attributes.nlink
        target.st_uid = attributes.uid or self._root[0]
        target.st_gid = attributes.gid or self._root[1]
        target.st_size = attributes.size
        target.st_ino = entry.ino
        target.st_blksize = 4096
        access_ns, change_ns = entry.times_ns
        target.st_atimespec.tv_sec, target.st_atimespec.tv_nsec = divmod(access_ns, 10**9)
        target.st_mtimespec.tv_sec, target.st_mtimespec.tv_nsec = divmod(change_ns, 10**9)
        target.st_ctimespec.tv_sec, target.st_ctimespec.tv_nsec = divmod(change_ns, 10**9)
        if self._config is not None:
            self._config.entry_timeout = entry.entry_timeout
            self._config.attr_timeout = entry.attr_timeout

    def _readlink(self, path: bytes, buffer: Any, size: int) -> None:
        target = os.fsencode(self.service.readlink(os.fsdecode(path), self._caller()))[: size - 1] + b"\0"
        ctypes.memmove(buffer, target, len(target))

    def _opendir(self, path: bytes, info: Any) -> None:
        info.contents.fh = self.service.opendir(os.fsdecode(path), self._caller())

    def _readdir(self, _path: bytes | None, buffer: Any, filler: Any, _offset: int, info: Any, *flags: int) -> None:
        entry = self._fuse.c_stat()
        extra = (0,) if flags else ()
        for name, kind, ino in self.service.readdir(info.contents.fh):
            entry.st_mode, entry.st_ino = kind, ino
            if filler(buffer, os.fsencode(name), ctypes.byref(entry), 0, *extra):
                return

    def _releasedir(self, _path: bytes | None, info: Any) -> None:
        self.service.release(info.contents.fh)

    def _access(self, path: bytes, mask: int) -> None:
        self.service.access(os.fsdecode(path), mask, self._caller())

    def _mknod(self, path: bytes, mode: int, _device: int) -> None:
        self.service.mknod(os.fsdecode(path), mode, self._caller())

    def _mkdir(self, path: bytes, mode: int) -> None:
        self.service.mkdir(os.fsdecode(path), stat.S_IMODE(mode), self._caller())

    def _unlink(self, path: bytes) -> None:
        self.service.unlink(os.fsdecode(path), self._caller())

    def _rmdir(self, path: bytes) -> None:
        self.service.rmdir(os.fsdecode(path), self._caller())

    def _symlink(self, target: bytes, path: bytes) -> None:
        self.service.symlink(os.fsdecode(path), os.fsdecode(target), self._caller())

    def _link(self, target: bytes, path: bytes) -> None:
        self.service.symlink(os.fsdecode(path), os.fsdecode(target), self._caller())

    def _rename(self, old: bytes, new: bytes, flags: int = 0) -> None:
        self.service.rename(os.fsdecode(old), os.fsdecode(new), flags, self._caller())

    def _chmod(self, path: bytes | None, mode: int, *info: Any) -> None:
        self.service.chmod(self._path(path, info), mode, self._caller())

    def _chown(self, path: bytes | None, uid: int, gid: int, *info: Any) -> None:
        self.service.chown(self._path(path, info), _signed(uid), _signed(gid), self._caller())

    def _truncate(self, path: bytes | None, length: int, info: Any = None) -> None:
        if path is None:
            self._ftruncate(path, length, info)
        else:
            self.service.truncate(os.fsdecode(path), length, self._caller())

    def _ftruncate(self, _path: bytes | None, length: int, info: Any) -> None:
        self.service.ftruncate(info.contents.fh, length)

    def _utimens(self, path: bytes | None, times: Any, *info: Any) -> None:
        now = time.time_ns()
        access, change = (times.contents.actime, times.contents.modtime) if times else (None, None)
        where = self._path(path, info)
        old = self.service.getattr(where).times_ns
        self.service.utimens(where, (_when(access, now, old[0]), _when(change, now, old[1])), self._caller())

    def _setxattr(self, path: bytes, name: bytes, value: Any, size: int, _flags: int, *_position: int) -> None:
        data = ctypes.string_at(value, size)
        self.service.setxattr(os.fsdecode(path), os.fsdecode(name), data, self._caller())

    def _getxattr(self, path: bytes, name: bytes, buffer: Any, size: int, *_position: int) -> int:
        return _give(self.service.getxattr(os.fsdecode(path), os.fsdecode(name), self._caller()), buffer, size)

    def _listxattr(self, path: bytes, buffer: Any, size: int) -> int:
        names = self.service.listxattr(os.fsdecode(path), self._caller())
        return _give(b"".join(os.fsencode(name) + b"\0" for name in names), buffer, size)

    def _removexattr(self, path: bytes, name: bytes) -> None:
        self.service.removexattr(os.fsdecode(path), os.fsdecode(name), self._caller())

    def _open(self, path: bytes, info: Any) -> None:
        opened = info.contents
        opened.fh = self.service.open(os.fsdecode(path), opened.flags, self._caller())

    def _create(self, path: bytes, mode: int, info: Any) -> None:
        opened = info.contents
        opened.fh = self.service.create(os.fsdecode(path), stat.S_IMODE(mode), opened.flags, self._caller())

    def _read(self, _path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
        data = self.service.read(info.contents.fh, size, offset, self._caller())
        ctypes.memmove(buffer, data, len(data))
        return len(data)

    def _write(self, _path: bytes | None, buffer: Any, size: int, offset: int, info: Any) -> int:
        data = ctypes.string_at(buffer, size)
        return self.service.write(info.contents.fh, data, offset, self._caller())

    def _fsync(self, _path: bytes | None, _datasync: int, info: Any) -> None:
        self.service.fsync(info.contents.fh)

    def _release(self, _path: bytes | None, info: Any) -> None:
        self.service.release(info.contents.fh)

    def _path(self, path: bytes | None, info: tuple[Any, ...]) -> str:
        """The path of an operation that may come with an open file instead."""
        return os.fsdecode(path) if path is not None else self.service.opened(info[0].contents.fh).path


def _shown(table: str, own: int) -> int:
    """As whose the files of root are shown: in a user namespace without root, the kernel lets nobody write them."""
    for line in Path("/proc/self", table).read_text().splitlines():
        if line.split()[0] == "0":
            return 0
    return own


def _signed(number: int) -> int:
    """A uid_t argument: -1 arrives unsigned."""
    return -1 if number == 0xFFFFFFFF else number


def _when(spec: Any, now_ns: int, old_ns: int) -> int:
    """Nanoseconds that a timespec of utimensat(2) means."""
    if spec is None or spec.tv_nsec == UTIME_NOW:
        return now_ns
    if spec.tv_nsec == UTIME_OMIT:
        return old_ns
    return int(spec.tv_sec) * 10**9 + int(spec.tv_nsec)


def _give(data: bytes, buffer: Any, size: int) -> int:
    """The answer to getxattr and listxattr: a size of 0 asks for the length."""
    if not size:
        return len(data)
    if size < len(data):
        raise ERANGE(f"{len(data)} bytes in {size}")
    ctypes.memmove(buffer, data, len(data))
    return len(data)
