# SPDX-License-Identifier: MIT
"""python3 -m tests.conformance.replay [-v] [NAME ...]: system calls on cpuset files, against what Linux did.

The scripts in cpuset/harness are those that made the recordings: each line of output is a call and its result.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile

from .run import mounted, why_not
from .scenario import HERE

__all__ = ["main", "recordings", "replay"]

MOUNTS = {
    "v1": ("sys/fs/cgroup/cpuset", "cpuset."), "legacy": ("dev/cpuset", ""), "v2": ("sys/fs/cgroup/unified", "cpuset."),
    "host": ("sys/fs/cgroup/cpuset", "cpuset."),
}
MACHINES = {"v2": "seed4-v2", "host": "host"}
"""For recordings that were not made on seed4: `host` is a machine of one node with Linux 6.18."""
CPUSET = HERE / "cpuset"


def recordings() -> list[str]:
    """Their names: `t01_files-v1`."""
    return sorted(path.stem for path in (CPUSET / "recordings").glob("*.txt"))


def run(name: str) -> list[str]:
    """The lines that the script of a recording prints on a fresh mount."""
    script, _, kind = name.rpartition("-")
    place, prefix = MOUNTS[kind]
    machine = MACHINES.get(kind, "seed4")
    with mounted(machine, "kill,release_agent") as root, tempfile.TemporaryDirectory(prefix="numafs-replay.") as work:
        if kind == "v2":
            (root / place / "cgroup.subtree_control").write_text("+cpuset")
        environment = {**os.environ, "CG": str(root / place), "PFX": prefix, "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, str(CPUSET / "run_harness.py"), str(root), str(CPUSET / "harness" / f"{script}.py")]
        done = subprocess.run(
            command, env=environment, cwd=work, capture_output=True, text=True, timeout=120, check=False
        )
    return (done.stdout + done.stderr).replace(f"{work}/", "").splitlines()


def calls(lines: list[str]) -> list[str]:
    """The lines that tell of calls, without what differs from machine to machine."""
    return [_neutral(line) for line in _from_first_group(lines) if line.strip() and not line.startswith("#")]


def _from_first_group(lines: list[str]) -> list[str]:
    """Inode numbers of groups, counted from that of the first: there may have been others before the recording."""
    numbers = [re.fullmatch(r"(ino fx\S*(?: again)? = )(\d+)", line) for line in lines]
    first = next((int(found[2]) for found in numbers if found), 0)
    return [
        f"{found[1]}{int(found[2]) - first}" if found else line for line, found in zip(lines, numbers, strict=True)
    ]


_NEUTRAL = (
    (r"^mountinfo: .*|^/proc/mounts: .*|^/proc/filesystems: .*|^f_type=.*", "(how it is mounted)"),
    (r"\d+:cpuset:|cpuset\t\d+", "(hierarchy):cpuset"),
    (r"'0::/'|, '0::/'", ""),
    (r'^(write \S*(?:tasks|procs|threads) "(?:0x?)?)[0-9a-f]{2,8}(".* -> )\d+', r"\1(pid)\2(length)"),
    (r'^(write \S*(?:tasks|procs|threads) "(?:0x?)?)[0-9a-f]{2,8}(" -> E)', r"\1(pid)\2"),
    (r'^(write \S*procs "<A>(?:\\n)?" -> )\d', r"\1(length)"),
    (r'^(read  \S*threads -> )"\d+', r'\1"(pid)'),
    (r'^(write \S*(?:tasks|procs) (?!").*)\(\d+ bytes\)', r"\1(bytes)"),
    (r'^(read  \S*tasks -> )"\d+', r'\1"(pid)'),
    (r"^tasks = \d+", "tasks = (pid)"),
    (r"-> \d+=len", "-> (length)=len"),
    (r'^(write release_agent "\s*Ra\.sh.*-> )\d+', r"\1(length)"),
    (r"^(read\(10\) of a long list).*", r"\1"),
    (r"\| SHLVL=1 ", ""),
    (r'^(write \S+ "0<A>" -> )E(?:SRCH|INVAL)', r"\1(as octal as the pid is)"),
)
"""What differs from run to run: pids and their lengths, hierarchy numbers, the mount."""


def _neutral(line: str) -> str:
    for pattern, text in _NEUTRAL:
        line = re.sub(pattern, text, line)
    return line


def replay(name: str) -> tuple[int, int, list[str]]:
    """(equal, of how many, a diff) of one recording."""
    recorded = calls((CPUSET / "recordings" / f"{name}.txt").read_text(errors="replace").splitlines())
    got = calls(run(name))
    matcher = difflib.SequenceMatcher(None, recorded, got, autojunk=False)
    equal = sum(block.size for block in matcher.get_matching_blocks())
    return equal, len(recorded), list(difflib.unified_diff(recorded, got, "recorded", "got", n=0, lineterm=""))


def main() -> int:
    """The score of each recording."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.conformance.replay", description=__doc__)
    parser.add_argument("name", nargs="*", help="beginnings of recordings' names; all if none is given")
    parser.add_argument("-v", action="store_true", help="show what differs")
    options = parser.parse_args()
    if missing := why_not():
        print(missing, file=sys.stderr)
        return 2
    for name in recordings():
        if options.name and not name.startswith(tuple(options.name)):
            continue
        equal, total, diff = replay(name)
        print(f"{name:24} {equal:4}/{total:4}  {100 * equal / total:5.1f} %", flush=True)
        if options.v:
            print("\n".join(f"    {line}" for line in diff[2:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
