# SPDX-License-Identifier: MIT
"""The command line, as far as it needs no mount."""

from __future__ import annotations

import pytest

from numafs.cli import VERBS, main
from numafs.cli.task import line_of
from numafs.doors.options import parse_options


def code_of(*argv: str) -> int:
    """The exit code of `numafs ARGV`."""
    try:
        return main(argv)
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


@pytest.mark.parametrize("verb", ["", *VERBS])
def test_every_verb_explains_itself(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*filter(None, [verb]), "--help") == 0
    assert capsys.readouterr().out.startswith("usage: numafs")


@pytest.mark.parametrize(
    "argv", [[], ["fly"], ["mount"], ["mount", "a", "b", "c"], ["mount", "-x", "a"], ["umount"], ["task"], ["show"]]
)
def test_wrong_usage_exits_with_1(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(*argv) == 1
    said = capsys.readouterr()
    assert said.err and not said.out


def test_an_unknown_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("mount", "-o", "ro,colour=red", "ring4", "/") == 1
    assert "colour=red: no such option" in capsys.readouterr().err


def test_an_unknown_machine_is_an_error_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("show", "ring5") == 2
    assert "did you mean 'ring4'" in capsys.readouterr().err


def test_a_directory_that_is_not_there_is_a_mount_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("mount", "/no/such/directory") == 32
    assert "no such directory" in capsys.readouterr().err


def test_a_directory_without_a_mount_cannot_be_unmounted(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of("umount", str(tmp_path_factory.mktemp("nothing"))) == 2
    assert "no machine is mounted there" in capsys.readouterr().err


def test_machines_lists_what_can_be_mounted(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("machines") == 0
    assert "ring4" in [line.split()[0] for line in capsys.readouterr().out.splitlines()]


def test_show_prints_nodes_and_distances(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("show", "2x4:1G:21") == 0
    said = capsys.readouterr().out
    assert "2 nodes, 8 CPUs, 2G of memory" in said
    assert "0  10  21\n       1  21  10\n" in said


def test_show_toml_is_a_machine_file(capsys: pytest.CaptureFixture[str]) -> None:
    from numafs.machine.presets import resolve
    from numafs.machine.toml import loads

    assert code_of("show", "--toml", "2x4:1G:21") == 0
    assert loads(capsys.readouterr().out) == resolve("2x4:1G:21")


def test_options_are_sorted_into_ours_fuses_and_fstabs() -> None:
    options = parse_options(["check,time=x10", "noauto,x-systemd.automount,allow_other,max_read=4096,seed=5"])
    assert (options.check, options.rate, options.seed) == (True, 10.0, 5)
    assert options.fuse == ("allow_other", "max_read=4096")


@pytest.mark.parametrize("option", ["time=fast", "time=x-1", "seed=x", "check=1", "machine="])
def test_an_option_with_a_value_that_means_nothing_is_refused(option: str) -> None:
    with pytest.raises(ValueError, match=option.partition("=")[0]):
        parse_options([option])


def test_the_words_of_a_task_command_become_one_line() -> None:
    assert line_of(["alloc", "16p", ";", "read", "a b"]) == "alloc 16p ; read 'a b'\n"
    assert line_of(["alloc 16p; free 0"]) == "alloc 16p; free 0\n"
