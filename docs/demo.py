# SPDX-License-Identifier: MIT
"""The guided tour of `make run`: mounts a machine and runs the README's first session on it, as it is printed.

    python docs/demo.py MACHINE DIR
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from sessions import Command, Shell, parts  # noqa: E402

from numafs.doors.mounts import is_stale, mount_at  # noqa: E402

__all__ = ["environment", "tour"]

README = Path(__file__).parents[1] / "README.md"
BOLD, PLAIN = ("\033[1m", "\033[0m") if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else ("", "")


def tour() -> Iterator[str | Command]:
    """Text and commands of the README's section `A session`."""
    text = README.read_text(encoding="utf-8")
    section = re.search(r"^## A session\n(.*?)^## ", text, re.DOTALL | re.MULTILINE)
    assert section is not None
    return parts(section[1])


def environment(bin_dir: Path) -> dict[str, str]:
    """What a shell needs to find `numafs`, which `bin_dir` will have."""
    command = bin_dir / "numafs"
    command.write_text(f'#!/bin/sh\nPYTHONPATH={README.parent} exec {sys.executable} -m numafs "$@"\n')
    command.chmod(0o755)
    return {**os.environ, "PATH": f"{bin_dir}:{os.environ['PATH']}", "LC_ALL": "C", "PYTHONDONTWRITEBYTECODE": "1"}


def main(machine: str, directory: str) -> int:
    """Mount, show, leave it mounted."""
    Path(directory).mkdir(parents=True, exist_ok=True) if not is_stale(directory) else None
    if mount_at(directory) and not is_stale(directory):
        print(f"{directory} is mounted already; numafs umount {directory}, or make umount, first", file=sys.stderr)
        return 32
    with tempfile.TemporaryDirectory() as bin_dir:
        env = environment(Path(bin_dir))
        print(f"{BOLD}$ numafs mount {machine} {directory}{PLAIN}")
        if code := subprocess.run(["numafs", "mount", machine, directory], env=env, check=False).returncode:
            return code
        print(f"{BOLD}$ cd {directory}{PLAIN}")
        with Shell(Path(directory), env) as shell:
            for part in tour():
                if isinstance(part, Command):
                    print(f"{BOLD}$ {part.line}{PLAIN}", end="")
                    print(shell.run(part.line), end="", flush=True)
                elif part.strip():
                    print(f"\n{part.strip()}\n", flush=True)
    print(f"\nIt stays mounted on {directory}: look around. To unmount: make umount (or umount {directory})")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
