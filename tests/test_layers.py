# SPDX-License-Identifier: MIT
"""Who may import whom: machine and kernel know nothing of files, files nothing of doors, doors nothing of people."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parent / "numafs"

MAY_IMPORT = {
    "machine": {"machine"},
    "kernel": {"kernel", "machine"},
    "fs": {"fs", "kernel", "machine"},
    "doors": {"doors", "fs", "kernel", "machine"},
    "cli": {"cli", "doors", "fs", "kernel", "machine"},
}
"""The rooms that the modules of a room may import from; the package itself may import all."""

NEVER_IN_KERNEL = {
    "threading", "time", "datetime", "os", "io", "pathlib", "subprocess", "socket", "asyncio", "tempfile",
}
"""No files, threads or wall-clock time; `os` is let in where only its errno texts are used."""

ALLOWED_IN_KERNEL = {("errors", "os")}


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def name_of(path: Path) -> tuple[str, ...]:
    return path.relative_to(PACKAGE.parent).with_suffix("").parts


def imports(path: Path) -> Iterator[str]:
    """Absolute names of all that a module imports, wherever it does, for type checking too."""
    package = name_of(path)[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            start = ".".join(part for part in (base, node.module) if part)
            yield start
            yield from (f"{start}.{alias.name}" for alias in node.names)


def room_of(name: str) -> str | None:
    parts = name.split(".")
    return parts[1] if parts[0] == "numafs" and len(parts) > 1 and parts[1] in MAY_IMPORT else None


def test_arrows_between_rooms_point_one_way():
    wrong = [
        f"{'.'.join(name_of(path))} imports {name}"
        for path in modules()
        if (room := room_of(".".join(name_of(path)))) is not None
        for name in imports(path)
        if (other := room_of(name)) is not None and other not in MAY_IMPORT[room]
    ]
    assert wrong == []


def test_only_the_fuse_door_imports_the_fuse_binding():
    importers = {
        "/".join(name_of(path))
        for path in modules() for name in imports(path) if name.split(".")[0] in ("fuse", "fusepy", "mfusepy")
    }
    assert importers <= {"numafs/doors/fuse"}


@pytest.mark.parametrize("room", ["kernel", "machine"])
def test_the_model_knows_no_threads_and_no_wall_clock(room):
    """The machine's files are read by numafs.machine; the kernel reads none."""
    forbidden = NEVER_IN_KERNEL if room == "kernel" else {"threading", "time", "subprocess", "socket"}
    wrong = [
        f"{path.stem} imports {name}"
        for path in modules() if name_of(path)[1:2] == (room,)
        for name in imports(path)
        if name.split(".")[0] in forbidden and (path.stem, name) not in ALLOWED_IN_KERNEL
    ]
    assert wrong == []


def test_randomness_is_seeded():
    """`random.random()` draws from a generator that nobody seeded; only `random.Random(seed)` may be used."""
    wrong = [
        f"{path.stem}:{node.lineno}"
        for path in modules()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "random"
        and node.attr != "Random"
    ]
    assert wrong == []


def sleeps(tree: ast.AST) -> Iterator[int]:
    """Lines that sleep, but where another process is waited for: in a loop with a deadline."""
    waits = {
        inner
        for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) and "deadline" in ast.unparse(function)
        for loop in ast.walk(function) if isinstance(loop, ast.While)
        for inner in ast.walk(loop)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("time.sleep", "sleep") and node not in waits:
            yield node.lineno


def test_no_test_sleeps():
    """Nor anything else under tests/, but the programs that made the recordings: they run as they ran then."""
    wrong = [
        f"{path.relative_to(HERE)}:{line}"
        for path in sorted(HERE.rglob("*.py")) if "harness" not in path.parts
        for line in sleeps(ast.parse(path.read_text()))
    ]
    assert wrong == []
