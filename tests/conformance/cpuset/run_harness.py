# SPDX-License-Identifier: MIT
"""Run a recorded harness script with the mount's proc/ and sys/ in the place of this machine's.

run_harness.py ROOT SCRIPT
"""

from __future__ import annotations

import builtins
import os
import re
import sys
from pathlib import Path
from typing import Any

__all__: list[str] = []

root, script = sys.argv[1:]
plain_open, plain_listdir = builtins.open, os.listdir


def there(path: Any) -> Any:
    """A path below /proc or /sys as that of the mount; /proc/self as this process."""
    if not isinstance(path, str) or not (path == "/proc" or path.startswith(("/proc/", "/sys/"))):
        return path
    return root + path.replace("/proc/self/", f"/proc/{os.getpid()}/")


builtins.open = lambda path, *rest, **more: plain_open(there(path), *rest, **more)  # type: ignore[assignment]
os.listdir = lambda path=".": plain_listdir(there(path))  # type: ignore[assignment]
sys.path.insert(0, os.path.dirname(script))
# The recordings have the directory of the release agent cut away, but an agent starts in /.
program = re.sub(r"\bRa\.(?=sh|out)", f"{os.getcwd()}/Ra.", Path(script).read_text())
exec(compile(program, script, "exec"), {"__name__": "__main__", "__file__": script})
