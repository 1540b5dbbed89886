# SPDX-License-Identifier: MIT
"""The recorded scenarios and system calls, with a floor under each score."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from .__main__ import score
from .replay import recordings, replay
from .run import why_not, why_not_inside
from .scenario import HERE, Scenario, scenarios
from .transcript import Step, compare, errno_of, parse, render, step_difference

FLOOR = {"a": 99, "b": 97, "c": 97, "d": 98, "e": 97, "f": 94, "h": 97}
"""Percent of the commands of a group that are equal."""
REAL_FLOOR = {
    "a07": 70, "b01": 93, "b03": 95, "b08": 100, "b10": 95, "d03": 93, "d06": 94, "e01": 100, "e03": 96, "e05": 93,
}
"""The same of the real memtool, where this machine has the room: none maps a file of a mount shared."""
RECORDING_FLOOR = {"t10_v2-v2": 88}
"""Percent of the lines of a recording that are equal, if not 95; files of most controllers are not there."""


def _of_group(group: str) -> list[Scenario]:
    return [
        scenario for scenario in scenarios()
        if scenario.group == group and "seed4" in scenario.topologies
    ]


@pytest.mark.usefixtures("fuse")
@pytest.mark.skipif(bool(why_not()), reason=why_not())
@pytest.mark.parametrize("group", FLOOR)
def test_scenarios_go_as_recorded(group: str) -> None:
    if group == "f" and (missing := why_not_inside()):
        pytest.skip(missing)
    scores = [score(scenario, "seed4") for scenario in _of_group(group)]
    equal, total = sum(good for good, _, _ in scores), sum(of for _, of, _ in scores)
    differing = [f"{d.scenario}: {d.recorded.command}: {d.why}" for _, _, differences in scores for d in differences]
    assert 100 * equal >= FLOOR[group] * total, "\n".join(differing)


@pytest.mark.usefixtures("fuse")
@pytest.mark.skipif(bool(why_not_inside()), reason=why_not_inside())
@pytest.mark.parametrize("name", REAL_FLOOR)
def test_memory_of_real_programs_goes_as_recorded(name: str) -> None:
    """The real memtool, whose system calls and page faults the model sees."""
    (scenario,) = (each for each in scenarios() if each.name.startswith(name))
    equal, total, differences = score(replace(scenario, needs=scenario.needs | {"tools"}), "seed4")
    differing = [f"{d.recorded.command}: {d.why}" for d in differences]
    assert 100 * equal >= REAL_FLOOR[name] * total, "\n".join(differing)


@pytest.mark.usefixtures("fuse")
@pytest.mark.parametrize("name", recordings())
def test_system_calls_on_cpusets_go_as_recorded(name: str) -> None:
    equal, total, diff = replay(name)
    assert 100 * equal >= RECORDING_FLOOR.get(name, 95) * total, "\n".join(diff)


# ---------------------------------------------------------------- how they are compared


@pytest.mark.parametrize(
    ("recorded", "got", "same"),
    [("N1=5", "N1=5", True), ("N1=5", "N1=6", False), ("N1~100MiB", "N1~104MiB", True),
     ("N1~100MiB", "N1~106MiB", False), ("~1", "~3", True),
     ("a ?5", "a ?500", True), ("a ?5", "b ?5", False), ("~-20", "~+20", False)],
)
def test_numbers_are_exact_unless_they_say_otherwise(recorded: str, got: str, same: bool) -> None:
    assert (step_difference(Step("x", [recorded]), Step("x", [got])) == "") is same


def test_a_failure_is_equal_by_its_errno() -> None:
    failed = Step("x", status="1", errno="EINVAL")
    assert step_difference(failed, Step("x", status="2", errno="EINVAL")) == ""
    assert step_difference(failed, Step("x", status="1", errno="EIO"))
    assert step_difference(Step("x", status="1"), Step("x", status="137"))
    assert errno_of("sh: write error: Invalid argument\nmemtool: cmd: No such process\n") == "EINVAL,ESRCH"


def test_a_command_on_which_two_recordings_differ_tells_nothing() -> None:
    first, second = [Step("x", ["1"]), Step("y", ["1"])], [Step("x", ["2"]), Step("y", ["1"])]
    assert compare("s", first, [Step("x", ["3"]), Step("y", ["1"])], second) == (1, 1, [])


def test_a_command_that_did_not_run_is_missing() -> None:
    equal, total, differences = compare("s", [Step("x"), Step("g #~guest"), Step("y")], [Step("x")])
    assert (equal, total, differences[0].why) == (1, 2, "did not run")


def test_a_transcript_is_read_as_it_was_written(tmp_path: Path) -> None:
    steps = [Step("a\nb", ["one", "two"], "1", "EINVAL"), Step("c")]
    path = tmp_path / "t.txt"
    path.write_text(render("t", steps))
    assert parse(path) == steps


def test_every_scenario_has_the_commands_of_its_recording() -> None:
    for scenario in scenarios():
        path = HERE / "recordings" / "seed4" / f"{scenario.name}.txt"
        if path.exists() and scenario.group in FLOOR:
            assert [step.command for step in parse(path)] == list(scenario.steps), scenario.name
