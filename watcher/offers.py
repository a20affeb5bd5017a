"""Programs that this watcher lacks and others have: during a roll-out, tasks of a new program are left to the watchers
that have it already, instead of being suspended by those that have not."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence

from sqlalchemy import select

from engine import leases
from engine.candidates import ANYTHING, Offer
from engine.database import Database
from engine.errors import PenstockError
from engine.keys import Key
from engine.settling.settlement import Settlement
from engine.states import Reason
from engine.tables import task_stat
from watcher.settlements import released

FRESH_S = 1.0


class Offers:
    """What other live watchers of our queues offer. Errors: those of reading the database."""

    def __init__(self, db: Database, watcher_id: str, queues: Sequence[str]) -> None:
        self._db = db
        self._watcher_id = watcher_id
        self._queues = queues
        self._lock = threading.Lock()
        self._read_at = float("-inf")
        self._of_others: Mapping[str, frozenset[str]] = {}
        self.own: Offer = ANYTHING
        """What is claimed here: all but the tasks that are left to others."""

    def leave(self, program: str | None, queue: str) -> bool:
        """Leave tasks of this program in this queue to others from now on. False if nobody else there has it."""
        with self._lock:
            if time.monotonic() >= self._read_at + FRESH_S:
                self._read()
            if program is None or program not in self._of_others.get(queue, ()):
                return False
            left = self.own.without
            self.own = Offer({**left, queue: {program, *left.get(queue, ())}})
            return True

    def reconsider(self, settlement: Settlement | None) -> Settlement | None:
        """Hand a task back, uncharged, where the program that it names is elsewhere."""
        if settlement is None or settlement.reason != Reason.UNKNOWN_PROGRAM:
            return settlement
        task = settlement.task
        try:
            return released(task) if self.leave(task.program, self._queue_of(task.key)) else settlement
        except PenstockError:  # the database is away: ask again with the next claim
            return released(task)

    def review(self) -> int:
        """Take back what nobody offers any more: somebody must say that there is no such program. Wakes nobody."""
        if self.own.without and time.monotonic() >= self._read_at + FRESH_S:
            with self._lock:
                self._read()
                left = {queue: set(names) & self._of_others[queue] for queue, names in self.own.without.items()}
                self.own = Offer({queue: names for queue, names in left.items() if names})
        return 0

    def _queue_of(self, key: Key) -> str:
        row = task_stat.c.task_flow_id == key.flow_id, task_stat.c.task_exec_seq == key.seq
        with self._db.read() as conn:
            return conn.scalar(select(task_stat.c.queue).where(*row)) or ""

    def _read(self) -> None:
        with self._db.read() as conn:
            self._of_others = leases.offered(conn, self._queues, besides=self._watcher_id)
        self._read_at = time.monotonic()
