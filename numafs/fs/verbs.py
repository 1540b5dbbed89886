# SPDX-License-Identifier: MIT
"""What a modelled task can be told to do: the table of all verbs, and how a line of them is run.

One grammar for three callers: a line written to `numafs/tasks/PID/ctl`, `numafs task` and
Python. A line is understood as a whole before anything is done; an error says what failed, as
`set_mempolicy: Invalid argument`, and carries the errno.
"""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from numafs.kernel import cgroup_v2, cpuset, sched
from numafs.kernel.errors import EINVAL, EPERM, ESRCH, TaskKilled
from numafs.kernel.nodemask import Mask, mask_of, members

from . import verb_files, verb_kernel, verb_memory
from .verb_grammar import Grammar, Verb, bad, doing, split_line

if TYPE_CHECKING:
    from numafs.kernel.cgroup import G, Hierarchy
    from numafs.kernel.kernel import Kernel
    from numafs.kernel.mm import Task

__all__ = [
    "TASK_OPTIONS", "VERBS", "Call", "apply_options", "create_task", "find_group", "help_text", "parse", "run_calls",
    "run_oneshot", "run_verb",
]


# ---------------------------------------------------------------- where it runs, and its life


def cpu(kernel: Kernel, task: Task, list: Mask) -> str:
    """sched_setaffinity(2)."""
    with doing("sched_setaffinity"):
        sched.sched_setaffinity(kernel, task, list)
    return ""


def node(kernel: Kernel, task: Task, node: int) -> str:
    """sched_setaffinity(2) to the CPUs of a node."""
    if not 0 <= node < len(kernel.nodes) or not kernel.nodes[node].online:
        raise OSError(errno.ENOENT, f"node{node}: No such file or directory")
    cpus = mask_of(c for c in members(kernel.cpu_online) if kernel.cpu_to_node[c] == node)
    if not cpus:
        raise bad(f"node{node} has no CPUs")
    return cpu(kernel, task, cpus)


def runson(kernel: Kernel, task: Task) -> str:
    """getcpu(2)."""
    return f"cpu{task.cpu} node{kernel.cpu_to_node[task.cpu]}\n"


def attach(kernel: Kernel, task: Task, path: str) -> str:
    """Enter a cpuset, or with cgroup v2 a group, as by writing the pid to its cgroup.procs."""
    with doing("attach"):
        if kernel.cgrp_dfl_root is not None:
            group = find_group(kernel.cgrp_dfl_root, path, r"sys/fs/cgroup/unified")
            leader = cgroup_v2.find_task(kernel, task.pid, whole_process=True)
            cgroup_v2.attach(kernel, group, leader, whole_process=True)
        else:
            cs = find_group(kernel.cpusets, path, r"sys/fs/cgroup/cpuset|dev/cpuset")
            cpuset.attach(kernel, cs, task.pid, whole_process=True)
    return ""


def find_group(hierarchy: Hierarchy[G], path: str, mounts: str) -> G:
    """The group `/a/b`; the path may be that of its directory, however it is mounted."""
    inside = re.sub(rf"^.*?({mounts})(?=/|$)", "", path)
    group = hierarchy.lookup(inside)
    if group is None:
        raise OSError(errno.ENOENT, f"No such file or directory: cpuset {inside or '/'}")
    return group


def oom(kernel: Kernel, task: Task, adj: int) -> str:
    """/proc/self/oom_score_adj."""
    with doing("oom_score_adj"):
        if not -1000 <= adj <= 1000:
            raise EINVAL(f"{adj} is not between -1000 and 1000")
        task.oom_score_adj = adj
    return ""


def fork(kernel: Kernel, task: Task) -> str:
    """fork(2); says the child's pid."""
    with doing("fork"):
        child = kernel.tasks.fork(kernel, task)
    return f"{child.pid}\n"


def exit_(kernel: Kernel, task: Task) -> str:
    """exit(2)."""
    kernel.tasks.do_exit(kernel, task)
    return ""


def kill(kernel: Kernel, task: Task, pid: int) -> str:
    """kill(2) another task, with SIGKILL."""
    with doing("kill"):
        victim = kernel.tasks.get(pid)
        if victim is None:
            raise ESRCH(f"no task {pid}")
        if victim.real or victim.kthread or pid == 1 or task.uid not in (0, victim.uid):
            raise EPERM(f"task {pid} is not a modelled one, or not yours")
        kernel.tasks.do_exit(kernel, kernel.tasks.get(victim.tgid) or victim)
    return ""


def idle(kernel: Kernel, task: Task) -> str:
    """Do nothing."""
    return ""


def help_(kernel: Kernel, task: Task, verb: str | None = None) -> str:
    """What can be said."""
    return help_text(verb)


LIFE = (
    Verb("idle", "", "do nothing", idle),
    Verb("cpu", "LIST", "run on these CPUs", cpu),
    Verb("node", "NODE", "run on the CPUs of a node", node),
    Verb("runson", "", "say CPU and node", runson),
    Verb("attach", "PATH", "enter a cpuset", attach),
    Verb("oom", "ADJ", "set oom_score_adj", oom),
    Verb("fork", "", "make a child that shares the memory until one of them writes; says its pid", fork),
    Verb("exit", "", "end", exit_),
    Verb("kill", "PID", "kill another modelled task", kill),
    Verb("help", "[VERB]", "say what can be said", help_),
)

VERBS: dict[str, Verb] = {
    verb.name: verb for verb in (*verb_memory.VERBS, *verb_files.VERBS, *LIFE, *verb_kernel.VERBS)
}

TASK_OPTIONS = Grammar(
    "[--cpu LIST] [--node NODE] [--policy SPEC] [--cpuset PATH] [--oom ADJ] [--name NAME] [--hold]"
)
"""What may be said of a new task, anywhere in the line that makes it."""

_OPTION_VERB: dict[str, Callable[[Kernel, Task, Any], str]] = {
    "cpu": cpu, "node": node, "policy": verb_memory.policy, "cpuset": attach, "oom": oom,
}


# ---------------------------------------------------------------- understanding


class Call(NamedTuple):
    """A verb and the values that follow it."""

    verb: Verb
    values: dict[str, Any]


@cache
def _grammar(name: str) -> Grammar:
    return VERBS[name].grammar


def parse(text: str) -> list[Call]:
    """The calls that a text asks for; raises EINVAL if any of it is not understood."""
    return [_call(words) for words in split_line(text)]


def _call(words: Sequence[str]) -> Call:
    name = words[0]
    verb = VERBS.get(name)
    if verb is None:
        raise bad(f"unknown verb {name}")
    return Call(verb, _grammar(name).parse(name, words[1:]))


def _with_options(text: str) -> tuple[dict[str, Any], list[Call]]:
    """The options of a new task, wherever they stand in the first command, and the calls."""
    commands = split_line(text)
    if not commands:
        raise bad("nothing to do")
    options, commands[0] = TASK_OPTIONS.take_options(commands[0])
    return options, [_call(words) for words in commands if words]


# ---------------------------------------------------------------- doing


def run_verb(kernel: Kernel, task: Task, line: str) -> str:
    """Let `task` do what `line` says; returns the reply. Raises OSError; its text says what failed."""
    return run_calls(kernel, task, parse(line))


def run_calls(kernel: Kernel, task: Task, calls: Sequence[Call]) -> str:
    """Let `task` do one thing after another, until one fails; returns the replies.

    A task that the OOM killer chose, or that touched what it may not, is gone; that is ESRCH or EFAULT.
    """
    replies = []
    for call in calls:
        if task.exited:
            raise ESRCH(f"task {task.pid} has ended")
        try:
            replies.append(call.verb.do(kernel, task, **call.values))
        except TaskKilled:
            raise _died(kernel, task, signal.SIGKILL, errno.ESRCH) from None
        except OSError as error:
            if error.errno != errno.EFAULT or call.verb.name not in _FAULTING:
                raise
            raise _died(kernel, task, signal.SIGBUS, errno.EFAULT) from error
    return "".join(replies)


_FAULTING = ("alloc", "load", "loop", "mmapfile", "touch")
"""Verbs whose EFAULT is not a system call's but a signal."""


def _died(kernel: Kernel, task: Task, by: signal.Signals, number: int) -> OSError:
    leader = kernel.tasks.get(task.tgid) or task
    if not task.exited:
        kernel.tasks.do_exit(kernel, leader)
    return OSError(number, f"killed by signal {int(by)}")


def apply_options(kernel: Kernel, task: Task, options: dict[str, Any]) -> None:
    """What the options say, in the order in which they were given."""
    for name, value in options.items():
        if name in _OPTION_VERB:
            _OPTION_VERB[name](kernel, task, value)


def create_task(kernel: Kernel, line: str, uid: int = 0, gid: int = 0) -> Task:
    """A new modelled task that has done what `line` says, and stays; nothing is left of it if that fails."""
    task, _ = _start(kernel, line, uid, gid)
    return task


def run_oneshot(kernel: Kernel, line: str, uid: int = 0, gid: int = 0) -> str:
    """A new modelled task does what `line` says and ends, unless that has `--hold`; returns the replies."""
    task, replies = _start(kernel, line, uid, gid)
    if not task.exited:
        kernel.tasks.do_exit(kernel, task)
    return replies


def _start(kernel: Kernel, line: str, uid: int, gid: int) -> tuple[Task, str]:
    options, calls = _with_options(line)
    name = options.pop("name", "memtool")
    task = kernel.tasks.spawn(kernel, name, uid=uid, gid=gid)
    try:
        apply_options(kernel, task, options)
        return task, run_calls(kernel, task, calls)
    except BaseException:
        if not task.exited:
            kernel.tasks.do_exit(kernel, task)
        raise


# ---------------------------------------------------------------- telling


def help_text(verb: str | None = None) -> str:
    """The table of verbs, or one row of it."""
    if verb is not None and verb not in VERBS:
        raise bad(f"unknown verb {verb}")
    rows = [VERBS[verb]] if verb else list(VERBS.values())
    table = "".join(f"{f'{row.name} {row.usage}'.rstrip()}\n        {row.help}\n" for row in rows)
    if verb:
        return table
    return f"{table}\nOptions of a new task: {TASK_OPTIONS.usage}\n{_VALUES}"


_VALUES = """\
SIZE, OFF, LEN   bytes, or with K, M, G, or p for pages: 300M, 16p
SPEC             default|preferred|bind|interleave|local|preferred-many[=static|=relative|=balancing][:NODES]
LIST, NODES      0-2,5
R                a region's number, as `alloc` says it
"""
