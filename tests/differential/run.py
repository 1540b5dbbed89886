# SPDX-License-Identifier: MIT
"""Random sequences on the model and on the real kernel, and what they disagree on."""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from numafs.machine.spec import Machine
from numafs.machine.toml import load

from ..oracle import guest, image
from .generate import generate, script
from .model import play, sequences

__all__ = [
    "SEEDS", "Disagreement", "compare", "disagreements", "machine", "on_kernel", "on_kernel_by_seed", "recorded",
    "write_recording",
]

HERE = Path(__file__).parent
SEEDS = {"v1": range(400), "v2": range(200)}
"""The sequences whose results are kept, so that they can be compared without a guest."""
BATCH = 250
"""Sequences in one run of the guest."""

RUN_SH = b"""\
echo 0 > /proc/sys/kernel/numa_balancing
echo madvise > /sys/kernel/mm/transparent_hugepage/enabled
echo 0 > /sys/kernel/mm/transparent_hugepage/khugepaged/pages_to_scan 2> /dev/null
echo 100000000 > /sys/kernel/mm/transparent_hugepage/khugepaged/scan_sleep_millisecs
mkdir /mnt
mount -t tmpfs -o mpol=bind:0 actor /mnt
cp /oracle/job/actor /mnt/actor  # pages of a ramfs cannot be migrated
/mnt/actor $VERSION < /oracle/job/script 2>&1
"""


def kept(version: str) -> Path:
    """Where the results of the real kernel are."""
    return HERE / f"recorded-{version}.txt.xz"


def machine(version: str = "v1") -> Machine:
    """The machine of both, with the cpuset controller in this version of cgroups."""
    name = {"v1": "seed4", "v2": "seed4-v2"}[version]
    return load(HERE.parent.parent / "fixtures" / "oracle" / f"{name}.toml")


@dataclass
class Disagreement:
    """Where the two first part ways."""

    heading: str
    operations: list[str]
    """Up to the one that went differently."""
    kernel: list[str]
    model: list[str]
    """What each said of that operation."""

    def __str__(self) -> str:
        tell = [self.heading, *(f"    {line}" for line in self.operations)]
        tell += [f"  kernel {line}" for line in self.kernel] + [f"  model  {line}" for line in self.model]
        return "\n".join(tell)


def by_operation(lines: Sequence[str]) -> list[list[str]]:
    """Results, a list for each operation."""
    out: list[list[str]] = []
    for line in lines:
        if line.startswith("="):
            out.append([])
        out[-1].append(line.rstrip())
    return out


def compare(
    heading: str, operations: Sequence[str], kernel: Sequence[str], model: Sequence[str]
) -> Disagreement | None:
    """The first operation with different results, if there is one."""
    theirs, ours = by_operation(kernel), by_operation(model)
    for i in range(max(len(theirs), len(ours))):
        a, b = ([*of[i]] if i < len(of) else ["(nothing)"] for of in (theirs, ours))
        if a != b:
            return Disagreement(heading, list(operations[: i + 1]), a, b)
    return None


def on_kernel(text: str, version: str = "v1", seconds: float = 1800) -> dict[str, list[str]]:
    """The results of a script on the real kernel, by heading."""
    variables = f"NEEDS={'v2' if version == 'v2' else ''}\nexport VERSION={version}\n"
    files = {
        "job.env": variables.encode(), "run.sh": RUN_SH, "actor": image.actor().read_bytes(), "script": text.encode(),
    }
    return dict(sequences(guest.run(machine(), files, seconds)))


def on_kernel_by_seed(seeds: range, version: str = "v1") -> dict[int, list[str]]:
    """The results of the sequences of these seeds on the real kernel."""
    out: dict[int, list[str]] = {}
    for start in range(seeds.start, seeds.stop, BATCH):
        said = on_kernel(script(range(start, min(start + BATCH, seeds.stop)), version), version)
        out |= {int(heading[2:]): lines for heading, lines in said.items()}
    return out


def disagreements(results: Iterable[tuple[int, list[str]]], version: str = "v1") -> list[Disagreement]:
    """What the model does otherwise than the kernel did."""
    described = machine(version)
    found = []
    for seed, kernel in results:
        operations = generate(seed, version)
        different = compare(f"# {seed}", operations, kernel, play(described, operations))
        if different:
            found.append(different)
    return found


def recorded(version: str) -> dict[int, list[str]]:
    """The kept results of the real kernel."""
    with lzma.open(kept(version), "rt") as file:
        return {int(heading[2:]): lines for heading, lines in sequences(line.rstrip("\n") for line in file)}


def write_recording(results: dict[int, list[str]], version: str) -> None:
    """Keep results."""
    with lzma.open(kept(version), "wt") as file:
        for seed, lines in sorted(results.items()):
            file.write(f"# {seed}\n" + "".join(f"{line}\n" for line in lines))
