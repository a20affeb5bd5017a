"""Programs that this watcher lacks and others have: during a roll-out, tasks of a new program are left to the watchers
that have it already, instead of being suspended by those that have not."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from engine import leases
from engine.database import Database
from engine.errors import PenstockError
from engine.settling.settlement import Settlement
from engine.states import Reason
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
        self._of_others: frozenset[str] = frozenset()
        self.left: frozenset[str] = frozenset()
        """Programs whose tasks are not claimed here."""

    def leave(self, program: str | None) -> bool:
        """Leave tasks of this program to others from now on. False if no other watcher has it."""
        with self._lock:
            if time.monotonic() >= self._read_at + FRESH_S:
                self._read()
            if program not in self._of_others:
                return False
            self.left |= {program}
            return True

    def reconsider(self, settlement: Settlement | None) -> Settlement | None:
        """Hand a task back, uncharged, where the program that it names is elsewhere."""
        if settlement is None or settlement.reason != Reason.UNKNOWN_PROGRAM:
            return settlement
        try:
            return released(settlement.task) if self.leave(settlement.task.program) else settlement
        except PenstockError:  # the database is away: ask again with the next claim
            return released(settlement.task)

    def review(self) -> int:
        """Take back what nobody offers any more: somebody must say that there is no such program. Wakes nobody."""
        if self.left and time.monotonic() >= self._read_at + FRESH_S:
            with self._lock:
                self._read()
                self.left &= self._of_others
        return 0

    def _read(self) -> None:
        with self._db.read() as conn:
            self._of_others = leases.offered(conn, self._queues, besides=self._watcher_id)
        self._read_at = time.monotonic()
