# SPDX-License-Identifier: MIT
"""Run a scenario on a mount of its own, in the shell that made the recordings (busybox).

Scenarios that need real tools run inside the machine, by `numafs run`, with the real memtool, and from CPU 0 as
they did when they were recorded.
"""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from numafs.kernel.nodemask import list_text, mask_of
from numafs.machine.spec import Machine
from numafs.machine.toml import load

from .scenario import HERE, Scenario
from .transcript import Step, errno_of

__all__ = ["ROOT", "collect", "mounted", "run", "shape", "step_files", "why_not"]

ROOT = HERE.parent.parent
TIMEOUT = 60

SHIMS = """
# the model's clock, disks and log in the place of this machine's
sleep() { echo "$1" > $ROOT/numafs/step; }
sync() { echo sync > $ROOT/numafs/tasks/run; }
dmesg() { cat $ROOT/numafs/log; }
"""


TOOLS = ("numactl", "lscpu", "lstopo-no-graphics", "taskset", "gcc")


def why_not_inside() -> str:
    """What is missing to run scenarios inside a machine; empty if nothing is."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return why_not() or (f"real tools are missing: {', '.join(missing)}" if missing else "")


def why_not() -> str:
    """What is missing to run scenarios; empty if nothing is."""
    if shutil.which("busybox") is None:
        return "scenarios need busybox (Debian package busybox-static), the shell that made the recordings"
    if not os.path.exists("/dev/fuse"):
        return "scenarios need /dev/fuse"
    return ""


@contextmanager
def mounted(fixture: str, *options: str) -> Iterator[Path]:
    """The mount point of a fresh machine whose clock stands still between operations."""
    with tempfile.TemporaryDirectory(prefix="numafs-conformance.") as where:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        machine = ROOT / "fixtures" / "oracle" / f"{fixture}.toml"
        command = [sys.executable, "-m", "numafs", "mount", "-f", "-o", ",".join(("time=step", "nowatch", *options)),
                   str(machine), where]
        with tempfile.TemporaryFile("w+") as log:
            daemon = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            try:
                if not _answers(daemon, Path(where)):
                    log.seek(0)
                    raise RuntimeError(f"{machine} was not mounted:\n{log.read()}")
                yield Path(where)
            finally:
                _end(daemon, where)


def _end(daemon: subprocess.Popen[bytes], where: str) -> None:
    subprocess.run(["fusermount", "-u", "-z", where], check=False, capture_output=True)
    try:
        daemon.wait(5)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


def _answers(daemon: subprocess.Popen[bytes], where: Path) -> bool:
    """Wait until the mount answers; False if the daemon gave up or takes too long."""
    deadline = time.monotonic() + 60
    while not (where / "numafs").exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def shape(machine: Machine, topology: str) -> dict[str, str]:
    """What scenarios know of their machine, as variables of the shell."""
    cpus = {node.nid: [cpu.cpu for cpu in machine.cpus if cpu.node == node.nid] for node in machine.nodes}
    megabytes = [str(_nominal_mb(node_pages, machine.page_size)) for node_pages in _present(machine)]
    env = {
        "TOPO": topology, "NNODES": str(len(machine.nodes)), "NODEMB": megabytes[0], "NODEMBS": " ".join(megabytes),
        "LASTNODE": str(len(machine.nodes) - 1), "ALLNODES": f"0-{len(machine.nodes) - 1}",
        "NCPUS": str(len(machine.cpus)), "ALLCPUS": f"0-{len(machine.cpus) - 1}",
    }
    for nid, numbers in cpus.items():
        env[f"CPU{nid}"] = str(numbers[0]) if numbers else ""
        env[f"CPUS{nid}"] = list_text(mask_of(numbers))
    return env


def _environment(machine: Machine, root: Path, work: Path, scenario: Scenario, topology: str) -> dict[str, str]:
    env = shape(machine, topology)
    places = {
        "SYS": "sys", "SYSNODE": "sys/devices/system/node", "SYSCPU": "sys/devices/system/cpu", "VM": "proc/sys/vm",
        "KERN": "proc/sys/kernel", "PROC": "proc", "CPUSET": "sys/fs/cgroup/cpuset", "CG2": "sys/fs/cgroup/unified",
        "DATA": "data",
    }
    env |= {name: str(root / place) for name, place in places.items()}
    if scenario.inside:
        env |= {name: f"/{place}" for name, place in places.items() if name != "DATA"}
    env |= {"ROOT": str(root), "TMP": str(work), "MODE": "local", "NEEDS": " ".join(sorted(scenario.needs)),
            "LC_ALL": "C", "LIB": str(work / "lib.sh"), "PYTHONPATH": str(ROOT),
            "PATH": f"{work / 'bin' if scenario.inside else HERE / 'bin'}:{work / 'bb'}:/usr/bin:/bin"}
    return env


def _present(machine: Machine) -> list[int]:
    return [sum(zone.spanned for zone in node.zones) for node in machine.nodes]


def _nominal_mb(pages: int, page_size: int) -> int:
    """What the machine was ordered with: a multiple of 64 MiB."""
    return round(pages * page_size / (64 << 20)) * 64


def step_files(scenario: Scenario) -> dict[str, str]:
    """Its commands by the names of the files that run_steps.sh finds them in."""
    return {
        f"{number:04}.{'guest.' if Step(command).tag == 'guest' else ''}cmd": command
        for number, command in enumerate(scenario.steps, 1)
    }


def run(scenario: Scenario, topology: str) -> list[Step]:
    """The steps with what came of them."""
    machine = load(ROOT / "fixtures" / "oracle" / f"{scenario.fixture(topology)}.toml")
    with mounted(scenario.fixture(topology)) as root, tempfile.TemporaryDirectory(prefix="numafs-run.") as directory:
        work = Path(directory)
        steps = work / "steps"
        steps.mkdir()
        names = step_files(scenario)
        for name, command in names.items():
            (steps / name).write_text(f"{command}\n")
        (work / "lib.sh").write_text((HERE / "lib.sh").read_text() + SHIMS)
        (work / "bb").mkdir()
        subprocess.run(["busybox", "--install", "-s", str(work / "bb")], check=True)
        before = _inside(root, work) if scenario.inside else []
        shell = subprocess.Popen(
            [*before, "busybox", "sh", str(HERE / "run_steps.sh"), str(steps)],
            cwd=work, start_new_session=True,
            env=_environment(machine, root, work, scenario, topology), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )
        try:
            out, _ = shell.communicate(timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(shell.pid, signal.SIGKILL)
            out, _ = shell.communicate()
        return collect(out.decode("latin-1"), names)


def _inside(root: Path, work: Path) -> list[str]:
    """What a command is put behind to run inside the machine; memtool is compiled for it."""
    (work / "bin").mkdir()
    source = ROOT / "tests" / "oracle" / "memtool.c"
    subprocess.run(["gcc", "-O2", "-static", "-o", str(work / "bin" / "memtool"), str(source)], check=True)
    return [sys.executable, "-m", "numafs", "run", "--at", str(root), "--", "/usr/bin/taskset", "-c", "0"]


def collect(text: str, commands: dict[str, str]) -> list[Step]:
    """Steps of what run_steps.sh prints: `@OUT name status`, base64, `@ERR`, base64, `@END`."""
    steps: list[Step] = []
    encoded: list[str] = []
    for line in text.splitlines():
        if line.startswith("@OUT"):
            _, name, status, *_ = line.split()
            steps.append(Step(commands[name], status=status))
            encoded = []
        elif line.startswith("@ERR"):
            steps[-1].output = [] if steps[-1].tag == "quiet" else _decode(encoded).splitlines()
            encoded = []
        elif line.startswith("@END"):
            steps[-1].errno = errno_of(_decode(encoded))
        elif not line.startswith("@"):
            encoded.append(line)
    return steps


def _decode(lines: list[str]) -> str:
    return base64.b64decode("".join(lines)).decode("utf-8", "replace")
