# SPDX-License-Identifier: MIT
"""Watches the machine file of a mounted machine: an edit plugs things in and out.

An edit that cannot be is refused with a line in the log, and the machine goes on as it was.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer

from numafs.kernel.hotplug import change_machine
from numafs.machine.errors import MachineError
from numafs.machine.toml import load

from .service import Service, reason

if TYPE_CHECKING:
    from numafs.kernel.kernel import Kernel

__all__ = ["HotplugWatch"]

log = logging.getLogger("numafs.door")


class HotplugWatch(FileSystemEventHandler):
    """Applies what is written to `file` to a running kernel."""

    def __init__(self, kernel: Kernel, service: Service, file: Path) -> None:
        self.kernel = kernel
        self.service = service
        self.file = file.resolve()
        self._seen = self._text()
        self._observer = Observer()

    def start(self) -> None:
        """Begin to watch. The directory, because editors replace the file."""
        self._observer.schedule(self, str(self.file.parent))
        self._observer.start()

    def stop(self) -> None:
        """Stop watching; its threads end a second later, or with the process."""
        if self._observer.is_alive():
            self._observer.stop()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Something happened in the directory (watchdog calls this in a thread of its own)."""
        touched = (event.src_path, event.dest_path)
        if event.event_type in ("closed", "moved", "created") and str(self.file) in map(str, touched):
            self.reload()

    def reload(self) -> None:
        """Read the file again, and change the machine if its text changed."""
        text = self._text()
        if text is None or text == self._seen:
            return
        self._seen = text
        try:
            machine = load(self.file)
            with self.service.lock:
                self.service.begin()
                done = change_machine(self.kernel, machine)
                self.service.forget()
                self.service.end()
        except MachineError as error:
            log.warning("edit refused, the machine goes on as it was: %s", error)
        except OSError as error:
            log.warning("edit of %s refused, the machine goes on as it was: %s", self.file, reason(error))
        except Exception:
            log.exception("bug in numafs: edit of %s", self.file)
        else:
            log.info("%s: %s", self.file, "; ".join(done) or "nothing to plug")

    def _text(self) -> str | None:
        try:
            return self.file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
