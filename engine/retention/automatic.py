"""Retention without a person: a batch at a time, by one watcher at a time, whenever its turn comes.

Whose turn it is says a row of kr_limit: when the next slice may begin, by the database's clock. A watcher that dies in
its turn is not waited for; the next turn comes all the same.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, select, update

from engine.database import Database
from engine.dialects.clock import MAX_DELAY_S, later, now
from engine.retention import candidates
from engine.retention.candidates import Place, Wanted
from engine.retention.pruning import FLOWS, Pruned, delete_batch, in_batches
from engine.tables import limit_stat, workflow

TURN: Final = ("retention", "turn")
"""`scope` and `name` of the row that says when the next slice begins."""
SOON_S: Final = 0.5
"""Until the next slice after one that found enough to do."""
SELDOM_S: Final = 60.0
BY: Final = "watcher"
"""Whose deed it is."""
_turn = limit_stat.c.scope == TURN[0], limit_stat.c.name == TURN[1]


class Retention:
    """Deletes what the workflows, and else `retention_s`, no longer want kept; None keeps for ever. Units: seconds."""

    def __init__(self, db: Database, retention_s: float | None) -> None:
        self._db = db
        self._retention_s = retention_s
        self._after: dict[str | None, Place] = {}
        """Where to go on, of each workflow: what could not be deleted must not hide what comes after it."""

    def slice(self) -> Pruned | None:
        """Delete one batch if it is our turn; None if it is not. Safe to be called by any number of watchers."""
        with self._db.read() as conn:
            wanted = list(self._wanted(conn))
            if not wanted or not _is_time(conn):
                return None
        if not self._db.transact(lambda conn: _take_turn(conn, self._db)):
            return None
        pruned = self._delete(wanted)
        pause_s = SOON_S if pruned.flows or self._after else SELDOM_S * random.uniform(0.5, 1.5)
        self._db.transact(lambda conn: _end_turn(conn, pause_s))
        return pruned

    def _wanted(self, conn: Connection) -> Iterator[Wanted]:
        """What may go: by workflows that say how long, and then all others."""
        own: dict[str, float] = {}
        query = select(workflow.c.task_id, workflow.c.retention_s).where(workflow.c.retention_s.isnot(None))
        for task_id, seconds in conn.execute(query):
            # one that is no time would be refused at the next registration; until it is mended, nothing goes
            own[task_id] = (
                min(seconds, MAX_DELAY_S) if isinstance(seconds, int | float) and seconds > 0 else MAX_DELAY_S
            )
        for task_id, seconds in sorted(own.items()):
            yield Wanted(seconds, task_id)
        if self._retention_s is not None:
            yield Wanted(self._retention_s, but=sorted(own))

    def _delete(self, wanted: list[Wanted]) -> Pruned:
        """The first that has something to delete, in a random order so that none waits for ever behind another."""
        for one in random.sample(wanted, len(wanted)):
            with self._db.read() as conn:
                rows = candidates.page(conn, candidates.due(conn, one), self._after.pop(one.task_id, None), FLOWS)
            for batch in in_batches(rows, FLOWS):
                if gone := delete_batch(self._db, one, batch, BY):
                    return Pruned().plus(gone)
            if len(rows) == FLOWS:
                self._after[one.task_id] = candidates.place_of(rows[-1], one)
        return Pruned()


def _is_time(conn: Connection) -> bool:
    """Without a lock: most of those who ask need not write."""
    ahead = select(limit_stat.c.name).where(*_turn, limit_stat.c.free_at_ts > now())
    return conn.scalar(ahead) is None


def _take_turn(conn: Connection, db: Database) -> bool:
    """Ours until we end it, or for a minute if we never do."""
    values: dict[str, Any] = {"scope": TURN[0], "name": TURN[1]}
    conn.execute(db.dialect.insert_missing(limit_stat).values(free_at_ts=later(-1.0)), [values])
    mine = update(limit_stat).where(*_turn, limit_stat.c.free_at_ts <= now())
    return conn.execute(mine.values(free_at_ts=later(SELDOM_S))).rowcount == 1


def _end_turn(conn: Connection, pause_s: float) -> None:
    conn.execute(update(limit_stat).where(*_turn).values(free_at_ts=later(pause_s)))
