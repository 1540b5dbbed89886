# SPDX-License-Identifier: MIT
"""The real kernel, Linux 6.1 in QEMU, on a machine with the nodes of a fixture: runs a job and gives what it prints.

It emulates (TCG), so that the result does not depend on this machine. The guest is booted once for each fixture
and saved where it waits for a job; each job starts from there.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shlex
import socket
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from numafs.machine.spec import Machine

from .image import BUILD, build, kernel

__all__ = ["GuestFailed", "run"]

BOOT_SECONDS = 400
JOB_BYTES = 16 << 20
APPEND = (
    "console=ttyS0 quiet panic=-1 rootfstype=ramfs init_on_alloc=0 mitigations=off nowatchdog audit=0 nokaslr"
)
LOW_PRIORITY = ("nice", "-n", "19")


class GuestFailed(Exception):
    """The guest did not boot or did not finish its job; says what its console showed."""


def megabytes(machine: Machine) -> list[int]:
    """What each node was ordered with: a multiple of 64 MiB."""
    return [round(sum(zone.spanned for zone in node.zones) * machine.page_size / (64 << 20)) * 64
            for node in machine.nodes]


def _command(machine: Machine, job: Path, console: Path) -> list[str]:
    cpus = {node.nid: [cpu.cpu for cpu in machine.cpus if cpu.node == node.nid] for node in machine.nodes}
    sockets = len({cpu.socket for cpu in machine.cpus})
    command = [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-no-reboot",
        "-machine", "pc,usb=off", "-accel", "tcg,thread=multi,tb-size=256", "-cpu", "max",
        "-m", f"{sum(megabytes(machine))}M",
        "-smp", f"{len(machine.cpus)},sockets={sockets},cores={len(machine.cpus) // sockets},threads=1",
    ]
    for node, size in zip(machine.nodes, megabytes(machine), strict=True):
        mine = f",cpus={cpus[node.nid][0]}-{cpus[node.nid][-1]}" if cpus[node.nid] else ""
        command += ["-object", f"memory-backend-ram,id=m{node.nid},size={size}M",
                    "-numa", f"node,nodeid={node.nid},memdev=m{node.nid}{mine}"]
    for i, row in enumerate(machine.distance):
        for j, distance in enumerate(row):
            if i != j:
                command += ["-numa", f"dist,src={i},dst={j},val={distance}"]
    for name, image in (("data", BUILD / "data.img"), ("swap", BUILD / "swap.img"), ("job", job)):
        keep = "snapshot=off,read-only=on" if name == "job" else "snapshot=on"
        command += ["-drive", f"file={image},format=raw,if=none,id={name},cache=unsafe,discard=unmap,{keep}",
                    "-device", f"virtio-blk-pci,drive={name}"]
    return [
        *command, "-chardev", f"file,id=console,path={console}", "-serial", "chardev:console", "-serial", "stdio",
        "-kernel", str(kernel()), "-initrd", str(build()), "-append", APPEND,
    ]


@contextmanager
def _started(command: list[str], work: Path, seconds: float) -> Iterator[subprocess.Popen[bytes]]:
    """QEMU, killed when it is done with or when its time is over."""
    process = subprocess.Popen(
        [*LOW_PRIORITY, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=dict(os.environ, TMPDIR=str(work)),
    )
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        yield process
    finally:
        timer.cancel()
        process.kill()
        process.wait()


def _lines(stream: IO[bytes] | None) -> Iterator[str]:
    assert stream is not None
    for raw in stream:
        yield raw.decode("latin-1").rstrip("\r\n")


# ---------------------------------------------------------------- the saved machine


def _state(machine: Machine) -> Path:
    """Where the machine is saved that waits for a job; boots it if there is none."""
    command = _command(machine, Path("job"), Path("console"))
    what = hashlib.sha256(json.dumps(command).encode() + build().read_bytes())
    path = BUILD / f"{machine.name}-{what.hexdigest()[:12]}.state"
    if not path.exists():
        _boot_and_save(machine, path)
    return path


def _boot_and_save(machine: Machine, path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="numafs-oracle.") as where:
        work = Path(where)
        job, console, monitor = work / "job", work / "console", work / "monitor"
        job.write_bytes(bytes(JOB_BYTES))
        command = [*_command(machine, job, console), "-qmp", f"unix:{monitor},server=on,wait=off"]
        with _started(command, work, BOOT_SECONDS) as process:
            if "@READY" not in _lines(process.stdout):
                raise GuestFailed(f"did not boot: {console.read_text(errors='replace')[-2000:]}")
            _settle(4)
            _save(monitor, path)


def _settle(seconds: float) -> None:
    """Let deferred work of the boot finish: nothing in the guest tells when it has."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.5)


def _save(monitor: Path, path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(monitor))
        stream = connection.makefile("rw")
        stream.readline()
        _ask(stream, "qmp_capabilities")
        _ask(stream, "migrate-set-parameters", **{"max-bandwidth": 1 << 34})
        _ask(stream, "migrate", uri=f"exec:cat > {shlex.quote(str(path))}.new")
        deadline = time.monotonic() + 120
        while (status := _ask(stream, "query-migrate").get("status")) != "completed":
            if status == "failed" or time.monotonic() > deadline:
                raise GuestFailed("the machine could not be saved")
            time.sleep(0.2)
    Path(f"{path}.new").rename(path)


def _ask(stream: Any, command: str, **arguments: object) -> dict[str, Any]:
    """A command of the QEMU Machine Protocol."""
    stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
    stream.flush()
    while True:
        answer: dict[str, Any] = json.loads(stream.readline())
        if "error" in answer:
            raise GuestFailed(f"{command}: {answer['error']}")
        if "return" in answer:
            return dict(answer["return"])


# ---------------------------------------------------------------- a job


def run(machine: Machine, files: Mapping[str, bytes], seconds: float = 900) -> Iterator[str]:
    """Start `run.sh` of `files` (names to contents) in the guest; gives the lines that it prints.

    `job.env` of the files is sourced first; NEEDS in it says what is to be mounted.
    """
    state = _state(machine)
    with tempfile.TemporaryDirectory(prefix="numafs-oracle.") as where:
        work = Path(where)
        job, console = work / "job", work / "console"
        job.write_bytes(_archive(files))
        command = [*_command(machine, job, console), "-incoming", f"exec:cat {shlex.quote(str(state))}"]
        with _started(command, work, seconds) as process:
            begun = threading.Event()
            threading.Thread(target=_start_job, args=(process, begun), daemon=True).start()
            for line in _lines(process.stdout):
                begun.set()
                if line == "@DONE":
                    return
                yield line
            raise GuestFailed(f"the guest ended early: {console.read_text(errors='replace')[-2000:]}")


def _start_job(process: subprocess.Popen[bytes], begun: threading.Event) -> None:
    """A restored machine drops what arrives before it runs: say it until it answers."""
    assert process.stdin is not None
    with suppress(OSError):
        while not begun.is_set() and process.poll() is None:
            process.stdin.write(b"go\n")
            process.stdin.flush()
            begun.wait(1)


def _archive(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(data), 0o755
            archive.addfile(info, io.BytesIO(data))
    if len(out.getvalue()) > JOB_BYTES:
        raise ValueError("the job does not fit its disk")
    return out.getvalue().ljust(JOB_BYTES, b"\0")
