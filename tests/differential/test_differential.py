# SPDX-License-Identifier: MIT
"""Random sequences: the model does what the real kernel did, to the errno, the mask and the page."""

from __future__ import annotations

import pytest

from .generate import LENGTH, generate
from .model import play, sequences
from .run import SEEDS, compare, disagreements, machine, recorded

SHARE = 8
"""Tests that the recorded sequences are dealt out to."""


@pytest.mark.parametrize("version", SEEDS)
@pytest.mark.parametrize("share", range(SHARE))
def test_recorded_sequences_go_as_on_the_real_kernel(share: int, version: str) -> None:
    mine = [(seed, lines) for seed, lines in sorted(recorded(version).items()) if seed % SHARE == share]
    assert mine
    assert "\n".join(map(str, disagreements(mine, version))) == ""


def test_a_seed_gives_the_same_sequence_for_ever() -> None:
    assert generate(7) == generate(7) != generate(8)
    assert all(len(generate(seed)) >= LENGTH for seed in range(20))


def test_the_first_operation_that_goes_otherwise_is_named() -> None:
    operations = ["spawn 0", "map 0 0 4 p", "touch 0 0 0 4"]
    said = play(machine(), operations)
    assert compare("# 1", operations, said, said) is None
    wrong = compare("# 1", operations, [line.replace("N0=4", "N1=4") for line in said], said)
    assert wrong is not None and wrong.operations == operations
    assert "N1=4" in wrong.kernel[1] and "N0=4" in wrong.model[1]


def test_results_are_told_apart_by_their_headings() -> None:
    assert list(sequences(["# 1", "= 0", "", "# 2", "= EINVAL", "T0 gone", "# end"])) == [
        ("# 1", ["= 0"]), ("# 2", ["= EINVAL", "T0 gone"]),
    ]
