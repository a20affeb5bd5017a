"""What the rows say that this watcher runs, compared with what it runs. After a COMMIT whose answer was lost, or after
a person has changed a row, each side may know something that the other does not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import structlog

from engine import supervise
from engine.database import Database
from engine.errors import PenstockError
from engine.outages import AWAY, OUTAGES
from engine.settling.settlement import Settlement, Verdict
from watcher.cycle import Cycle
from watcher.pool import Pool

log = structlog.get_logger("penstock.watcher")
EVERY_S = 2.0
"""Between comparisons, while something runs for that long."""
IDLE_S = 10.0


class Comparison:
    """Compares now and then; called by the loop alone."""

    def __init__(
        self, db: Database, watcher_id: str, cycle: Cycle, pool: Pool, is_anything_running: Callable[[], bool]
    ) -> None:
        self._db = db
        self._watcher_id = watcher_id
        self._cycle = cycle
        self._pool = pool
        self._is_anything_running = is_anything_running
        """Has the last look seen any row that is held, by whomever?"""
        self._compared_at = time.monotonic()
        self._ask_at = self._compared_at + EVERY_S

    def compare_if_due(self) -> None:
        now = time.monotonic()
        if now < self._ask_at:
            return
        self._ask_at = now + EVERY_S
        is_due = now >= self._compared_at + IDLE_S and self._is_anything_running()
        if is_due or self._pool.longest_running_s() >= EVERY_S / 2:
            self._compared_at = now
            self.compare()

    def compare(self) -> None:
        """Give back rows that name us and that we do not run; tell programs to stop whose rows name us no more."""
        if self._cycle.is_unsure:
            return  # a claim without an answer: what it took is ours, and comes with the next turn
        try:
            with self._db.read() as conn:
                held = supervise.held_by(conn, self._watcher_id)
            if unknown := held - self._pool.slots.keys():
                log.warning("gave back rows that named this watcher", tasks=supervise.give_back(self._db, unknown))
        except PenstockError as error:
            if (left_out := OUTAGES.may_say(AWAY)) is not None:
                log.warning("cannot compare what runs here with the rows", error=str(error), left_out=left_out)
            return
        for fence in self._pool.slots.keys() - held:
            self._pool.slots[fence].stop.set()  # taken from us, or set by hand: whatever it answers comes too late

    def let_go(self, settled: Iterable[tuple[Settlement, Verdict]]) -> None:
        """An exclusive task that a person set back waits for its program to stop, which it has now."""
        gone = [item.task.fence for item, verdict in settled if item.task.is_exclusive and verdict is Verdict.STALE]
        if not gone:
            return
        try:
            supervise.let_go(self._db, gone)
        except PenstockError as error:
            log.warning("an exclusive task set back by hand waits for the end of this lease", error=str(error))
