"""Real programs whose system calls the model answers: what they see, what they inherit, what can go wrong."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from launcher import Sessions, sessions

HERE = Path(__file__).parent
GUEST = {"PYTHONPATH": f"{HERE}:{HERE.parents[1]}"}


def needs_listener() -> None:
    """Skips where no filter can be installed: in a container without the right, or under another listener."""
    code = "from numafs.doors.seccomp import install_filter as f; f()"
    tried = subprocess.run([sys.executable, "-c", code + "; import os; os.kill(os.getpid(), 9)"],
                           capture_output=True, text=True, check=False)
    if tried.returncode != -signal.SIGKILL:
        pytest.skip(f"no seccomp listener: {tried.stderr.strip()[-100:]}")


@pytest.fixture
def machine(kernel) -> Iterator[Sessions]:
    needs_listener()
    with sessions(kernel) as made:
        yield made


def guest(machine: Sessions, program: str, *arguments: str, **options) -> str:
    """What a Python program prints that has the names of guest.py."""
    command = [sys.executable, "-c", f"from guest import *\n{program}", *arguments]
    return machine.run(*command, env=GUEST, **options).strip()


# -- what programs see ------------------------------------------------------------------------


@pytest.mark.skipif(not Path("/usr/bin/nproc").exists(), reason="no nproc")
def test_nproc_counts_the_modelled_cpus(machine):
    assert machine.run("nproc") == "8\n"


def test_a_policy_is_the_callers(machine):
    assert guest(machine, "print(policy(), set_policy(BIND, 1, 2), policy(), set_policy(BIND, 9), policy())") == (
        "(0, 0, 0) 0 (0, 2, 6) -22 (0, 2, 6)"
    )


def test_bad_pointers_are_efault(machine):
    program = "print(syscall(SET_MEMPOLICY, BIND, 0x10, 65), syscall(GET_MEMPOLICY, 0x10, 0, 0, 0, 0))"
    assert guest(machine, program) == f"-{errno.EFAULT} -{errno.EFAULT}"


def test_memory_that_may_not_be_written_is_efault(machine):
    program = """
address = alloc(1); touch(address, 0, 1); libc.mprotect(ctypes.c_void_p(address), PAGE, 1)
print(syscall(GET_MEMPOLICY, address, 0, 0, 0, 0), ctypes.string_at(address, 1))"""
    assert guest(machine, program) == f"-{errno.EFAULT} b'\\x01'"


def test_getcpu_is_on_the_node_of_the_affinity(machine):
    program = "os.sched_setaffinity(0, {6, 7}); print(libc.sched_getcpu(), sorted(os.sched_getaffinity(0)))"
    assert guest(machine, program) == "6 [6, 7]"


def test_exit_status_and_death_by_signal_are_the_programs_own(machine):
    child = machine.start(["sh", "-c", "exit 7"])
    assert child.wait(10) == 7
    child = machine.start(["sh", "-c", "kill -9 $$"])
    assert child.wait(10) == -signal.SIGKILL


def test_a_nested_filter_is_refused_as_busy(machine):
    program = """
from numafs.doors.seccomp import install_filter
try: install_filter()
except OSError as error: print(error.errno)"""
    assert guest(machine, program) == str(errno.EBUSY)


# -- what is inherited ------------------------------------------------------------------------


def test_a_child_has_the_policy_that_its_parent_had_when_it_forked(machine):
    program = """
set_policy(BIND, 1)
reader, writer = os.pipe()
if os.fork() == 0:
    os.read(reader, 1); print(policy(), flush=True); os._exit(0)
set_policy(BIND, 2)
os.write(writer, b'g'); os.wait(); print(policy())"""
    assert guest(machine, program) == "(0, 2, 2)\n(0, 2, 4)"


def test_an_orphaned_grandchild_has_it_too(machine):
    program = """
set_policy(BIND, 3)
reader, writer = os.pipe()
if os.fork() == 0:
    if os.fork() == 0:
        os.read(reader, 1); print(policy(), flush=True)
    os._exit(0)
os.wait(); set_policy(0); os.write(writer, b'g')"""
    assert guest(machine, program) == "(0, 2, 8)"


def test_threads_have_policies_of_their_own_and_their_children_inherit_those(machine):
    program = """
import threading
set_policy(BIND, 1)
def thread():
    print(policy()); set_policy(BIND, 3)
    if os.fork() == 0:
        print(policy(), flush=True); os._exit(0)
    os.wait()
t = threading.Thread(target=thread); t.start(); t.join(); print(policy())"""
    assert guest(machine, program) == "(0, 2, 2)\n(0, 2, 8)\n(0, 2, 2)"


def test_exec_keeps_the_policy_of_the_thread_that_calls_it(machine):
    program = """
import sys, threading
show = [sys.executable, '-c', 'from guest import *; print(policy())']
def thread():
    set_policy(BIND, 2)
    os.execv(sys.executable, show)
set_policy(BIND, 1)
threading.Thread(target=thread).start()
os.read(os.pipe()[0], 1)"""
    assert guest(machine, program) == "(0, 2, 4)"


def test_a_hundred_threads(machine):
    machine.check_no_more()
    program = """
import threading
wrong = []
def thread(i):
    for _ in range(10):
        set_policy(BIND, i % 4)
        if policy() != (0, 2, 1 << i % 4): wrong.append(i)
threads = [threading.Thread(target=thread, args=(i,)) for i in range(100)]
[t.start() for t in threads]; [t.join() for t in threads]; print(wrong)"""
    assert guest(machine, program) == "[]"


def test_processes_leave_the_model_when_they_end(machine, kernel):
    machine.run("sh", "-c", "for i in 1 2 3; do (true); done; true | true")
    with machine.service.lock:
        machine.supervisor.follower.drain()
        assert [task for task in kernel.tasks if task.real] == []


def test_many_short_processes_leave_nothing_behind(machine, kernel):
    machine.run("sh", "-c", "i=0; while [ $i -lt 300 ]; do (exit 0); i=$((i+1)); done")
    with machine.service.lock:
        machine.supervisor.follower.drain()
        assert machine.supervisor.follower.processes == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="pid namespaces are root's to make")
def test_pids_are_those_of_the_callers_namespace(machine):
    program = """
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.read(reader, 1); os._exit(0)
print(os.getpid(), os.sched_getaffinity(child) == os.sched_getaffinity(0), end=' ')
os.sched_setaffinity(child, {5})
print(os.sched_getaffinity(child), syscall(MIGRATE_PAGES, 77777, 65, mask(0), mask(1)))
os.write(writer, b'g'); os.wait()"""
    out = machine.run("unshare", "-pf", sys.executable, "-c", f"from guest import *\n{program}", env=GUEST).strip()
    assert out == f"1 True {{5}} -{errno.ESRCH}"


# -- what goes wrong --------------------------------------------------------------------------


def test_a_program_that_is_killed_in_a_call_does_no_harm(machine):
    with machine.service.lock:
        child = machine.start([sys.executable, "-S", "-c", "import os; os.sched_getaffinity(0)"])
        child.kill()
    assert child.wait(10) == -signal.SIGKILL
    assert machine.run("true") == ""


def test_signals_that_restart_calls_never_interrupt_one(machine):
    machine.check_no_more()
    program = """
import signal
hits = []
signal.signal(signal.SIGALRM, lambda *_: hits.append(1)); signal.siginterrupt(signal.SIGALRM, False)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
results = {policy()[0] for _ in range(500)}
signal.setitimer(signal.ITIMER_REAL, 0); print(results, len(hits) > 0)"""
    assert guest(machine, program) == "{0} True"


def waiting(machine: Sessions, program: str) -> subprocess.Popen:
    """A Python program that said that it runs, and goes on when it gets a line."""
    code = f"from guest import *\nprint('ready', flush=True); input()\n{program}"
    child = machine.start([sys.executable, "-c", code], env=GUEST, stdin=subprocess.PIPE)
    assert child.stdout.readline() == "ready\n"
    return child


def test_without_a_supervisor_calls_fail_and_programs_go_on(kernel):
    needs_listener()
    with sessions(kernel) as machine:
        child = waiting(machine, "print(policy(), flush=True); os.kill(os.getpid(), 9)")
    out, _ = child.communicate("\n", timeout=10)
    assert out == f"(-{errno.ENOSYS}, 0, 0)\n"


def test_who_stands_in_for_the_daemon_lets_programs_start(kernel):
    needs_listener()
    from numafs.doors.keeper import stand_in

    with sessions(kernel) as machine:
        child = waiting(machine, "print(policy(), flush=True); os.system('echo started; exit 3')")
        kept = os.dup(next(iter(machine.supervisor._sessions)))
    keeper = threading.Thread(target=stand_in, args=(kept,))
    keeper.start()
    out, _ = child.communicate("\n", timeout=10)
    keeper.join(10)
    assert (out, child.returncode, keeper.is_alive()) == (f"(-{errno.ENOSYS}, 0, 0)\nstarted\n", 0, False)


def test_a_new_supervisor_takes_over_a_listener_that_somebody_kept(kernel):
    needs_listener()
    from numafs.doors.syscalls import Supervisor

    with sessions(kernel) as machine:
        child = waiting(machine, "print(policy(), flush=True)")
        kept = os.dup(next(iter(machine.supervisor._sessions)))
    child.stdin.write("\n")
    child.stdin.flush()
    second = Supervisor(machine.service, kernel)
    try:
        second.attach(kept, child.pid)
        out, _ = child.communicate(timeout=10)
    finally:
        second.close()
    assert out.strip() == "(0, 0, 0)"


# -- what is touched --------------------------------------------------------------------------


def test_pages_lie_where_the_policy_of_their_first_touch_put_them(machine):
    program = """
import threading
a = alloc(4000)
touch(a, 0, 500)
set_policy(BIND, 1); touch(a, 500, 1000)
set_policy(INTERLEAVE, 2, 3); touch(a, 1000, 2000)
set_policy(0); free(a, 0, 500); set_policy(BIND, 3); touch(a, 0, 500)
def thread(): set_policy(BIND, 2); touch(a, 2000, 2500)
t = threading.Thread(target=thread); t.start(); t.join()
print(nodes_of(a, 4000))"""
    assert guest(machine, program) == "N1=500 N2=1000 N3=1000 -14=1500"


def test_a_mapping_has_its_own_policy_and_pages_move_to_obey_it(machine):
    program = """
a = alloc(300); touch(a, 0, 100)
print(syscall(MBIND, a, 300 * PAGE, BIND, mask(2), 65, 0)); touch(a, 100, 200); print(nodes_of(a, 300))
print(syscall(MBIND, a, 300 * PAGE, BIND, mask(2), 65, 1), syscall(MBIND, a, 300 * PAGE, BIND, mask(2), 65, 2))
print(nodes_of(a, 300), syscall(MIGRATE_PAGES, 0, 65, mask(2), mask(3)), nodes_of(a, 300))"""
    assert guest(machine, program).splitlines() == [
        "0", "N0=100 N2=100 -14=100", f"-{errno.EIO} 0", "N2=200 -14=100 0 N3=200 -14=100",
    ]


def test_pages_that_are_freed_or_unmapped_leave_the_model(machine, kernel):
    program = """
a = alloc(2000); touch(a, 0, 2000); print(nodes_of(a, 2000))
free(a, 0, 1000); print(nodes_of(a, 2000))
libc.munmap(ctypes.c_void_p(a), ctypes.c_size_t(2000 * PAGE)); print(nodes_of(a, 2000))"""
    assert guest(machine, program).splitlines() == ["N0=2000", "N0=1000 -14=1000", "-14=2000"]


def test_what_a_fork_shares_is_charged_once_until_it_is_written(machine):
    program = """
a = alloc(1000); touch(a, 0, 1000)
reader, writer = os.pipe()
if os.fork() == 0:
    set_policy(BIND, 2); touch(a, 0, 300); print(nodes_of(a, 1000), flush=True); os._exit(0)
os.wait(); print(nodes_of(a, 1000))"""
    assert guest(machine, program) == "N0=700 N2=300\nN0=1000"


def test_the_zero_page_is_nobodys(machine):
    program = """
a = alloc(10)
ctypes.string_at(a, 10 * PAGE); print(nodes_of(a, 10)); touch(a, 0, 1); print(nodes_of(a, 10))"""
    assert guest(machine, program) == "-14=10\nN0=1 -14=9"


def test_shared_memory_goes_by_the_policy_of_who_touches_it_first(machine):
    program = """
a = alloc(200, shared=True); set_policy(BIND, 1); touch(a, 0, 100)
if os.fork() == 0:
    set_policy(BIND, 3); touch(a, 0, 200); os._exit(nodes_of(a, 200) != 'N1=100 N3=100')
print(os.wait()[1], nodes_of(a, 200)); ctypes.string_at(a, 200 * PAGE); print(nodes_of(a, 200))"""
    assert guest(machine, program) == f"0 N1=100 -{errno.ENOENT}=100\nN1=100 N3=100"


def test_the_node_of_an_untouched_address_touches_it(machine):
    program = """
a = alloc(1); set_policy(BIND, 3); node = ctypes.c_int()
touch(a, 0, 1); print(syscall(GET_MEMPOLICY, ctypes.byref(node), 0, 0, a, F_NODE | F_ADDR), node.value)"""
    assert guest(machine, program) == "0 3"


def test_a_program_that_ends_at_once_is_charged_for_what_it_touched(machine, kernel):
    from numafs.kernel.vmstat import NumaStat

    def hits() -> int:
        return sum(zone.numa[NumaStat.NUMA_HIT] for zone in kernel.nodes[1].zones)

    before = hits()
    guest(machine, "set_policy(BIND, 1); a = alloc(5000); touch(a, 0, 5000)")
    with machine.service.lock:
        machine.supervisor.follower.drain()
    assert hits() - before >= 5000


def test_a_program_without_room_on_its_nodes_is_killed(machine, kernel):
    child = machine.start(
        [sys.executable, "-c", "from guest import *\nset_policy(BIND, 1); a = alloc(150000); touch(a, 0, 150000)\n"
         "print(nodes_of(a, 1))"], env=GUEST,
    )
    assert child.wait(20) == -signal.SIGKILL


def test_memory_that_nobody_faulted_in_is_found_when_somebody_looks(machine):
    program = """
set_policy(BIND, 2)
a = libc.mmap(None, 100 * PAGE, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE, -1, 0)
print(nodes_of(a, 100))"""
    assert guest(machine, program) == "N2=100"


def test_a_mapping_that_moves_is_charged_where_it_is(machine):
    program = """
libc.mremap.restype = ctypes.c_void_p
a = alloc(100); touch(a, 0, 100); nodes_of(a, 100); there = alloc(300)
b = libc.mremap(ctypes.c_void_p(a), ctypes.c_size_t(100 * PAGE), ctypes.c_size_t(200 * PAGE), 3, ctypes.c_void_p(there))
touch(b, 100, 200); print(nodes_of(b, 200), nodes_of(a, 100))"""
    assert guest(machine, program) == "N0=200 -14=100"


def test_other_memory_at_the_same_address_is_new(machine):
    program = """
fixed = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x10
a = alloc(100); touch(a, 0, 100); print(nodes_of(a, 100)); set_policy(BIND, 3)
libc.munmap(ctypes.c_void_p(a), ctypes.c_size_t(100 * PAGE)); libc.mmap(a, 100 * PAGE, 3, fixed, -1, 0)
touch(a, 0, 50); print(nodes_of(a, 100))"""
    assert guest(machine, program) == "N0=100\nN3=50 -14=50"


def test_events_that_were_lost_cost_precision_only(machine, monkeypatch):
    monkeypatch.setattr("numafs.doors.perf.RING_PAGES", 8)
    program = """
a = alloc(40000); touch(a, 0, 40000)
if os.fork() == 0: print(nodes_of(a, 40000), policy(), flush=True); os._exit(0)
os.wait(); print(nodes_of(a, 40000))"""
    machine.check_no_more()
    assert guest(machine, program) == "N0=40000 (0, 0, 0)\nN0=40000"


def test_a_huge_page_is_one_in_the_model_too(machine, kernel):
    program = """
a = alloc(2048); libc.madvise(ctypes.c_void_p(a), ctypes.c_size_t(2048 * PAGE), 14); set_policy(BIND, 1)
touch(a, 0, 2048); print(nodes_of(a, 2048))"""
    assert guest(machine, program) == "N1=2048"


# -- without perf events ----------------------------------------------------------------------


@pytest.fixture
def machine_without_events(kernel, monkeypatch) -> Iterator[Sessions]:
    needs_listener()

    def refused(_pid):
        raise PermissionError("paranoid")

    monkeypatch.setattr("numafs.doors.follow.PerfEvents", refused)
    with sessions(kernel) as made:
        yield made


def test_without_events_policies_are_still_inherited_and_pages_charged(machine_without_events):
    program = """
import threading
a = alloc(400); touch(a, 0, 100); set_policy(BIND, 1); touch(a, 100, 200)
if os.fork() == 0:
    print(policy(), flush=True); os._exit(0)
os.wait()
t = threading.Thread(target=lambda: print(policy())); t.start(); t.join()
print(nodes_of(a, 400))"""
    assert guest(machine_without_events, program) == "(0, 2, 2)\n(0, 2, 2)\nN0=100 N1=100 -14=200"
    assert "perf events" in machine_without_events.supervisor.problems[-1]


# -- real tools -------------------------------------------------------------------------------


@pytest.fixture
def with_files(kernel, shared_mount) -> Iterator[Sessions]:
    if os.geteuid():
        pytest.skip("mounts are root's")
    needs_listener()
    with sessions(kernel, shared_mount) as made:
        yield made


@pytest.mark.skipif(not Path("/usr/bin/numactl").exists(), reason="no numactl")
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--interleave=all"], "interleavemask: 0 1 2 3 "), (["--membind=2"], "membind: 2 "),
        (["--preferred=1"], "preferred: 1 "), (["--preferred-many=1,2"], "preferred: 1 2 "),
        (["--cpunodebind=1"], "physcpubind: 2 3 "),
        (["-C", "5"], "physcpubind: 5 "), (["--localalloc"], "policy: local"),
    ],
)
def test_numactl_sets_a_policy_that_numactl_sees(with_files, options, line):
    assert line in with_files.run("numactl", *options, "numactl", "--show").splitlines()


def test_time_to_answer_is_bounded(machine):
    """Not a benchmark: a call must not take a tick of the supervisor's clock."""
    machine.check_no_more()
    program = "import time; t = time.monotonic(); [policy() for _ in range(200)]; print(time.monotonic() - t)"
    assert float(guest(machine, program)) < 200 * 0.01


