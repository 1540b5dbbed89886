# SPDX-License-Identifier: MIT
"""Sequences of operations, drawn at random from a seed: the same seed gives the same script for ever.

A sequence has a flavour, which says what it is mostly about. Operations are chosen knowing roughly what exists
(tasks, regions, groups), so that most of them do something; some are wrong on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

__all__ = ["LENGTH", "generate", "script"]

LENGTH = 30
NODES = 4
CPUS = 8
TASKS = 4
REGIONS = 4
HPAGE = 512
ALL = (1 << NODES) - 1

NAMES = ("a", "b", "a/c", "a/d", "b/c")
LISTS = (
    "0", "1", "2", "3", "0-1", "1-2", "2-3", "0,2", "1,3", "0,3", "0-2", "1-3", "0-3", "0-1,3", "", "4", "0-4", "3-1",
    "1,", ",1", "0-3:1/2", "all", "none", "0x1", "1 ", " 2", "1-", "-1", "1,,2", "0-3:2/1", "99999999999",
)
CPU_LISTS = (
    "0", "0-7", "0-3", "2-5", "4-7", "1,3", "2,4-5", "6", "1", "5", "7", "0-1", "2-3", "", "8", "0-8", "7-5", "0-7:1/2",
)
MAXNODES = (1025, 1025, 1025, 1025, 65, 5, 4, 3, 1, 0, 2, 64, 32769, 32770)
MODES = (0, 1, 2, 3, 4, 5)
BIND, INTERLEAVE = 2, 3
STATIC, RELATIVE, BALANCING = 1 << 15, 1 << 14, 1 << 13
FLAGS = (
    "cpuset.memory_migrate", "cpuset.memory_migrate", "cpuset.mem_exclusive", "cpuset.cpu_exclusive",
    "cpuset.mem_hardwall", "cpuset.memory_spread_page", "cpuset.memory_spread_slab", "cpuset.sched_load_balance",
    "cgroup.clone_children", "notify_on_release",
)
SYSCTLS = (
    ("zone_reclaim_mode", ("0", "1", "2", "4", "7", "8", "-1", "x", "", "1 2", "4294967296")),
    ("min_unmapped_ratio", ("0", "1", "50", "100", "101", "-1")),
    ("min_slab_ratio", ("0", "5", "100", "101")),
    ("swappiness", ("0", "60", "100", "200", "201", "1\t", "0x10", "010")),
)


class Draft:
    """What a sequence has made so far, as far as its author can tell."""

    def __init__(self, random: Random, flavour: str) -> None:
        self.random = random
        self.shared = flavour == "shared"
        """Where shared memory is, nothing interleaves: that depends on inode numbers."""
        self.huge = flavour == "huge"
        """Huge pages are made, copied and moved, but not cut, and nothing is read before it is written."""
        self.tasks: dict[int, dict[int, int]] = {}
        """Slots, and the sizes of their regions."""
        self.groups: list[str] = []

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def task(self) -> int:
        """A slot; rarely one without a task."""
        if not self.tasks or self.chance(1):
            return self.random.randrange(TASKS + 1)
        return self.random.choice(sorted(self.tasks))

    def part(self) -> tuple[int, int, int, int]:
        """Slot, region, offset and length, mostly inside what is mapped."""
        slot = self.task()
        regions = self.tasks.get(slot) or {}
        if not regions and not self.chance(10):
            slot = max(self.tasks, key=lambda other: (len(self.tasks[other]), other), default=slot)
            regions = self.tasks.get(slot) or {}
        if not regions or self.chance(2):
            return slot, self.random.randrange(REGIONS), 0, 4
        region = self.random.choice(sorted(regions))
        size = regions[region]
        if self.huge:
            start = self.random.randrange(size // HPAGE)
            return slot, region, start * HPAGE, self.random.randint(1, size // HPAGE - start) * HPAGE
        if self.chance(50):
            return slot, region, 0, size
        start = self.random.randrange(size)
        length = self.random.randint(1, size - start)
        return slot, region, start, length + (3 if self.chance(4) else 0)

    def mask(self) -> str:
        if self.chance(4):
            return self.random.choice(("-", "0", "10", "1f", "400", "8000000000000000"))
        return f"{self.random.randint(1, ALL):x}"

    def mode(self) -> int:
        if self.chance(3):
            return self.random.choice((6, 7, BIND | STATIC | RELATIVE, 1 | BALANCING, 99))
        mode = self.random.choice(MODES)
        if self.shared and mode == INTERLEAVE:
            mode = BIND
        if self.chance(30):
            mode |= self.random.choice((STATIC, RELATIVE))
        return mode

    def group(self) -> str:
        if not self.groups or self.chance(2):
            return self.random.choice(NAMES)
        return self.random.choice(self.groups)


def _mkdir(d: Draft) -> str:
    fitting = [name for name in NAMES if "/" not in name or name.rpartition("/")[0] in d.groups]
    name = d.random.choice(NAMES if d.chance(3) else fitting)
    if name in fitting and name not in d.groups:
        d.groups.append(name)
    return f"mkdir {name}"


def _group(d: Draft) -> str:
    """A group that is ready for tasks, in one line of several operations."""
    name = d.random.choice(NAMES[:2])
    if name not in d.groups:
        d.groups.append(name)
    nodes = d.random.choice(LISTS[:14])
    cpus = d.random.choice(CPU_LISTS[:13])
    return f"mkdir {name}\nput {name}/cpuset.cpus {cpus}\nput {name}/cpuset.mems {nodes}"


def _rmdir(d: Draft) -> str:
    name = d.group()
    return f"rmdir {name}"


def _mv(d: Draft) -> str:
    name = d.group()
    new = d.random.choice((name + "x", "a", "b", "b/c", "a/c", "z"))
    inside = f"{new}/".startswith(f"{name}/") or f"{name}/".startswith(f"{new}/")
    return f"mv {name} {name}x" if inside else f"mv {name} {new}"  # the former is decided before cgroups are asked


def _mems(d: Draft) -> str:
    wild = d.chance(12)
    return f"put {d.group()}/cpuset.mems {d.random.choice(LISTS if wild else LISTS[:14])}"


def _cpuset_cpus(d: Draft) -> str:
    wild = d.chance(12)
    return f"put {d.group()}/cpuset.cpus {d.random.choice(CPU_LISTS if wild else CPU_LISTS[:13])}"


def _flag(d: Draft) -> str:
    value = d.random.choice(("0", "1", "1", "1", "1")) if d.chance(92) else d.random.choice(("2", "-1", "x", "", "1x"))
    return f"put {d.group()}/{d.random.choice(FLAGS)} {value}"


def _migrate_flag(d: Draft) -> str:
    return f"put {d.group()}/cpuset.memory_migrate 1"


def _relax(d: Draft) -> str:
    return f"put {d.group()}/cpuset.sched_relax_domain_level {d.random.choice(('-1', '0', '1', '2', '5', '6', '-2'))}"


def _enter(d: Draft) -> str:
    where = "" if d.chance(15) else d.group() + "/"
    return f"put {where}{d.random.choice(('tasks', 'cgroup.procs'))} @{d.task()}"


def _sys(d: Draft) -> str:
    name, values = d.random.choice(SYSCTLS)
    return f"sys {name} {d.random.choice(values)}"


def _spawn(d: Draft) -> str:
    slot = d.random.randrange(TASKS)
    d.tasks.setdefault(slot, {})
    return f"spawn {slot}"


def _fork(d: Draft) -> str:
    slot, child = d.task(), d.random.randrange(TASKS)
    if slot in d.tasks and child not in d.tasks:
        d.tasks[child] = dict(d.tasks[slot])
    return f"fork {slot} {child}"


def _exit(d: Draft) -> str:
    slot = d.task()
    if len(d.tasks) > 1:
        d.tasks.pop(slot, None)
        return f"exit {slot}"
    return _spawn(d)


def _cpus(d: Draft) -> str:
    mask = 1 << d.random.randrange(CPUS) if d.chance(80) else d.random.randrange(1 << CPUS)
    return f"cpus {d.task()} {mask:x}"


def _map(d: Draft) -> str:
    slot, region = d.task(), d.random.randrange(REGIONS)
    sizes = (512, 1024, 1024, 1536, 2048) if d.huge else (1, 2, 3, 5, 8, 13, 16, 17, 31, 64, 100, 200, 512, 513)
    size = d.random.choice(sizes)
    kind = "s" if d.shared and d.chance(50) else "p"
    if slot in d.tasks and region not in d.tasks[slot]:
        d.tasks[slot][region] = size
    text = f"map {slot} {region} {size} {kind}"
    if d.huge:
        text += f"\nadvise {slot} {region} 0 {size} hugepage"
    if d.chance(60):
        text += f"\ntouch {slot} {region} 0 {size}"
    return text


def _on(name: str) -> Callable[[Draft], str]:
    def line(d: Draft) -> str:
        if d.huge and name == "load":
            return f"touch {' '.join(map(str, d.part()))}"
        return f"{name} {' '.join(map(str, d.part()))}"

    return line


def _advise(d: Draft) -> str:
    advices = ("dontneed", "dontneed", "cold", "populate_read", "populate_write")
    line = f"{_on('advise')(d)} {d.random.choice(advices)}"
    return line.replace("populate_read", "populate_write") if d.huge else line


def _policy(d: Draft) -> str:
    return f"policy {d.task()} {d.mode():#x} {d.mask()} {d.random.choice(MAXNODES if d.chance(15) else (1025,))}"


def _mbind(d: Draft) -> str:
    flags = d.random.choice((0, 0, 1, 2, 2, 3, 4, 5, 6, 7)) if d.chance(97) else 8
    maxnode = d.random.choice(MAXNODES if d.chance(8) else (1025,))
    return f"{_on('mbind')(d)} {d.mode():#x} {d.mask()} {maxnode} {flags}"


def _home(d: Draft) -> str:
    return f"{_on('home')(d)} {d.random.choice((0, 1, 2, 3, 3, 4, 1024))} {0 if d.chance(97) else 1}"


def _getpol(d: Draft) -> str:
    slot, region, offset, _ = d.part()
    flags = d.random.choice((0, 2, 2, 4, 6, 8) if d.huge else (0, 2, 2, 3, 3, 4, 6, 8))
    return f"getpol {slot} {region} {offset if flags & 2 else '-'} {flags} {d.random.choice((1024, 1024, 4, 3, 64))}"


def _migrate(d: Draft) -> str:
    maxnode = d.random.choice(MAXNODES if d.chance(8) else (1025,))
    target = d.random.choice(("0", f"@{d.task()}", f"@{d.task()}", f"@{d.task()}"))
    old, new = (d.mask().replace("-", "0") for _ in range(2))
    return f"migrate {d.task()} {target} {old} {new} {maxnode}"


def _move(d: Draft) -> str:
    slot, region, offset, length = d.part()
    target = "0" if d.chance(40) else f"@{slot}"
    caller = slot if target == "0" else d.task()
    node = d.random.choice((0, 1, 2, 3, 0, 1, 2, 3, -2, -2, 4, -1, 1024)) if d.chance(50) else d.random.randrange(NODES)
    stride = d.random.choice((1, 1, 1, 1, 2, 3, 0))
    flags = d.random.choice((2, 2, 2, 4, 0, 6, 1))
    return f"move {caller} {target} {region} {offset} {min(length, 600)} {stride} {node} {flags}"


def _partition(d: Draft) -> str:
    return f"put {d.group()}/cpuset.cpus.partition {d.random.choice(('root', 'root', 'member', 'isolated', 'x', ''))}"


def _control(d: Draft) -> str:
    """Give the controller to the groups inside a group, or take it."""
    what = d.random.choice(("+cpuset", "+cpuset", "+cpuset", "-cpuset", "+cpuset -cpuset", "cpuset", "+x", ""))
    where = "" if d.chance(10) else d.group() + "/"
    return f"put {where}cgroup.subtree_control {what}"


def _type(d: Draft) -> str:
    return f"put {d.group()}/cgroup.type {d.random.choice(('threaded', 'threaded', 'domain', 'x'))}"


def _enter_v2(d: Draft) -> str:
    return _enter(d).replace("/tasks", "/cgroup.threads").replace("put tasks", "put cgroup.threads")


def _nested(d: Draft) -> str:
    """A group inside one that has the controller for it."""
    name = d.random.choice(NAMES[2:])
    above = name.rpartition("/")[0]
    d.groups += [group for group in (above, name) if group not in d.groups]
    nodes, cpus = d.random.choice(LISTS[:14]), d.random.choice(CPU_LISTS[:13])
    return (f"mkdir {above}\nput {above}/cgroup.subtree_control +cpuset\nmkdir {name}\n"
            f"put {name}/cpuset.cpus {cpus}\nput {name}/cpuset.mems {nodes}")


Maker = Callable[[Draft], str]
ON_MEMORY: dict[Maker, int] = {
    _sys: 2, _spawn: 2, _fork: 3, _exit: 1, _cpus: 6, _map: 10, _on("unmap"): 2, _on("touch"): 10, _on("load"): 4,
    _on("lock"): 2, _on("unlock"): 1, _advise: 4, _policy: 9, _mbind: 9, _home: 2, _getpol: 5, _migrate: 6, _move: 7,
}
WEIGHTS: dict[Maker, int] = {
    _mkdir: 3, _group: 5, _rmdir: 2, _mv: 1, _mems: 10, _cpuset_cpus: 4, _flag: 4, _migrate_flag: 4, _relax: 1,
    _enter: 10, **ON_MEMORY,
}
WEIGHTS_V2: dict[Maker, int] = {
    _mkdir: 4, _group: 6, _nested: 8, _rmdir: 3, _mems: 10, _cpuset_cpus: 10, _partition: 10, _control: 4, _type: 2,
    _enter_v2: 14, **{maker: (weight + 1) // 2 for maker, weight in ON_MEMORY.items()},
}
FLAVOURS = ("plain", "plain", "plain", "shared", "huge", "cpusets")
ABOUT_CPUSETS = {_mkdir, _group, _rmdir, _mems, _cpuset_cpus, _flag, _relax, _enter, _partition, _enter_v2}


def generate(seed: int, version: str = "v1") -> list[str]:
    """The operations of the sequence of this seed, for one version of cgroups: at least LENGTH."""
    random = Random(f"differential {seed}" if version == "v1" else f"differential {version} {seed}")
    flavour = random.choice(FLAVOURS)
    draft = Draft(random, flavour)
    chosen = WEIGHTS if version == "v1" else WEIGHTS_V2
    makers = list(chosen)
    weights = [n * (4 if flavour == "cpusets" and maker in ABOUT_CPUSETS else 1) for maker, n in chosen.items()]
    lines = [*_spawn(draft).split("\n"), *_map(draft).split("\n")]
    while len(lines) < LENGTH:
        [maker] = random.choices(makers, weights)
        if maker in ABOUT_CPUSETS and not draft.groups:
            maker = _group
        lines += maker(draft).split("\n")
    return lines


def script(seeds: range, version: str = "v1") -> str:
    """The script of many sequences."""
    return "".join(f"# {seed}\n" + "".join(f"{line}\n" for line in generate(seed, version)) for seed in seeds)
