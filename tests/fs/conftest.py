# SPDX-License-Identifier: MIT
"""A machine's tree without any mount."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from numafs.fs.root import build
from numafs.fs.tree import Root
from numafs.kernel.kernel import Kernel

Refused = Callable[[int], AbstractContextManager[None]]


@pytest.fixture
def root(kernel: Kernel) -> Root:
    """The tree of a fresh ring4."""
    return build(kernel)


@pytest.fixture
def refused() -> Refused:
    """`with refused(errno.EINVAL):` expects exactly that errno."""

    @contextmanager
    def expect(number: int) -> Iterator[None]:
        with pytest.raises(OSError) as caught:
            yield
        assert caught.value.errno == number, caught.value

    return expect
