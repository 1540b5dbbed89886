# SPDX-License-Identifier: MIT
"""Programs under the door of system calls, as the model knows them: their threads, and what they have touched.

Perf events say what happened, in order. Threads and processes enter the model at once, because a child
inherits what its parent had when it forked. First touches are kept in a log until somebody wants to know: most
programs end before that. Then mappings and pages are read from /proc/PID, and the log says who touched what,
under which policy. Where the kernel refuses perf events, new threads are met when they call, and what is there
is charged by the policy of the moment: before each change of it, and when somebody looks.

Simplified: what a process has touched when it ends and was never looked at is charged from 16 MiB on, and all of it as
anonymous memory.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from numafs.kernel import mmap
from numafs.kernel.errors import TaskKilled
from numafs.kernel.mempolicy import mpol_dup
from numafs.kernel.mm import Mm, Task

from . import pagemap, procs
from .mirror import Touch, Under, as_mapped, map_areas, map_unseen, settle, touch_pages
from .perf import Events, PerfEvents, TaskEvent, fault_rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from numafs.kernel.kernel import Kernel

    from .pagemap import Area, Present

__all__ = ["Follower", "Process"]

log = logging.getLogger("numafs.door")

MUCH = 4096
"""Touched pages from which on a process is looked at although nobody looks: its memory may press on others."""
WORTH_A_LOOK = 1024
"""Touched pages from which on a process is looked at whenever somebody looks at the machine."""
LOOK_AGAIN_S = 0.25
"""So old may be what the machine shows of a process that touches little."""


NOBODY = 0x7FFF_FFFF
"""An id that no task has."""


@dataclass(eq=False)
class Batch:
    """Faults in their order: threads, times and pages; and under what threads took them that have changed since."""

    tids: NDArray[np.uint64]
    times: NDArray[np.uint64]
    vpns: NDArray[np.uint64]
    under: dict[int, Under] = field(default_factory=dict)

    def part(self, chosen: NDArray[np.bool_]) -> Batch:
        """Some of its faults."""
        return Batch(self.tids[chosen], self.times[chosen], self.vpns[chosen], self.under)


class Changed(Exception):
    """A process was replaced or ended while it was looked at."""


@dataclass(frozen=True)
class Scan:
    """Pages that were there at some moment between `began` and `ended`."""

    began: int
    ended: int
    there: list[Present]

    def explains(self, batch: Batch, start: int = 0, stop: int = mmap.TASK_SIZE) -> NDArray[np.bool_]:
        """Which faults on [start, stop) came before the scan: of those that came while it went on, who was seen."""
        import numpy as np

        chosen = (batch.times < self.began) & (batch.vpns >= start) & (batch.vpns < stop)
        during = (batch.times >= self.began) & (batch.times <= self.ended)
        for i in np.flatnonzero(during).tolist():
            page = int(batch.vpns[i])
            chosen[i] = start <= page < stop and any(_between(self.there, page, page + 1))
        return chosen


@dataclass(eq=False)
class Forked:
    """Here a child got a copy of the address space."""

    time: int
    child: Process


@dataclass(eq=False)
class Process:
    """A real process whose address space the model mirrors."""

    tgid: int
    mm: Mm = field(default_factory=Mm)
    areas: list[Area] = field(default_factory=list)
    """Its mappings when it was last looked at."""
    text: bytes = b""
    """What /proc/PID/maps said then."""
    there: list[Present] = field(default_factory=list)
    """Its pages then."""
    resident: int = 0
    """How many it was said to have then."""
    log: list[Batch | Forked] = field(default_factory=list)
    faults: int = 0
    """In the log."""
    since: int = 0
    """When it got its memory: faults before are not on it."""
    copy_of: Process | None = None
    """The parent whose memory it has; the model has not copied that yet."""
    looked_at: float = field(default_factory=time.monotonic)
    lost: bool = False
    """Events are missing: it must be looked at."""
    namespace: str | None = None


class Follower:
    """All real programs of one kernel that system calls come from. Call under the lock of the model."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.processes: dict[int, Process] = {}
        self.born: list[Callable[[int, int], None]] = []
        """Told of each new process: its parent's id and its own."""
        self.died: list[Callable[[int], None]] = []
        """Told of each process that has ended."""
        self._sources: list[PerfEvents] = []
        self._samples: list[NDArray[np.uint64]] = []
        """Faults that are in no log yet."""
        self._rest_until = 0.0
        self._leaders_gone: set[int] = set()
        self.mirrors = kernel.machine.page_size == pagemap.PAGE
        """Has the model pages of the size that real ones have?"""

    # -- beginnings -----------------------------------------------------------------------------

    def attach(self, pid: int) -> PerfEvents | None:
        """A program that is to be followed; its events, None where the kernel refuses them.

        Raises ProcessLookupError.
        """
        if self.task_of(pid) is None:
            raise ProcessLookupError(f"no process {pid}")
        try:
            events = PerfEvents(pid)
        except OSError as refused:
            log.warning("process %d: no perf events (%s): its touches are found by scans", pid, refused)
            return None
        self._sources.append(events)
        return events

    def detach(self, events: PerfEvents) -> None:
        """Nobody is left whom these events could be of."""
        self.drain()
        self._sources.remove(events)
        events.close()

    def task_of(self, tid: int) -> Task | None:
        """The thread in the model; one that nobody announced has what its process or its parent has."""
        task = self.kernel.tasks.get(tid)
        if task is not None and task.tgid in self.processes:
            return task
        who = procs.identity(tid)
        if who is None:
            return None
        parent = self.kernel.tasks.get(who.tgid if who.tgid != tid else who.ppid)
        return self._enter(who, parent)

    def _enter(self, who: procs.Identity, parent: Task | None) -> Task:
        uid = self.as_seen(who.uid)
        task = self.kernel.tasks.adopt(self.kernel, who.tid, who.tgid, who.comm, uid, who.gid, parent=parent)
        self._process_of(task, parent)
        return task

    def _process_of(self, task: Task, parent: Task | None, when: int | None = None) -> Process:
        """The process of a thread in the model; a new one has a copy of what its parent's memory was `when`."""
        process = self.processes.get(task.tgid)
        if process is None:
            process = self.processes[task.tgid] = Process(task.tgid)
            above = self.processes.get(parent.tgid) if parent is not None and parent.tgid != task.tgid else None
            if above is not None:
                process.copy_of = above
                above.log.append(Forked(time.monotonic_ns() if when is None else when, process))
                for tell in self.born:
                    tell(above.tgid, process.tgid)
        leader = self.kernel.tasks.get(task.tgid)
        for thread in (task, leader):
            if thread is not None and self.mirrors and thread.mm is not process.mm:
                thread.mm = process.mm
                process.mm.users.append(thread)
        return process

    def as_seen(self, uid: int) -> int:
        """Whoever runs the machine is its root."""
        return 0 if uid == os.geteuid() else uid

    # -- events ---------------------------------------------------------------------------------

    def pending(self) -> bool:
        """Are there events?"""
        return any(source.pending() for source in self._sources)

    def drain(self) -> None:
        """Take in what has happened up to now."""
        for source in self._sources:
            if source.pending():
                self._take(source.read())
        if not self._sources:
            self._bury()

    def _take(self, events: Events) -> None:
        self._samples += events.samples
        for event in events.tasks:
            self._task_event(event)
        if events.lost:
            log.warning("%d events were lost", events.lost)
            self._resync()

    def _sort_faults(self) -> None:
        """Enter faults in the logs of their processes."""
        import numpy as np

        if not self._samples:
            return
        faults = fault_rows(self._samples)
        self._samples = []
        for tgid in np.unique(faults[:, 0]).tolist():
            process = self.processes.get(tgid)
            if process is None:
                continue
            rows = faults[(faults[:, 0] == np.uint64(tgid)) & (faults[:, 2] >= np.uint64(process.since))]
            if len(rows):
                batch = Batch(rows[:, 1], rows[:, 2], rows[:, 3] // np.uint64(pagemap.PAGE))
                process.log[:] = _with_faults(process.log, batch)
                process.faults += len(rows)

    def _task_event(self, event: TaskEvent) -> None:
        if event.what == "fork":
            self._forked(event)
        elif event.what == "exec":
            self._executed(event)
        else:
            self._exited(event)

    def _forked(self, event: TaskEvent) -> None:
        parent = self.kernel.tasks.get(event.by)
        if parent is None or parent.tgid not in self.processes:
            return
        stale = self.kernel.tasks.get(event.tid)
        if stale is not None and stale.real and event.tid == event.tgid and event.tid in self.processes:
            return
        task = self.kernel.tasks.adopt(
            self.kernel, event.tid, event.tgid, parent.comm, parent.uid, parent.gid, parent=parent
        )
        self._process_of(task, parent, event.time)

    def _executed(self, event: TaskEvent) -> None:
        """The thread that called exec is the leader now, and the only one; memory is new."""
        process = self.processes.get(event.tgid)
        leader = self.kernel.tasks.get(event.tgid)
        if process is None or leader is None:
            return
        others = [thread for thread in self.kernel.tasks.threads(leader) if thread is not leader]
        if event.tgid in self._leaders_gone and others:
            _hand_over(others[0], leader)
        self._leaders_gone.discard(event.tgid)
        for thread in others:
            self.kernel.tasks.do_exit(self.kernel, thread)
        leader.comm = event.comm[:15]
        self._new_memory(process, leader)
        process.since = event.time

    def _new_memory(self, process: Process, leader: Task) -> None:
        self._give_copies(process)
        process.log, process.faults, process.copy_of, process.areas = [], 0, None, []
        process.text, process.there = b"", []
        old, process.mm = process.mm, Mm()
        if not self.mirrors:
            return
        leader.mm = process.mm
        process.mm.users.append(leader)
        if leader in old.users:
            old.users.remove(leader)
        if not old.users:
            mmap.exit_mmap(self.kernel, old)

    def _exited(self, event: TaskEvent) -> None:
        task = self.kernel.tasks.get(event.tid)
        if task is None or task.tgid not in self.processes:
            return
        others = [thread for thread in self.kernel.tasks.threads(task) if thread is not task]
        if task.pid == task.tgid and others:
            self._leaders_gone.add(task.pid)
            return
        if others:
            self._seal(task)
        else:
            self._last_look(self.processes[task.tgid], task)
        leader = self.kernel.tasks.get(task.tgid)
        last = len(others) == 1 and others[0] is leader and task.tgid in self._leaders_gone
        self.kernel.tasks.do_exit(self.kernel, task)
        if last and leader is not None:
            self.kernel.tasks.do_exit(self.kernel, leader)
        if last or not others:
            self._gone(task.tgid)

    def _last_look(self, process: Process, task: Task) -> None:
        """It has ended: charge what the log says that it touched, if that is much, or little beside what is charged.

        What was there cannot be seen any more. Where nothing is known of a mapping it was anonymous memory.
        """
        if self.mirrors and (process.areas or sum(map(len, self._samples)) + process.faults >= MUCH):
            self._sort_faults()
        if process.faults >= MUCH or (process.faults and process.areas):
            try:
                self._charge_unseen(process, task)
            except (TaskKilled, OSError) as refused:
                log.debug("process %d had ended: %s", process.tgid, refused)
        self._give_copies(process)

    def _charge_unseen(self, process: Process, task: Task) -> None:
        entries, process.log, process.faults = process.log, [], 0
        for entry in entries:
            if isinstance(entry, Forked):
                self._give_copy(process, entry.child)
                continue
            for tid, start, stop in _stretches(entry.tids, entry.vpns):
                map_unseen(self.kernel, process.mm, start, stop)
                touch = Touch(self.kernel.tasks.get(tid) or task, start, stop, entry.under.get(tid))
                touch_pages(self.kernel, process.mm, touch, as_mapped(process.mm, start, stop))

    def _gone(self, tgid: int) -> None:
        """A process has ended; children that still have its memory get their copies."""
        process = self.processes.pop(tgid, None)
        self._leaders_gone.discard(tgid)
        if process is None:
            return
        process.log.clear()
        for tell in self.died:
            tell(tgid)

    def _resync(self) -> None:
        """Events were lost: find out from /proc who lives, and look at everybody."""
        for process in list(self.processes.values()):
            process.lost = True
            for tid in procs.threads(process.tgid):
                self.task_of(tid)
            for pid in procs.children(process.tgid):
                self.task_of(pid)
        self._bury()

    def _bury(self) -> None:
        """Let go of threads and processes that have ended without an event that said so."""
        for process in list(self.processes.values()):
            leader = self.kernel.tasks.get(process.tgid)
            alive = set(procs.threads(process.tgid)) if procs.identity(process.tgid) or leader else set()
            if leader is None or not alive or (alive == {process.tgid} and procs.identity(process.tgid) is None):
                if leader is not None:
                    self.kernel.tasks.do_exit(self.kernel, leader)
                self._gone(process.tgid)
                continue
            for thread in self.kernel.tasks.threads(leader):
                if thread.pid not in alive:
                    self.kernel.tasks.do_exit(self.kernel, thread)

    def end(self, tgids: set[int]) -> None:
        """A session is over: nobody of it lives."""
        for tgid in tgids & set(self.processes):
            leader = self.kernel.tasks.get(tgid)
            if leader is not None:
                self.kernel.tasks.do_exit(self.kernel, leader)
            self._gone(tgid)

    # -- what is known of touches ---------------------------------------------------------------

    def before_rebinding(self, task: Task) -> None:
        """What `task` has touched so far, it touched under the policy and on the CPU that it has now."""
        if self._sources:
            self._seal(task)
        else:
            self.look(task)

    def _seal(self, task: Task) -> None:
        self._sort_faults()
        process = self.processes.get(task.tgid)
        if process is None or not process.log:
            return
        under = Under(mpol_dup(task.policy) if task.policy else None, task.cpu)
        for entry in process.log:
            if isinstance(entry, Batch):
                entry.under.setdefault(task.pid, under)

    def observe(self) -> None:
        """Somebody looks at the machine: let it show what its processes have."""
        self.drain()
        self._sort_faults()
        now = time.monotonic()
        for process in list(self.processes.values()):
            news = process.faults
            if process.areas or not self._sources:
                news = max(news, abs(pagemap.resident(process.tgid) - process.resident))
            if news >= WORTH_A_LOOK or process.lost or (news and now - process.looked_at > LOOK_AGAIN_S):
                self._look(process)

    def tick(self) -> None:
        """Nobody looks, but what takes much memory is seen by the others. A tenth of the time is for this at most."""
        self.drain()
        began = time.monotonic()
        if began < self._rest_until:
            return
        self._sort_faults()
        for process in list(self.processes.values()):
            if process.faults >= MUCH:
                self._look(process)
        self._rest_until = began + 10 * (time.monotonic() - began)

    def look(self, task: Task) -> None:
        """Somebody looks at the memory of this very task."""
        self.drain()
        self._sort_faults()
        process = self.processes.get(task.tgid)
        if process is not None:
            self._look(process)

    def look_at(self, task: Task, start: int, stop: int) -> None:
        """Somebody looks at the pages [start, stop) of this task."""
        process = self.processes.get(task.tgid)
        if process is None:
            return
        if process.copy_of is not None or process.lost or any(isinstance(entry, Forked) for entry in process.log):
            self._look(process)
        else:
            self._reconcile(process, lambda leader: self._bring_up_to_date(process, leader, start, stop))

    def _look(self, process: Process) -> None:
        """Bring the model's picture of a process up to date."""
        process.looked_at = time.monotonic()
        self._reconcile(process, lambda leader: self._bring_all_up_to_date(process, leader))

    def _reconcile(self, process: Process, how: Callable[[Task], None]) -> None:
        leader = self.kernel.tasks.get(process.tgid)
        if leader is None or leader.mm is not process.mm or not self.mirrors:
            return
        try:
            how(leader)
        except Changed:
            log.debug("process %d became another program while it was looked at", process.tgid)
        except TaskKilled:
            self.kill(leader)
        except OSError as refused:
            log.warning("process %d: %s", process.tgid, refused)

    def _bring_all_up_to_date(self, process: Process, leader: Task) -> None:
        self._copy_from_parent(process)
        text = pagemap.maps_text(process.tgid)
        if not text:
            return
        areas = process.areas if text == process.text else pagemap.maps(text)
        process.resident = pagemap.resident(process.tgid)
        scan = self._scan(process, leader, areas)
        if areas is process.areas and scan.there == process.there and not process.log:
            return
        map_areas(self.kernel, leader, process.mm, process.areas, areas)
        process.areas, process.text, process.there = areas, text, scan.there
        self._replay(process, leader, scan)
        settle(self.kernel, leader, process.mm, scan.there)

    def _scan(
        self, process: Process, leader: Task, areas: list[Area], start: int = 0, stop: int = mmap.TASK_SIZE
    ) -> Scan:
        """What is there; and the log says it of each page, and perhaps of some more. Raises Changed."""
        mm = process.mm
        began = time.monotonic_ns()
        there = pagemap.present(process.tgid, areas, start, stop)
        scan = Scan(began, time.monotonic_ns(), there)
        self.drain()
        self._sort_faults()
        if leader.exited or process.mm is not mm or leader.mm is not mm:
            raise Changed
        return scan

    def _bring_up_to_date(self, process: Process, leader: Task, start: int, stop: int) -> None:
        """Of a part only: what mapped something there before is looked at whole."""
        old = [area for area in process.areas if area.start < stop and area.stop > start]
        first, last = min([start, *(area.start for area in old)]), max([stop, *(area.stop for area in old)])
        areas = pagemap.areas_between(process.tgid, first, last)
        known = set(process.areas)
        map_areas(self.kernel, leader, process.mm, old, areas)
        if any(area not in known for area in areas) or len(areas) != len(old):
            process.areas, process.text = process.areas + [area for area in areas if area not in known], b""
        scan = self._scan(process, leader, areas, start, stop)
        process.there = []
        inside = [(entry, scan.explains(entry, start, stop)) for entry in process.log if isinstance(entry, Batch)]
        taken = [entry.part(chosen) for entry, chosen in inside]
        process.log = [entry for entry in process.log if isinstance(entry, Forked)]
        process.log += [entry.part(~chosen) for entry, chosen in inside if not chosen.all()]
        process.faults -= sum(len(entry.vpns) for entry in taken)
        for entry in taken:
            self._charge(process, leader, scan.there, entry)
        settle(self.kernel, leader, process.mm, scan.there, start, stop)

    def kill(self, leader: Task) -> None:
        """The model has no memory left for it: it gets what it would get on the machine."""
        log.warning("process %d (%s) is killed: the machine is out of memory", leader.tgid, leader.comm)
        self.kernel.tasks.do_exit(self.kernel, leader)
        self._gone(leader.tgid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(leader.tgid, signal.SIGKILL)

    # -- pid namespaces -------------------------------------------------------------------------

    def global_pid(self, task: Task, pid: int) -> int:
        """What the id that `task` names is called here; NOBODY if it names nobody."""
        if self._namespace(task.tgid) == self._namespace(os.getpid()):
            return pid
        for other in self.kernel.tasks:
            if other.real and self._namespace(other.tgid) == self._namespace(task.tgid):
                ids = procs.namespace_pid(other.pid)
                if ids and ids[-1] == pid:
                    return other.pid
        return NOBODY

    def _namespace(self, tgid: int) -> str:
        """The pid namespace of a process, which never changes."""
        process = self.processes.get(tgid)
        if process is not None and process.namespace is not None:
            return process.namespace
        try:
            found = os.readlink(f"/proc/{tgid}/ns/pid")
        except OSError:
            found = ""
        if process is not None:
            process.namespace = found
        return found

    # -- the log --------------------------------------------------------------------------------

    def _replay(self, process: Process, leader: Task, scan: Scan) -> None:
        """Charge what the log says, in order; what it says of the time since the scan stays in it."""
        entries, process.log, process.faults, process.lost = process.log, [], 0, False
        for entry in entries:
            if isinstance(entry, Forked):
                self._give_copy(process, entry.child)
                continue
            chosen = scan.explains(entry)
            self._charge(process, leader, scan.there, entry.part(chosen))
            if not chosen.all():
                later = entry.part(~chosen)
                process.log.append(later)
                process.faults += len(later.vpns)

    def _charge(self, process: Process, leader: Task, there: list[Present], batch: Batch) -> None:
        for tid, start, stop in _stretches(batch.tids, batch.vpns):
            touch = Touch(self.kernel.tasks.get(tid) or leader, start, stop, batch.under.get(tid))
            touch_pages(self.kernel, process.mm, touch, list(_between(there, start, stop)))

    def _copy_from_parent(self, process: Process) -> None:
        """A child that did not exec shares what its parent had: the parent is brought to where it forked."""
        parent = process.copy_of
        if parent is None:
            return
        if self.processes.get(parent.tgid) is parent:
            self._look(parent)
        if process.copy_of is not None:
            self._give_copy(parent, process)

    def _give_copies(self, process: Process) -> None:
        """The memory of a process ends: children that still wait for their copies get them."""
        for entry in process.log:
            if isinstance(entry, Forked):
                self._give_copy(process, entry.child)

    def _give_copy(self, parent: Process, child: Process) -> None:
        if child.copy_of is not parent or self.processes.get(child.tgid) is not child:
            return
        child.copy_of = None
        task, new = self.kernel.tasks.get(parent.tgid), self.kernel.tasks.get(child.tgid)
        if task is None or new is None or not parent.mm.vmas:
            return
        mm = mmap.dup_mmap(self.kernel, task, parent.mm)
        mm.users = list(child.mm.users)
        for thread in mm.users:
            thread.mm = mm
        child.mm, child.areas, child.text = mm, parent.areas, parent.text


def _with_faults(entries: list[Batch | Forked], batch: Batch) -> list[Batch | Forked]:
    """The log with faults that came later than those in it, but perhaps not later than all forks."""
    kept = len(entries)
    while kept and isinstance(entries[kept - 1], Forked):
        kept -= 1
    out = entries[:kept]
    for fork in entries[kept:]:
        assert isinstance(fork, Forked)
        before = batch.times < fork.time
        if before.any():
            out.append(batch.part(before))
            batch = batch.part(~before)
        out.append(fork)
    if len(batch.vpns):
        out.append(batch)
    return out


def _hand_over(thread: Task, leader: Task) -> None:
    """A thread that calls exec goes on under its leader's id."""
    leader.policy, leader.il_prev = thread.policy, thread.il_prev
    leader.cpus_allowed, leader.cpu = thread.cpus_allowed, thread.cpu
    leader.spread_rotor = thread.spread_rotor


def _stretches(tids: NDArray[np.uint64], vpns: NDArray[np.uint64]) -> Iterator[tuple[int, int, int]]:
    """(thread, first page, end) of what was touched: neighbours together, each page for who touched it last."""
    import numpy as np

    if not len(vpns):
        return
    pages, last = np.unique(vpns[::-1], return_index=True)
    owners = tids[::-1][last]
    breaks = np.flatnonzero((np.diff(pages) != 1) | (np.diff(owners) != 0)) + 1
    starts = np.concatenate(([0], breaks))
    stops = np.concatenate((breaks, [len(pages)]))
    for a, b in zip(starts.tolist(), stops.tolist(), strict=True):
        yield int(owners[a]), int(pages[a]), int(pages[b - 1]) + 1


def _between(there: list[Present], start: int, stop: int) -> Iterator[Present]:
    """What of [start, stop) is there."""
    i = max(bisect_right(there, start, key=lambda stretch: stretch.start) - 1, 0)
    while i < len(there) and there[i].start < stop:
        stretch = there[i]
        a, b = max(stretch.start, start), min(stretch.stop, stop)
        if a < b:
            yield stretch._replace(start=a, stop=b)
        i += 1
