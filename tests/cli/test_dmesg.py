# SPDX-License-Identifier: MIT
"""`numafs dmesg`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from numafs.cli import main
from numafs.cli.dmesg import Line, parsed, shown


def test_a_record_is_taken_apart_and_unescaped():
    assert parsed(b"30,17,1500000,-;two\\x0alines \\xc3\\xa4\n") == Line(30, 1_500_000, "two\nlines \xe4")


def test_a_line_is_printed_as_dmesg_does():
    line = Line(3, 12_345_678, "one\ntwo")
    assert shown(line, decode=False, notime=False) == "[   12.345678] one\n               two"
    assert shown(line, decode=True, notime=True) == "kern  :err   : one\n               two"
    assert shown(Line(30, 0, "x"), decode=True, notime=False) == "daemon:info  : [    0.000000] x"


def test_the_log_of_a_mount_begins_with_the_boot(mount: Path, capsys: pytest.CaptureFixture[str]):
    (mount / "dev/kmsg").write_text("<3>hello")
    assert main(["dmesg", str(mount)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[    0.000000] Fallback order for Node 0: 0 1 3 2 "
    assert re.fullmatch(r"\[ +\d+\.\d{6}\] hello", lines[-1])


def test_levels_choose(mount: Path, capsys: pytest.CaptureFixture[str]):
    (mount / "dev/kmsg").write_text("<3>hello")
    assert main(["dmesg", "-t", "-l", "err", str(mount)]) == 0
    assert capsys.readouterr().out == "hello\n"


def test_what_is_no_mount_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["dmesg", str(tmp_path)]) == 2
    assert "no machine is mounted there" in capsys.readouterr().err
