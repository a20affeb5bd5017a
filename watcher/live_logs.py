"""Logs of tries that still run, written in parts: those of all tries in one transaction, if there is anything new.

The watcher's loop calls this, between its turns. So a part is never under way while its try is settled, and whoever
settles knows without asking which tries have parts. Tries that end within the first interval have none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final

import structlog

from engine import jsontext, task_logs
from engine.database import Database
from engine.errors import DatabaseUnavailable, OutcomeUnknown
from engine.keys import Fence
from engine.outages import OUTAGES
from engine.settling.settlement import Settlement
from watcher.slots import Slot

log = structlog.get_logger("penstock.watcher")
MAX_CHARS: Final = 262_144
"""Of one transaction, roughly; tries that say more than that together take turns."""
REST: Final = "... more than a try may show while it runs: the rest comes with its end ...\n"


class LiveLogs:
    """The parts of one watcher. `every_s`: how often they are written, 0 for never."""

    def __init__(self, db: Database, every_s: float, slots: Mapping[Fence, Slot]) -> None:
        self._db = db
        self._every_s = every_s
        self._slots = slots
        self._due_at = time.monotonic() + every_s
        self._written: dict[Fence, int] = {}
        """Characters of the parts of each held try that has any, or may have."""
        self._unwritten: dict[Fence, str] = {}
        """Parts that the database could not take: they go with the next."""
        self._first: Collection[Fence] = ()
        """Whose turn did not come the last time."""

    @property
    def parted(self) -> Collection[Fence]:
        """The tries that have parts, or may have: to be taken away when they are settled."""
        return self._written.keys()

    def left_s(self, now: float) -> float:
        """Seconds until the next time; infinite while nothing is held, or where none is ever written."""
        return max(0.0, self._due_at - now) if self._every_s and self._slots else math.inf

    def write_if_due(self, *, may_write: bool) -> None:
        """Errors: DatabaseUnavailable, after which the parts are kept for the next time."""
        now = time.monotonic()
        if not self._every_s or now < self._due_at:
            return
        self._due_at = now + self._every_s
        if may_write and self._slots:
            self._gather(now)
            if self._unwritten:
                self._write()

    def forget(self, settlements: Iterable[Settlement]) -> None:
        """These are settled, and their parts taken away with that."""
        if self._written:
            for item in settlements:
                self._written.pop(item.task.fence, None)
                self._unwritten.pop(item.task.fence, None)

    def _gather(self, now: float) -> None:
        room = MAX_CHARS - sum(map(len, self._unwritten.values()))
        waiting = list(self._running(now))
        if self._first:
            waiting.sort(key=lambda slot: slot.task.fence not in self._first)
        self._first = ()
        for place, slot in enumerate(waiting):
            if room <= 0:
                self._first = {slot.task.fence for slot in waiting[place:]}
                return
            room -= self._take(slot)

    def _running(self, now: float) -> Iterator[Slot]:
        """The tries that have run for an interval, and may have something to say."""
        before = now - self._every_s
        for fence, slot in self._slots.items():
            began = slot.begun_at
            if began is None or began > before or slot.answered.locked() or fence in self._unwritten:
                continue
            if self._written.get(fence, 0) < task_logs.MAX_TRY:
                yield slot

    def _take(self, slot: Slot) -> int:
        text = None if slot.log is None else slot.log.part()
        if text is None:
            return 0
        fence, part = slot.task.fence, jsontext.clean_text(text, task_logs.MAX_PART)
        size = self._written.get(fence, 0)
        if size + len(part) >= task_logs.MAX_TRY:
            part = part[: max(0, task_logs.MAX_TRY - size - len(REST))] + REST
        self._written[fence] = min(size + len(part), task_logs.MAX_TRY)
        self._unwritten[fence] = part
        return len(part)

    def _write(self) -> None:
        parts = self._unwritten
        try:
            self._db.transact(lambda conn: task_logs.add(conn, parts))
        except DatabaseUnavailable:
            raise
        except OutcomeUnknown:
            pass  # written or not: a part twice would be worse than one that comes with the end alone
        except Exception as error:  # these lines are there when their tries end: nothing else must wait for them
            if (left_out := OUTAGES.may_say("live logs")) is not None:
                log.warning("cannot write what running tasks log", error=str(error), left_out=left_out)
        self._unwritten = {}
