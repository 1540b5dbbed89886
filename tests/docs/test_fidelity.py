# SPDX-License-Identifier: MIT
"""docs/fidelity.md says what the source says."""

from __future__ import annotations

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_list_of_simplifications_is_up_to_date() -> None:
    script = runpy.run_path(str(DOCS / "fidelity.py"))
    assert (DOCS / "fidelity.md").read_text() == script["fidelity"](), "run make docs"


def test_a_simplification_is_found_with_the_function_that_has_it() -> None:
    script = runpy.run_path(str(DOCS / "fidelity.py"))
    source = '"""M.\n\nSimplified: one\nand two.\n\nMore."""\ndef f():\n    """F. Simplified: three."""\n'
    assert list(script["simplified"](source)) == [("", "one and two."), ("`f`: ", "three.")]
