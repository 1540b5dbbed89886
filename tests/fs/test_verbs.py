# SPDX-License-Identifier: MIT
"""The verbs of modelled tasks: what a line means, what it does, how it fails."""

from __future__ import annotations

import errno

import pytest

from numafs.fs import verbs
from numafs.fs.verb_grammar import Grammar, node_list, policy_spec, size, split_line
from numafs.kernel.check import check
from numafs.kernel.kernel import Kernel
from numafs.kernel.mm import Task


@pytest.fixture
def task(kernel: Kernel) -> Task:
    """A task on node 1."""
    return verbs.create_task(kernel, "idle --node 1")


# ---------------------------------------------------------------- understanding a line


@pytest.mark.parametrize(
    ("text", "value"), [("4096", 4096), ("0x1000", 4096), ("010", 8), ("2k", 2048), ("3M", 3 << 20), ("1G", 1 << 30),
                        ("5p", 5 * 4096)]
)
def test_sizes_have_units(text: str, value: int) -> None:
    assert size(text) == value


@pytest.mark.parametrize("text", ["", "M", "3Q", "-1", "1.5M", "09", "1 M"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OSError, match="bad size") as error:
        size(text)
    assert error.value.errno == errno.EINVAL


def test_lists_of_nodes_may_have_ranges_and_a_trailing_comma() -> None:
    assert node_list("0-2,5,") == 0b100111
    assert node_list("none") == node_list("") == 0


@pytest.mark.parametrize("text", ["a", "1-", "-1", "0,,1", "1024", "0-1024"])
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(OSError, match="bad node list"):
        node_list(text)


def test_a_policy_has_a_mode_flags_and_nodes() -> None:
    assert policy_spec("bind=static:0-1") == (2 | 1 << 15, 0b11)
    assert policy_spec("default") == (0, None)
    assert policy_spec("bind:none") == (2, 0)
    assert policy_spec("7:1") == (7, 0b10)


def test_commands_end_with_a_newline_or_a_semicolon() -> None:
    assert split_line("alloc 3M; touch 0 # store\n\nread 'a b';sync\n") == [
        ["alloc", "3M"], ["touch", "0"], ["read", "a b"], ["sync"],
    ]


def test_a_usage_line_is_the_grammar() -> None:
    grammar = Grammar("R [OFF LEN] [--mbind SPEC] [--touch] [move]")
    values = grammar.parse("x", ["3", "move", "--mbind", "bind:1", "1p", "2p"])
    assert values == {"move": True, "mbind": (2, 2), "r": 3, "off": 4096, "len": 8192}
    assert grammar.parse("x", ["3"]) == {"r": 3}


@pytest.mark.parametrize(
    ("line", "why"),
    [("frob", "unknown verb frob"), ("touch", "touch: no region"), ("touch 0 1p 2p 3p", "bad argument '3p'"),
     ("alloc 4M --frob", "bad argument '--frob'"), ("alloc 4M --mbind", "--mbind needs a value"),
     ("policy what:1", "bad policy mode 'what'"), ("cpu x", "bad cpu list 'x'"), ("read 'a", "No closing quotation")],
)
def test_a_line_that_is_not_understood_says_why_and_does_nothing(
    kernel: Kernel, task: Task, line: str, why: str
) -> None:
    with pytest.raises(OSError, match=why) as error:
        verbs.run_verb(kernel, task, f"alloc 4M; {line}")
    assert error.value.errno == errno.EINVAL
    assert verbs.run_verb(kernel, task, "where") == "none\n"


def test_every_verb_is_explained() -> None:
    text = verbs.help_text()
    assert all(f"\n{name}" in f"\n{text}" for name in verbs.VERBS)
    assert verbs.help_text("touch").startswith("touch R [OFF LEN]\n")


# ---------------------------------------------------------------- memory


def test_touching_a_region_places_its_pages_on_the_task_s_node(kernel: Kernel, task: Task) -> None:
    assert verbs.run_verb(kernel, task, "alloc 4M") == "r0\n"
    assert verbs.run_verb(kernel, task, "touch 0 0 1M; where") == "N1=256\n"
    assert verbs.run_verb(kernel, task, "touch 0; where --mib") == "N1~4MiB\n"
    check(kernel)


def test_regions_are_numbered_by_the_lowest_free_number(kernel: Kernel, task: Task) -> None:
    verbs.run_verb(kernel, task, "alloc 1M; alloc 1M; alloc 1M; free 1")
    assert verbs.run_verb(kernel, task, "alloc 1M") == "r1\n"
    with pytest.raises(OSError, match="^.*no region 3"):
        verbs.run_verb(kernel, task, "touch 3")


def test_policies_of_a_region_and_of_the_task(kernel: Kernel, task: Task) -> None:
    verbs.run_verb(kernel, task, "alloc 4M --mbind interleave:0-3 --touch; policy bind:2; alloc 1M --touch")
    assert verbs.run_verb(kernel, task, "where --each") == "r0 N0=256 N1=256 N2=256 N3=256\nr1 N2=256\n"
    assert verbs.run_verb(kernel, task, "getpolicy; getpolicy 0") == "bind:2\ninterleave:0-3\n"


def test_a_system_call_that_fails_is_named_with_its_errno(kernel: Kernel, task: Task) -> None:
    with pytest.raises(OSError, match=r"set_mempolicy: Invalid argument: ") as error:
        verbs.run_verb(kernel, task, "policy bind:9")
    assert error.value.errno == errno.EINVAL


def test_a_region_whose_policy_is_refused_is_not_left_behind(kernel: Kernel, task: Task) -> None:
    with pytest.raises(OSError, match="mbind: Invalid argument"):
        verbs.run_verb(kernel, task, "alloc 4M --mbind bind:9 --touch")
    assert verbs.run_verb(kernel, task, "alloc 4M") == "r0\n"


def test_pages_are_moved_one_by_one(kernel: Kernel, task: Task) -> None:
    verbs.run_verb(kernel, task, "alloc 20p; touch 0 0 10p")
    assert verbs.run_verb(kernel, task, "movepages 0 0 5 3") == "ret=0 N3=5\n"
    assert verbs.run_verb(kernel, task, "movepages 0 0 20 query") == "ret=0 N1=5 N3=5 EFAULT=10\n"
    check(kernel)


def test_another_task_s_pages_are_migrated(kernel: Kernel, task: Task) -> None:
    verbs.run_verb(kernel, task, "alloc 4M --touch")
    assert verbs.run_oneshot(kernel, f"migrate {task.pid} 1 2") == "not moved ?0\n"
    assert verbs.run_verb(kernel, task, "where") == "N2=1024\n"


def test_looping_lets_model_time_pass(kernel: Kernel, task: Task) -> None:
    verbs.run_verb(kernel, task, "alloc 1M")
    before = kernel.clock.now
    verbs.run_verb(kernel, task, "loop 0 2")
    assert 2.0 <= (kernel.clock.now - before) / 1e9 < 2.1


@pytest.mark.parametrize("line", ["loop 0 3601", "loop 0 -1", "movepages 0 0 16777217 1", "movepages 0 0 -1 1"])
def test_what_would_never_end_is_refused(kernel: Kernel, task: Task, line: str) -> None:
    verbs.run_verb(kernel, task, "alloc 1M")
    with pytest.raises(OSError) as error:
        verbs.run_verb(kernel, task, line)
    assert error.value.errno == errno.EINVAL


# ---------------------------------------------------------------- files


def test_a_written_file_is_cached_until_it_is_dropped(kernel: Kernel, task: Task) -> None:
    assert verbs.run_verb(kernel, task, "write new 4M") == "wrote 1024 pages\n"
    assert verbs.run_verb(kernel, task, "cached /data/new; wherefile data/new") == "1024/1024 pages\nN1=1024\n"
    verbs.run_verb(kernel, task, "dropfile /somewhere/mounted/data/new")
    assert verbs.run_verb(kernel, task, "cached new --mib; read new 1M 1M") == "~0MiB of 4MiB\nread 256 pages\n"
    check(kernel)


def test_a_missing_file_is_named(kernel: Kernel, task: Task) -> None:
    with pytest.raises(OSError, match="^.*none: No such file or directory") as error:
        verbs.run_verb(kernel, task, "read none")
    assert error.value.errno == errno.ENOENT


# ---------------------------------------------------------------- life


def test_a_oneshot_is_gone_when_it_has_answered(kernel: Kernel) -> None:
    tasks = len(list(kernel.tasks))
    assert verbs.run_oneshot(kernel, "alloc 4M --touch --node 2; where") == "r0\nN2=1024\n"
    assert len(list(kernel.tasks)) == tasks
    check(kernel)


def test_a_task_that_could_not_be_made_leaves_nothing_behind(kernel: Kernel) -> None:
    tasks = len(list(kernel.tasks))
    for line in ("idle --cpu 99", "idle --cpuset /none", "alloc 4M --policy bind:9", "frob", "", "idle --oom 1001"):
        with pytest.raises(OSError):
            verbs.create_task(kernel, line)
    assert len(list(kernel.tasks)) == tasks


def test_a_child_shares_pages_until_somebody_writes(kernel: Kernel, task: Task) -> None:
    verbs.run_verb(kernel, task, "alloc 4M --touch; node 2")
    child = kernel.tasks.get(int(verbs.run_verb(kernel, task, "fork")))
    assert child is not None
    verbs.run_verb(kernel, task, "touch 0 0 1M")
    assert verbs.run_verb(kernel, task, "where") == "N1=768 N2=256\n"
    assert verbs.run_verb(kernel, child, "where") == "N1=1024\n"


def test_the_oom_killer_ends_a_task_and_the_verb_says_so(kernel: Kernel) -> None:
    with pytest.raises(OSError, match="killed by signal 9") as error:
        verbs.run_oneshot(kernel, "alloc 700M --touch --policy bind:2")
    assert error.value.errno == errno.ESRCH
    check(kernel)


def test_a_task_runs_where_it_is_put(kernel: Kernel, task: Task) -> None:
    assert verbs.run_verb(kernel, task, "runson; cpu 7; runson") == "cpu2 node1\ncpu7 node3\n"
    with pytest.raises(OSError, match="sched_setaffinity: Invalid argument"):
        verbs.run_verb(kernel, task, "cpu 64")


def test_what_has_ended_does_nothing_more(kernel: Kernel, task: Task) -> None:
    verbs.run_verb(kernel, task, "exit")
    with pytest.raises(ProcessLookupError):
        verbs.run_verb(kernel, task, "where")


def test_only_modelled_tasks_can_be_killed(kernel: Kernel, task: Task) -> None:
    with pytest.raises(PermissionError, match="kill: Operation not permitted"):
        verbs.run_verb(kernel, task, "kill 2")
    with pytest.raises(ProcessLookupError, match="kill: No such process"):
        verbs.run_verb(kernel, task, "kill 999999")


# ---------------------------------------------------------------- the kernel's allocators


def test_kernel_memory_comes_from_the_node_that_is_asked_for(kernel: Kernel, task: Task) -> None:
    assert verbs.run_verb(kernel, task, "kmalloc_node 512 3 8") == "k0 N3=8\n"
    assert verbs.run_verb(kernel, task, "vmalloc 1M") == "k1 N1=256\n"
    assert verbs.run_verb(kernel, task, "alloc_pages_node 2 3 4") == "k2 N2=32\n"
    verbs.run_verb(kernel, task, "kfree 1")
    assert verbs.run_verb(kernel, task, "blocks").count("\n") == 2
    with pytest.raises(OSError, match="no block 2"):
        verbs.run_verb(kernel, task, "kfree 2")
    check(kernel)
