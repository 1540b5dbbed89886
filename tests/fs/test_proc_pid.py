# SPDX-License-Identifier: MIT
"""/proc/PID of modelled tasks, and what /proc says of the whole machine."""

from __future__ import annotations

from errno import EINVAL, ENOENT, EPERM, ESRCH

import pytest

from numafs.fs.attr import Caller
from numafs.fs.verbs import run_verb
from numafs.kernel.check import check


@pytest.fixture
def task(kernel):
    return kernel.tasks.spawn(kernel, "memtool", cpu=2)


def last_map(root, task) -> str:
    lines = root.read_text(f"proc/{task.pid}/numa_maps").splitlines()
    return next(line for line in lines if line.startswith("10"))


@pytest.mark.parametrize(("verbs", "line"), [
    (["alloc 4M --touch"], "default anon=1024 dirty=1024 active=0 N1=1024 kernelpagesize_kB=4"),
    (["policy bind:2", "alloc 4M --touch"], "bind:2 anon=1024 dirty=1024 active=0 N2=1024 kernelpagesize_kB=4"),
    (["policy interleave:0-3", "alloc 4M --touch"],
     "interleave:0-3 anon=1024 dirty=1024 active=0 N0=256 N1=256 N2=256 N3=256 kernelpagesize_kB=4"),
    (["policy bind=static:2", "alloc 4M"], "bind=static:2"),
    (["policy interleave:1,3", "alloc 4M --touch"],
     "interleave:1,3 anon=1024 dirty=1024 active=0 N1=512 N3=512 kernelpagesize_kB=4"),
    (["alloc 4M"], "default"),
    (["alloc 4M --read"], "default"),
    (["alloc 4M --lock"], "default anon=1024 dirty=1024 N1=1024 kernelpagesize_kB=4"),
    (["alloc 4M --shared --touch"],
     "default file=/dev/zero\\040(deleted) dirty=1024 active=0 N1=1024 kernelpagesize_kB=4"),
])
def test_a_mapping_in_numa_maps(kernel, root, task, verbs, line):
    for verb in verbs:
        run_verb(kernel, task, verb)
    assert last_map(root, task) == "100000000000 " + line


def test_pages_shared_with_a_child_say_so(kernel, root, task):
    run_verb(kernel, task, "alloc 4M --touch")
    kernel.tasks.fork(kernel, task)
    assert last_map(root, task).endswith("anon=1024 dirty=1024 mapmax=2 active=0 N1=1024 kernelpagesize_kB=4")


def test_status_counts_the_memory_by_kind(kernel, root, task):
    before = status(root, task)
    run_verb(kernel, task, "alloc 4M --touch")
    after = status(root, task)
    for label in ("VmSize", "VmRSS", "RssAnon", "VmData"):
        assert kb(after[label]) - kb(before[label]) == 4096, label
    assert kb(after["VmStk"]) == 132
    check(kernel)


def status(root, task) -> dict[str, str]:
    lines = root.read_text(f"proc/{task.pid}/status").splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def kb(text: str) -> int:
    return int(text.split()[0])


def test_status_says_where_it_may_run_and_allocate(root, task):
    shown = status(root, task)
    assert (shown["Cpus_allowed"], shown["Cpus_allowed_list"]) == ("ff", "0-7")
    assert shown["Mems_allowed"] == ",".join(["00000000"] * 31 + ["0000000f"])
    assert (shown["Name"], shown["Pid"], shown["Threads"]) == ("memtool", str(task.pid), "1")


def test_statm_and_stat_agree_with_status(root, task):
    shown = status(root, task)
    size, resident, *_ = map(int, root.read_text(f"proc/{task.pid}/statm").split())
    fields = root.read_text(f"proc/{task.pid}/stat").rpartition(") ")[2].split()
    assert (size * 4, resident * 4) == (kb(shown["VmSize"]), kb(shown["VmRSS"]))
    assert (int(fields[20]), int(fields[21])) == (size * 4096, resident)
    assert (fields[0], fields[36], len(fields)) == ("S", "2", 50)


def test_a_task_has_its_cpusets_path(kernel, root, task):
    root.follow("sys/fs/cgroup/cpuset").mkdir("a", 0o755, Caller())
    for name, text in (("cpuset.cpus", "2-3"), ("cpuset.mems", "1"), ("tasks", str(task.pid))):
        root.write_text(f"sys/fs/cgroup/cpuset/a/{name}", text)
    assert root.read_text(f"proc/{task.pid}/cpuset") == "/a\n"
    assert root.read_text(f"proc/{task.pid}/cgroup") == "1:cpuset:/a\n"
    assert status(root, task)["Mems_allowed_list"] == "1"
    assert "cpuset\t1\t2\t1\n" in root.read_text("proc/cgroups")


def test_names_and_scores_can_be_written(root, task, refused):
    home = f"proc/{task.pid}/"
    root.write_text(home + "comm", "a name longer than fits\n")
    assert root.read_text(home + "comm") == "a name longer t\n"
    root.write_text(home + "oom_score_adj", "-1000\n")
    assert (root.read_text(home + "oom_score_adj"), root.read_text(home + "oom_score")) == ("-1000\n", "0\n")
    for bad in ("1001", "-1001", "x"):
        with refused(EINVAL):
            root.write_text(home + "oom_score_adj", bad)


def test_what_has_no_store_is_einval_and_modes_are_fixed(root, task, refused):
    with refused(EINVAL):
        root.write_text(f"proc/{task.pid}/numa_maps", "1")
    with refused(EPERM):
        root.resolve(f"proc/{task.pid}/status").chmod(0o600)


def test_an_exited_task_is_gone_and_its_open_files_are_esrch(kernel, root, task, refused):
    handle = root.open_path(f"proc/{task.pid}/numa_maps")
    assert handle.read(0, 10)
    kernel.tasks.do_exit(kernel, task)
    with refused(ESRCH):
        handle.read(0, 10)
    with refused(ENOENT):
        root.resolve(f"proc/{task.pid}")
    assert str(task.pid) not in set(root.follow("proc").names())


def test_threads_are_listed_below_their_process_only(kernel, root, task):
    thread = kernel.tasks.clone_thread(kernel, task)
    assert sorted(root.follow(f"proc/{task.pid}/task").names()) == sorted([str(task.pid), str(thread.pid)])
    assert str(thread.pid) not in set(root.follow("proc").names())
    assert root.read_text(f"proc/{thread.pid}/comm") == "memtool\n"
    assert status(root, thread)["Tgid"] == str(task.pid)


def test_kernel_threads_have_no_memory(root, kernel):
    kthreadd = kernel.tasks.get(2)
    assert root.read_text("proc/2/numa_maps") == root.read_text("proc/2/cmdline") == ""
    assert root.read_text("proc/2/statm") == "0 0 0 0 0 0 0\n"
    assert "VmRSS" not in status(root, kthreadd)


def test_sched_says_what_numa_balancing_knows(kernel, root, task):
    for verb in ("alloc 4M --mbind bind:2 --touch", "mbind 0 default", "loop 0 2"):
        run_verb(kernel, task, verb)
    lines = root.read_text(f"proc/{task.pid}/sched").splitlines()
    assert lines[:2] == [f"memtool ({task.pid}, #threads: 1)", "-" * 67]
    assert f"{'numa_pages_migrated':<45}:{1024:21}" in lines
    assert f"{'numa_preferred_nid':<45}:{-1:21}" in lines
    assert "current_node=1, numa_group_id=0" in lines
    assert lines[-4] == "numa_faults node=0 task_private=0 task_shared=0 group_private=0 group_shared=0"
    seconds = next(line for line in lines if line.startswith("se.sum_exec_runtime")).split(":")[1]
    assert 2000 < float(seconds) < 2100


def test_self_is_who_asks(root, task):
    assert root.resolve("proc/self").readlink(Caller(pid=task.pid)) == str(task.pid)
    assert root.read_text("proc/self/comm", Caller(pid=task.pid)) == "memtool\n"


def test_time_since_boot_is_the_models(kernel, root):
    kernel.clock.advance(12_340_000_000 - kernel.clock.now)
    assert root.read_text("proc/uptime") == "12.34 98.72\n"


def test_swap_areas_are_listed(root, kernel):
    lines = root.read_text("proc/swaps").splitlines()
    assert lines[0] == "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority"
    for line, area in zip(lines[1:], kernel.swap_areas, strict=True):
        kind = "partition" if area.partition else "file"
        assert line.split() == [area.path, kind, str(area.pages * 4), "0", str(area.priority)]


def test_free_blocks_add_up_in_buddyinfo_and_pagetypeinfo(kernel, root):
    zones = kernel.zones()
    for line, zone in zip(root.read_text("proc/buddyinfo").splitlines(), zones, strict=True):
        blocks = list(map(int, line.split()[4:]))
        assert sum(n << order for order, n in enumerate(blocks)) == zone.free
    movable = [line for line in root.read_text("proc/pagetypeinfo").splitlines() if "type      Movable" in line]
    assert len(movable) == len(zones)


def test_all_tasks_see_the_policy_of_shared_memory(kernel, root, task):
    run_verb(kernel, task, "alloc 64K --shared")
    child = kernel.tasks.fork(kernel, task)
    run_verb(kernel, task, "mbind 0 bind:3")
    assert last_map(root, child) == "100000000000 bind:3 file=/dev/zero\\040(deleted)"
