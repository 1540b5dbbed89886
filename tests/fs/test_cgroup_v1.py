# SPDX-License-Identifier: MIT
"""The cpuset files under both names, as recorded in the transcripts of Linux 6.1."""

from __future__ import annotations

import errno

import pytest

from numafs.fs import verbs
from numafs.fs.attr import Caller
from numafs.fs.cgroup_v1 import CpusetDir, cpuset_dir, kernfs_name_hash, parse_pid
from numafs.fs.tree import ROOT_CALLER, Root
from numafs.kernel.kernel import Kernel

USER = Caller(pid=77, uid=1000, gid=1000)


@pytest.fixture
def root(kernel: Kernel) -> Root:
    """`c/` with prefixes, `l/` without."""
    root = Root()
    root.add("c", cpuset_dir(kernel, noprefix=False))
    root.add("l", cpuset_dir(kernel, noprefix=True))
    return root


def mkdir(root: Root, path: str, caller: Caller = ROOT_CALLER, mode: int = 0o755) -> CpusetDir:
    parent, name = root.resolve_parent(path)
    parent.mkdir(name, mode, caller)
    made = parent.lookup(name)
    assert isinstance(made, CpusetDir)
    return made


def refusal(root: Root, path: str, text: str) -> str:
    with pytest.raises(OSError) as error:
        root.write_text(path, text)
    return errno.errorcode[error.value.errno or 0]


# ---------------------------------------------------------------- what is there


def test_the_root_has_twenty_files_and_a_child_seventeen(root: Root) -> None:
    made = mkdir(root, "c/a")
    assert len(made.children) == 17
    assert len(list(root.resolve("c").names())) == 20 + 1  # type: ignore[attr-defined]
    assert "cpuset.memory_pressure_enabled" not in made.children


def test_files_are_listed_by_the_hash_of_their_names(root: Root) -> None:
    assert " ".join(mkdir(root, "c/a").names()) == (
        "cgroup.procs cpuset.memory_pressure cpuset.memory_migrate cpuset.mem_exclusive cpuset.memory_spread_slab "
        "cpuset.cpu_exclusive tasks cpuset.effective_mems cpuset.effective_cpus notify_on_release "
        "cpuset.sched_load_balance cpuset.mems cpuset.mem_hardwall cpuset.sched_relax_domain_level cpuset.cpus "
        "cgroup.clone_children cpuset.memory_spread_page"
    )
    assert kernfs_name_hash("") == 2


def test_only_the_controller_s_own_files_lose_their_prefix(root: Root) -> None:
    names = set(root.resolve("l").children)  # type: ignore[attr-defined]
    assert {"mems", "cpus", "memory_migrate", "cgroup.procs", "tasks", "release_agent"} <= names
    assert not any(name.startswith("cpuset.") for name in names)


def test_inode_numbers_go_on_from_directory_to_directory(root: Root) -> None:
    assert root.resolve("c").ino == 1
    assert root.resolve("c/cgroup.procs").ino == 2
    assert [mkdir(root, f"c/{name}").ino for name in "ab"] == [22, 40]
    assert [root.resolve(f"c/a/{name}").ino for name in ("tasks", "cpuset.cpus", "cpuset.mems")] == [25, 27, 28]


def test_a_directory_has_the_mode_without_setuid_and_the_owner_of_its_maker(root: Root) -> None:
    root.resolve("c").chmod(0o777)
    made = mkdir(root, "c/a", USER, 0o7755)
    assert (made.stat().mode, made.uid, made.gid) == (0o41755, 1000, 1000)
    assert root.resolve("c/a/tasks").uid == 1000
    assert root.resolve("c").stat()[:2] == (0o40777, 3)


def test_a_new_cpuset_is_empty(root: Root) -> None:
    mkdir(root, "c/a")
    for name, text in (("cpuset.cpus", "\n"), ("cpuset.mems", "\n"), ("tasks", ""), ("cpuset.effective_mems", "\n"),
                       ("cpuset.sched_load_balance", "1\n"), ("cpuset.sched_relax_domain_level", "-1\n")):
        assert root.read_text(f"c/a/{name}") == text
    assert root.read_text("c/cpuset.mems") == "0-3\n"
    assert root.read_text("c/release_agent") == "\n"
    assert root.read_text("l/release_agent") == "/sbin/cpuset_release_agent\n"


# ---------------------------------------------------------------- writing


def test_both_names_are_of_one_cpuset(root: Root) -> None:
    mkdir(root, "c/a")
    root.write_text("l/a/mems", "1-2\n")
    assert root.read_text("c/a/cpuset.mems") == "1-2\n"


@pytest.mark.parametrize("text", ["1", "2", "+1", "01", "0x10", "18446744073709551615", "1\0junk", "1\n"])
def test_a_flag_is_any_number_but_zero(root: Root, text: str) -> None:
    mkdir(root, "c/a")
    root.write_text("c/a/cpuset.memory_migrate", text)
    assert root.read_text("c/a/cpuset.memory_migrate") == "1\n"


def test_a_flag_of_the_cpuset_is_seen_as_an_int(root: Root) -> None:
    root.write_text("c/cpuset.memory_migrate", "4294967296")
    root.write_text("c/notify_on_release", "4294967296")
    assert root.read_text("c/cpuset.memory_migrate") == "0\n"
    assert root.read_text("c/notify_on_release") == "1\n"


@pytest.mark.parametrize("text", ["-1", "yes", "\n", " 1", "1 ", "08", "0x", "1\n\n", "\0", "++1"])
def test_what_is_no_flag_is_refused(root: Root, text: str) -> None:
    mkdir(root, "c/a")
    assert refusal(root, "c/a/cpuset.memory_migrate", text) == "EINVAL"
    assert refusal(root, "c/a/cgroup.clone_children", text) == "EINVAL"


def test_a_flag_of_more_than_64_bits_is_out_of_range(root: Root) -> None:
    assert refusal(root, "c/cpuset.memory_migrate", "18446744073709551616") == "ERANGE"


def test_lists_may_be_as_long_as_the_machine_could_need(root: Root) -> None:
    mkdir(root, "c/a")
    root.write_text("c/a/cpuset.mems", "0," * 3121 + "0")
    assert refusal(root, "c/a/cpuset.mems", "0," * 3122 + "0") == "E2BIG"
    assert refusal(root, "c/a/tasks", " " * 4097) == "E2BIG"


def test_a_list_ends_at_a_nul(root: Root) -> None:
    mkdir(root, "c/a")
    root.write_text("c/a/cpuset.mems", "0\0junk")
    assert root.read_text("c/a/cpuset.mems") == "0\n"


def test_the_root_s_lists_cannot_be_written(root: Root) -> None:
    assert refusal(root, "c/cpuset.mems", "garbage") == "EACCES"
    assert refusal(root, "c/cpuset.effective_mems", "0") == "EINVAL"


@pytest.mark.parametrize(
    ("text", "pid"), [(b"74", 74), (b" 74 \n", 74), (b"+74", 74), (b"0x4a", 74), (b"0112", 74), (b"-0", 0),
                      (b"5\0x", 5)],
)
def test_pids_are_numbers_of_any_base(text: bytes, pid: int) -> None:
    assert parse_pid(text) == pid


@pytest.mark.parametrize("text", [b"", b"\n", b"5 6", b"5,", b"-1", b"self", b"2147483648", b"99999999999999999999"])
def test_whatever_is_wrong_with_a_pid_is_invalid(text: bytes) -> None:
    with pytest.raises(OSError) as error:
        parse_pid(text)
    assert error.value.errno == errno.EINVAL


def test_a_task_is_moved_and_listed(kernel: Kernel, root: Root) -> None:
    task = verbs.create_task(kernel, "idle")
    mkdir(root, "c/a")
    assert refusal(root, "c/a/tasks", str(task.pid)) == "ENOSPC"
    root.write_text("c/a/cpuset.cpus", "0")
    root.write_text("c/a/cpuset.mems", "0")
    root.write_text("c/a/cgroup.procs", f"{task.pid}\n")
    assert root.read_text("c/a/tasks") == root.read_text("l/a/cgroup.procs") == f"{task.pid}\n"
    assert refusal(root, "c/a/tasks", "2147483647") == "ESRCH"


def test_zero_is_the_thread_that_writes(kernel: Kernel, root: Root) -> None:
    task = verbs.create_task(kernel, "idle")
    mkdir(root, "c/a")
    for name in ("cpus", "mems"):
        root.write_text(f"c/a/cpuset.{name}", "0")
    root.write_text("c/a/tasks", "0", Caller(pid=task.pid))
    assert root.read_text("c/a/tasks") == f"{task.pid}\n"


# ---------------------------------------------------------------- directories


def test_directories_say_no_as_the_kernel_does(root: Root) -> None:
    mkdir(root, "c/a")
    top = root.resolve("c")
    assert isinstance(top, CpusetDir)
    for name, number in (("a", errno.EEXIST), ("tasks", errno.EEXIST), ("a\nb", errno.EINVAL)):
        with pytest.raises(OSError) as error:
            top.mkdir(name, 0o755, Caller())
        assert error.value.errno == number
    for name, number in (("none", errno.ENOENT), ("tasks", errno.ENOTDIR)):
        with pytest.raises(OSError) as error:
            top.rmdir(name, Caller())
        assert error.value.errno == number
    with pytest.raises(PermissionError):
        top.mkdir("b", 0o755, USER)


def test_a_group_is_renamed_in_its_directory_only(root: Root) -> None:
    mkdir(root, "c/a")
    mkdir(root, "c/b")
    top, other = root.resolve("c"), root.resolve("c/b")
    assert isinstance(top, CpusetDir) and isinstance(other, CpusetDir)
    for parent, name, number in ((top, "b", errno.EEXIST), (other, "x", errno.EIO), (top, "tasks", errno.ENOTDIR)):
        with pytest.raises(OSError) as error:
            top.rename("a", parent, name, Caller())
        assert error.value.errno == number
    top.rename("a", top, "x", Caller())
    assert {"b", "x"} <= set(top.names()) and "a" not in set(top.names())


def test_what_is_open_in_a_removed_group_answers_enodev(root: Root) -> None:
    mkdir(root, "c/a")
    handle = root.open_path("c/a/cpuset.mems")
    root.resolve("c").rmdir("a", Caller())  # type: ignore[attr-defined]
    with pytest.raises(OSError) as error:
        handle.read(0, 10)
    assert error.value.errno == errno.ENODEV
    with pytest.raises(FileNotFoundError):
        root.resolve("c/a")
