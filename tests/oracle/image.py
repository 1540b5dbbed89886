# SPDX-License-Identifier: MIT
"""What the guest is made of: an initramfs with busybox, a few kernel modules and helpers, and two disks.

All of it comes from Debian packages: linux-image-amd64, busybox-static, e2fsprogs, util-linux, gcc and libc6-dev; and
numactl and hwloc-nox for the scenarios that run real tools.
"""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["BUILD", "HERE", "actor", "build", "kernel", "why_not"]

HERE = Path(__file__).parent
BUILD = Path(tempfile.gettempdir()) / "numafs-oracle"
PROGRAMS = ("qemu-system-x86_64", "busybox", "gcc", "mke2fs", "mkswap")
PATHS = ":".join(("/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/bin"))
TOOLS = ("numactl", "numastat", "migratepages", "lscpu", "lstopo-no-graphics")
MODULES = (
    "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk", "crc16",
    "crc32c_generic", "mbcache", "jbd2", "ext4",
)
FILES_MB = (1, 10, 50, 100, 200, 300, 400, 600, 800, 1200, 1600, 2400)


def kernel() -> Path | None:
    """The newest Linux 6.1 in /boot."""
    return max(Path("/boot").glob("vmlinuz-6.1.*-amd64"), default=None)


def why_not() -> str:
    """What is missing; empty if nothing is."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATHS) is None]
    if kernel() is None:
        missing.append("a kernel of Linux 6.1 in /boot")
    return f"missing: {', '.join(missing)}" if missing else ""


def _run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True, env={"PATH": PATHS}, stdout=subprocess.DEVNULL)


def _compiled(source: Path) -> Path:
    BUILD.mkdir(exist_ok=True)
    program = BUILD / source.stem
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        _run("gcc", "-O2", "-static", "-Wall", "-o", program, source)
    return program


def actor() -> Path:
    """The player of random sequences."""
    return _compiled(HERE.parent / "differential" / "actor.c")


def build() -> Path:
    """Make what is missing below BUILD; returns the initramfs."""
    BUILD.mkdir(exist_ok=True)
    memtool = _compiled(HERE / "memtool.c")
    for name, make in (("data.img", _data_disk), ("swap.img", _swap_disk)):
        if not (BUILD / name).exists():
            make(BUILD / f"{name}.new")
            (BUILD / f"{name}.new").rename(BUILD / name)
    archive = BUILD / "initramfs.cpio"
    sources = [memtool, *(HERE / "guest").iterdir()]
    if not archive.exists() or any(path.stat().st_mtime > archive.stat().st_mtime for path in sources):
        archive.write_bytes(cpio(_entries(memtool)))
    return archive


# ---------------------------------------------------------------- disks


def _data_disk(path: Path) -> None:
    with tempfile.TemporaryDirectory(dir=BUILD) as where:
        files = Path(where)
        for name, megabytes in [(f"f{mb}", mb) for mb in FILES_MB] + [(f"g{i}", 1024) for i in range(4)]:
            with (files / name).open("wb") as file:
                file.truncate(megabytes << 20)
        for i in range(200):
            (files / "many" / f"d{i}").mkdir(parents=True)
            for j in range(100):
                (files / "many" / f"d{i}" / str(j)).touch()
        _run("truncate", "-s", "8G", path)
        _run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal,^metadata_csum,^resize_inode",
             "-E", "lazy_itable_init=1,root_owner=0:0", "-N", "65536", "-d", files, path)


def _swap_disk(path: Path) -> None:
    _run("truncate", "-s", "2G", path)
    path.chmod(0o600)
    _run("mkswap", "-U", "clear", path)


# ---------------------------------------------------------------- initramfs

Entry = tuple[str, int, bytes, tuple[int, int]]
"""Name, mode, contents, device number."""


def _file(name: str, path: Path, mode: int = 0o755) -> Entry:
    return name, stat.S_IFREG | mode, path.read_bytes(), (0, 0)


def _entries(memtool: Path) -> list[Entry]:
    entries: list[Entry] = [
        ("dev", stat.S_IFDIR | 0o755, b"", (0, 0)),
        ("dev/console", stat.S_IFCHR | 0o600, b"", (5, 1)),
        _file("init", HERE / "guest" / "init"),
        _file("init2", HERE / "guest" / "init2"),
        _file("bin/busybox", Path("/bin/busybox")),
        _file("oracle/bin/memtool", memtool),
        _file("oracle/boot.sh", HERE / "guest" / "boot.sh"),
    ]
    libraries: set[str] = set()
    for tool in TOOLS:
        if found := shutil.which(tool, path=PATHS):
            entries.append(_file(f"usr/bin/{tool}", Path(found)))
            libraries |= set(_libraries(found))
    entries += [_file(library.lstrip("/"), Path(library).resolve()) for library in sorted(libraries)]
    entries.append(("etc", stat.S_IFDIR | 0o755, b"", (0, 0)))
    entries.append(("etc/passwd", stat.S_IFREG | 0o644, b"root:x:0:0:root:/root:/bin/sh\n", (0, 0)))
    return [*entries, *_module_entries()]


def _libraries(program: str) -> list[str]:
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return re.findall(r"(/\S+) \(0x", listed)


def _module_entries() -> Iterator[Entry]:
    image = kernel()
    assert image is not None
    directory = Path("/lib/modules") / image.name.removeprefix("vmlinuz-") / "kernel"
    order = []
    for name in MODULES:
        for found in list(directory.rglob(f"{name}.ko"))[:1]:
            order.append(found.name)
            yield _file(f"oracle/modules/{found.name}", found, 0o644)
    yield "oracle/modules.order", stat.S_IFREG | 0o644, "".join(f"{name}\n" for name in order).encode(), (0, 0)


def cpio(entries: list[Entry]) -> bytes:
    """A cpio archive in the format `newc` (Documentation/driver-api/early-userspace/buffer-format.rst)."""
    out = bytearray()
    known: set[str] = set()
    for name, mode, data, device in [*entries, ("TRAILER!!!", 0, b"", (0, 0))]:
        for above in reversed([str(path) for path in Path(name).parents if str(path) != "."]):
            if above not in known:
                known.add(above)
                _append(out, len(known), above, stat.S_IFDIR | 0o755, b"", (0, 0))
        if name not in known:
            known.add(name)
            _append(out, len(known), name, mode, data, device)
    return bytes(out) + bytes(-len(out) % 512)


def _append(out: bytearray, ino: int, name: str, mode: int, data: bytes, device: tuple[int, int]) -> None:
    path = name.encode() + b"\0"
    fields = (ino, mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
    out += b"070701" + "".join(f"{field:08X}" for field in fields).encode() + path
    out += bytes(-len(out) % 4) + data
    out += bytes(-len(out) % 4)
