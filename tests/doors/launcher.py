"""A program behind the filter, as `numafs run` starts it, without mounts: `session(kernel)` and `Session.run(...)`."""

from __future__ import annotations

import array
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from numafs.doors import seccomp
from numafs.doors.service import Service
from numafs.doors.syscalls import Supervisor
from numafs.fs.root import build
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.nodemask import hex_mask

__all__ = ["Sessions", "sessions"]

CHILD = """
import array, ctypes, os, re, socket, sys, tempfile
from numafs.doors.seccomp import install_filter
control, root, nodes, cpus, *command = sys.argv[1:]
control = socket.socket(fileno=int(control))
libc = ctypes.CDLL(None, use_errno=True)

def bind(source, target):
    if libc.mount(os.fsencode(source), os.fsencode(target), None, ctypes.c_ulong(0x1000), None):
        sys.exit(f"bind {target}: {os.strerror(ctypes.get_errno())}")

if root:
    assert not libc.unshare(0x20000)
    assert not libc.mount(None, b"/", None, ctypes.c_ulong(0x4000 | 1 << 18), None)
    for name in ("node", "cpu"):
        bind(f"{root}/sys/devices/system/{name}", f"/sys/devices/system/{name}")
    text = open("/proc/self/status").read()
    text = re.sub("(?m)^Mems_allowed:.*", "Mems_allowed:\\t" + nodes, text)
    text = re.sub("(?m)^Cpus_allowed:.*", "Cpus_allowed:\\t" + cpus, text)
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(text)
        file.flush()
        bind(file.name, "/proc/self/status")
try:
    listener = install_filter()
except OSError as error:
    sys.exit(f"filter: {error}")
control.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [listener]))])
os.close(listener)
control.recv(1)
os.execvp(command[0], command)
"""


class Sessions:
    """Starts programs whose system calls a supervisor in this process answers."""

    def __init__(self, kernel: Kernel, root: Path | None = None) -> None:
        self.kernel = kernel
        self.root = root
        """A mount of the same machine, for programs that read its files too."""
        self.service = Service(build(kernel))
        self.service.after.append(self._check)
        self.supervisor = Supervisor(self.service, kernel)

    def _check(self) -> None:
        check(self.kernel)

    def check_no_more(self) -> None:
        """Check only at the end: there will be many calls."""
        self.service.after.remove(self._check)

    def start(self, command: Sequence[str], **options) -> subprocess.Popen:
        """The command, running as itself behind the filter."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        environment = {**os.environ, "PYTHONPATH": str(Path(seccomp.__file__).parents[2]), **options.pop("env", {})}
        child = subprocess.Popen(
            [
                sys.executable, "-c", CHILD, str(theirs.fileno()), str(self.root or ""),
                hex_mask(self.kernel.node_states_memory, 32), hex_mask(self.kernel.cpu_online, 32), *command,
            ],
            pass_fds=[theirs.fileno()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment, **options,
        )
        theirs.close()
        _, ancillary, _, _ = ours.recvmsg(16, socket.CMSG_SPACE(4))
        if not ancillary:
            raise OSError(child.communicate()[0])
        listener = array.array("i", ancillary[0][2][:4])[0]
        self.supervisor.attach(listener, child.pid)
        ours.send(b"g")
        ours.close()
        return child

    def run(self, *command: str, timeout: float = 20, **options) -> str:
        """What the command prints; it must succeed."""
        child = self.start(command, **options)
        try:
            out, _ = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGKILL)
            out, _ = child.communicate()
            raise AssertionError(f"{command} hangs: {out}") from None
        assert child.returncode == 0, f"{command}: {child.returncode}: {out}"
        return out


@contextmanager
def sessions(kernel: Kernel, root: Path | None = None) -> Iterator[Sessions]:
    """Sessions of one machine, ended with the block."""
    made = Sessions(kernel, root)
    try:
        yield made
    finally:
        made.supervisor.close()
        check(kernel)
