# SPDX-License-Identifier: MIT
"""What goes wrong at a door."""

from __future__ import annotations

__all__ = ["MountFailed"]


class MountFailed(Exception):
    """The machine could not be mounted; says why."""
