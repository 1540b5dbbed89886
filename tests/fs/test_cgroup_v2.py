# SPDX-License-Identifier: MIT
"""The files of cgroup v2, as recorded in the transcripts of Linux 6.1."""

from __future__ import annotations

import errno
from dataclasses import replace

import pytest

import numafs
from numafs.fs import verbs
from numafs.fs.attr import Caller
from numafs.fs.root import build
from numafs.fs.tree import ROOT_CALLER, Dir, Root
from numafs.kernel.boot import boot
from numafs.kernel.kernel import Kernel
from numafs.machine.presets import resolve
from numafs.machine.spec import Disk, DiskFile

USER = Caller(pid=77, uid=1000, gid=1000)
TOP = "sys/fs/cgroup/unified"


@pytest.fixture
def kernel() -> Kernel:
    disk = Disk("vda", (DiskFile("f64", 64 << 20),))
    return boot(replace(resolve("ring4"), cgroup="v2", disks=(disk,)))


@pytest.fixture
def root(kernel: Kernel) -> Root:
    return build(kernel)


def mkdir(root: Root, path: str, caller: Caller = ROOT_CALLER) -> Dir:
    parent, name = root.resolve_parent(f"{TOP}/{path}")
    parent.mkdir(name, 0o755, caller)
    made = parent.lookup(name)
    assert isinstance(made, Dir)
    return made


def read(root: Root, path: str) -> str:
    return root.read_text(f"{TOP}/{path}")


def write(root: Root, path: str, text: str, caller: Caller = ROOT_CALLER) -> str:
    """The errno's name, or nothing."""
    try:
        root.write_text(f"{TOP}/{path}", text, caller)
    except OSError as refused:
        return errno.errorcode[refused.errno or 0]
    return ""


def names(root: Root, path: str = "") -> set[str]:
    node = root.resolve(f"{TOP}/{path}")
    assert isinstance(node, Dir)
    return set(node.names())


def test_the_controller_is_in_one_hierarchy_only(root: Root) -> None:
    assert root.read_text("proc/mounts").count("cgroup2") == 1
    with pytest.raises(FileNotFoundError):
        root.resolve("sys/fs/cgroup/cpuset")
    with pytest.raises(FileNotFoundError):
        root.resolve("dev/cpuset")
    with pytest.raises(FileNotFoundError):
        build(numafs.load("ring4")).resolve(TOP)


def test_files_of_the_root(root: Root) -> None:
    assert read(root, "cgroup.controllers") == "cpuset cpu io memory hugetlb pids rdma misc\n"
    assert read(root, "cgroup.subtree_control") == ""
    assert not names(root) & {"cpuset.cpus", "cpuset.mems", "cgroup.type", "cgroup.events", "cgroup.kill"}
    assert (read(root, "cpuset.cpus.effective"), read(root, "cpuset.mems.effective")) == ("0-7\n", "0-3\n")
    assert root.resolve(TOP).stat().mode == 0o40555


@pytest.mark.parametrize(
    ("text", "error", "then"),
    [("+cpuset\n", "", "cpuset\n"), ("+memory +cpuset", "", "cpuset memory\n"), ("+cpuset -cpuset", "", ""),
     ("cpuset", "EINVAL", ""), ("+nope", "EINVAL", ""), ("+ cpuset", "EINVAL", ""), ("+cpuset\t+memory", "EINVAL", ""),
     ("+cpuset,+memory", "EINVAL", ""), (" ", "", ""), ("\n", "", "")],
)
def test_words_of_subtree_control(root: Root, text: str, error: str, then: str) -> None:
    assert (write(root, "cgroup.subtree_control", text), read(root, "cgroup.subtree_control")) == (error, then)


def test_files_come_and_go_with_the_controller(root: Root) -> None:
    mkdir(root, "a")
    assert not any(name.startswith("cpuset") for name in names(root, "a"))
    write(root, "cgroup.subtree_control", "+cpuset")
    assert {name for name in names(root, "a") if name.startswith("cpuset")} == {
        "cpuset.cpus", "cpuset.cpus.effective", "cpuset.cpus.partition", "cpuset.mems", "cpuset.mems.effective",
    }
    handle = root.open_path(f"{TOP}/a/cpuset.mems")
    write(root, "cgroup.subtree_control", "-cpuset")
    with pytest.raises(OSError) as gone:
        handle.read(0, 100)
    assert gone.value.errno == errno.ENODEV
    assert write(root, "a/cpuset.mems", "0") == "ENOENT"


def test_a_child_s_files(root: Root) -> None:
    write(root, "cgroup.subtree_control", "+cpuset")
    made = mkdir(root, "a")
    values = {name: read(root, f"a/{name}") for name in made.names() if name != "cgroup.kill"}
    assert values == {
        "cgroup.procs": "", "cgroup.threads": "", "cgroup.controllers": "cpuset\n", "cgroup.subtree_control": "",
        "cgroup.max.descendants": "max\n", "cgroup.max.depth": "max\n", "cgroup.type": "domain\n",
        "cgroup.stat": "nr_descendants 0\nnr_dying_descendants 0\n", "cgroup.events": "populated 0\nfrozen 0\n",
        "cgroup.freeze": "0\n", "cpuset.cpus": "\n", "cpuset.mems": "\n", "cpuset.cpus.effective": "0-7\n",
        "cpuset.mems.effective": "0-3\n", "cpuset.cpus.partition": "member\n",
    }
    assert root.resolve(f"{TOP}/a/cgroup.kill").mode == 0o200


def test_what_is_written_to_partition_and_type(root: Root) -> None:
    write(root, "cgroup.subtree_control", "+cpuset")
    mkdir(root, "a")
    write(root, "a/cpuset.cpus", "2-3")
    for text in ("Root", "x", "1", "root invalid", "\n"):
        assert write(root, "a/cpuset.cpus.partition", text) == "EINVAL"
    assert write(root, "a/cpuset.cpus.partition", " root \n") == ""
    assert (read(root, "a/cpuset.cpus.partition"), read(root, "cpuset.cpus.effective")) == ("root\n", "0-1,4-7\n")
    assert write(root, "a/cgroup.type", "domain") == "EINVAL"
    assert (write(root, "a/cgroup.type", "threaded\n"), read(root, "a/cgroup.type")) == ("", "threaded\n")


def test_numbers_of_limits_freezer_and_kill(root: Root) -> None:
    mkdir(root, "a")
    assert [write(root, "a/cgroup.max.depth", text) for text in ("3", "-1", "x", "max\n")] == [
        "", "ERANGE", "EINVAL", "",
    ]
    assert [write(root, "a/cgroup.kill", text) for text in ("0", "2", "x")] == ["ERANGE", "ERANGE", "EINVAL"]
    assert [write(root, "a/cgroup.freeze", text) for text in ("2", "1")] == ["ERANGE", ""]
    assert read(root, "a/cgroup.events") == "populated 0\nfrozen 1\n"


def test_a_task_is_moved_and_killed(root: Root, kernel: Kernel) -> None:
    mkdir(root, "a")
    mkdir(root, "a/b")
    pid = verbs.create_task(kernel, "idle --cpuset /a").pid
    assert root.read_text(f"proc/{pid}/cgroup") == "0::/a\n"
    assert root.read_text(f"proc/{pid}/cpuset") == "/\n"
    assert write(root, "a/b/cgroup.procs", str(pid)) == ""
    assert (read(root, "a/b/cgroup.procs"), read(root, "a/cgroup.events")) == (f"{pid}\n", "populated 1\nfrozen 0\n")
    assert write(root, "a/cgroup.kill", "1") == ""
    assert read(root, "a/cgroup.events") == "populated 0\nfrozen 0\n"


def test_who_moves_a_task_needs_the_common_ancestor(root: Root, kernel: Kernel) -> None:
    node = mkdir(root, "u")
    node.chown(1000, 1000)
    node.children["cgroup.procs"].chown(1000, 1000)
    for name in "ab":
        mkdir(root, f"u/{name}", USER)
    pid = verbs.create_task(kernel, "idle --cpuset /u/a", uid=1000).pid
    stranger = verbs.create_task(kernel, "idle", uid=1000).pid
    assert write(root, "u/b/cgroup.procs", str(pid), USER) == ""
    assert write(root, "u/b/cgroup.procs", str(stranger), USER) == "EACCES"


def test_directories_are_made_and_removed_but_not_renamed(root: Root) -> None:
    mkdir(root, "a")
    top, _ = root.resolve_parent(f"{TOP}/a")
    for refused, call in (
        (errno.EPERM, lambda: top.rename("a", top, "b", ROOT_CALLER)),
        (errno.EEXIST, lambda: top.mkdir("a", 0o755, ROOT_CALLER)),
        (errno.EINVAL, lambda: top.mkdir("x\ny", 0o755, ROOT_CALLER)),
        (errno.EACCES, lambda: top.mkdir("b", 0o755, USER)),
        (errno.ENOTDIR, lambda: top.rmdir("cgroup.procs", ROOT_CALLER)),
    ):
        with pytest.raises(OSError) as error:
            call()
        assert error.value.errno == refused
    made = root.resolve(f"{TOP}/a")
    top.rmdir("a", ROOT_CALLER)
    assert isinstance(made, Dir) and made.gone
    assert "a" not in names(root)


# ---------------------------------------------------------------- memory


def test_files_of_memory(root: Root) -> None:
    write(root, "cgroup.subtree_control", "+memory")
    mkdir(root, "a")
    values = [read(root, f"a/memory.{name}") for name in ("current", "peak", "high", "max", "oom.group")]
    assert values == ["0\n", "0\n", "max\n", "max\n", "0\n"]
    assert read(root, "a/memory.events") == "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"
    assert read(root, "a/memory.events.local") == read(root, "a/memory.events")
    assert {name for name in names(root) if name.startswith("memory")} == {
        "memory.numa_stat", "memory.reclaim", "memory.stat",
    }


def test_what_a_task_touches_is_in_the_statistics_of_its_group_by_node(root: Root, kernel: Kernel) -> None:
    write(root, "cgroup.subtree_control", "+memory +cpuset")
    mkdir(root, "m")
    write(root, "m/cpuset.mems", "1-2")
    task = verbs.create_task(kernel, "idle --cpuset /m")
    verbs.run_verb(kernel, task, "policy interleave:1-2; alloc 32M --touch")
    rows = dict(line.split(" ", 1) for line in read(root, "m/memory.numa_stat").splitlines())
    assert rows["pagetables"] == "N0=0 N1=32768 N2=36864 N3=0"
    assert rows["anon"] == rows["inactive_anon"] == "N0=0 N1=16777216 N2=16777216 N3=0"
    assert "anon 33554432\n" in read(root, "m/memory.stat")
    assert int(read(root, "m/memory.current")) - (32 << 20) == 18 << 12
    assert read(root, "memory.numa_stat").split("\n")[0].startswith("anon N0=")


@pytest.mark.parametrize(
    ("text", "error"),
    [("4M", ""), ("4M\n", ""), ("4194304", ""), ("0", ""), ("1", ""), ("x", "EINVAL"), ("-1", "EINVAL"),
     ("4M 2", "EINVAL"), ("4M swappiness=0", "EINVAL"), ("1G", "EAGAIN")],
)
def test_sizes_to_reclaim(root: Root, kernel: Kernel, text: str, error: str) -> None:
    write(root, "cgroup.subtree_control", "+memory")
    mkdir(root, "m")
    task = verbs.create_task(kernel, "idle --cpuset /m")
    verbs.run_verb(kernel, task, "read f64")
    assert write(root, "m/memory.reclaim", text) == error
    left = int(read(root, "m/memory.current"))
    assert left == {"": 64 << 20 if text in ("0", "1") else 60 << 20, "EINVAL": 64 << 20, "EAGAIN": 0}[error]


def test_limits_are_whole_pages(root: Root) -> None:
    write(root, "cgroup.subtree_control", "+memory")
    mkdir(root, "m")
    for text, then in (("20M", "20971520\n"), ("5000", "4096\n"), ("max\n", "max\n")):
        assert (write(root, "m/memory.max", text), read(root, "m/memory.max")) == ("", then)
        assert (write(root, "m/memory.high", text), read(root, "m/memory.high")) == ("", then)
    assert write(root, "m/memory.max", "lots") == "EINVAL"
