"""Time limits of pokes that are over while nobody runs: the sweep behind engine/waiting/pokes.py."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, Row, select, update

from engine.claimed import ClaimedTask, last_claims
from engine.database import Database
from engine.dialects.clock import now
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.keys import KEY_COLUMNS, Key, among, chunks, key_of
from engine.settle import Settlement, settle
from engine.states import SETTLED, Reason, Status
from engine.tables import IS_OPEN_WAIT, task_stat, wait
from engine.waiting import waits
from engine.waiting.pokes import failure
from engine.waiting.waits import POKE


def fire_pokes(db: Database, policy: Policy = DEFAULT_POLICY) -> int:
    """Fail tasks that wait for their next poke while their time for being poked is over.

    A task that runs at the moment, or may not run, is not touched: its limit is kept as one that is over. Returns how
    many limits were dealt with.
    """
    return db.transact(lambda conn: _fire(conn, db, policy))


def _fire(conn: Connection, db: Database, policy: Policy) -> int:
    is_due = IS_OPEN_WAIT, wait.c.due_ts.isnot(None), wait.c.due_ts <= now(), wait.c.kind == POKE
    columns = wait.c.wait_id, wait.c.task_flow_id, wait.c.task_exec_seq, wait.c.details
    due = conn.execute(select(*columns).where(*is_due).order_by(wait.c.due_ts).limit(waits.BATCH)).all()
    if not due:
        return 0
    held, gone = waits.lock_free(conn, db, {key_of(row) for row in due})
    cancelled = waits.cancel(conn, gone)
    # what is open and due now that the tasks are locked: another sweep may have been here
    ours: dict[Key, Row[Any]] = {}
    for part in chunks(sorted(row.wait_id for row in due if key_of(row) in held)):
        still: list[Row[Any]] = list(conn.execute(select(*columns).where(*is_due, wait.c.wait_id.in_(part))))
        ours |= {key_of(row): row for row in still}
    waiting, settled = _split(conn, ours)
    _fail(conn, db, {key: ours[key] for key in waiting}, policy)
    waits.write(conn, {ours[key].wait_id for key in settled}, "cancelled")
    later_on = [row.wait_id for key, row in ours.items() if key not in waiting and key not in settled]
    for part in chunks(sorted(later_on)):
        conn.execute(update(wait).where(wait.c.wait_id.in_(part), IS_OPEN_WAIT).values(due_ts=None))
    return len(ours) + cancelled


def _split(conn: Connection, keys: Collection[Key]) -> tuple[set[Key], set[Key]]:
    """Those that wait for their next poke, and those that are settled; the others run, or are about to."""
    waiting: set[Key] = set()
    settled: set[Key] = set()
    for part in chunks(sorted(keys)):
        query = select(*KEY_COLUMNS, task_stat.c.exec_status, task_stat.c.reason).where(among(part))
        for row in conn.execute(query):
            if row.exec_status == Status.WAIT and row.reason == Reason.AGAIN:
                waiting.add(key_of(row))
            elif row.exec_status in SETTLED:
                settled.add(key_of(row))
    return waiting, settled


def _fail(conn: Connection, db: Database, limits: dict[Key, Row[Any]], policy: Policy) -> None:
    """Settle them by their last claims, as if these had failed just now, so that all that follows a failure does."""
    by_owner: dict[str, list[ClaimedTask]] = {}
    for owner, task in last_claims(conn, limits):
        by_owner.setdefault(owner, []).append(task)
    for owner, tasks in sorted(by_owner.items()):
        late = [failure(Settlement(task, "again", overdue=True), limits[task.key]) for task in tasks]
        settle(conn, db, owner, late, policy=policy)
