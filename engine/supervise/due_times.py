"""Timers, retries and limits of waiting: rows whose due time has come are opened."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from engine.database import Database
from engine.dialects.clock import now
from engine.failpoints import hit
from engine.graph.dependencies import DEFAULT_POLICY, Policy, count_awaited
from engine.keys import KEY_COLUMNS, Key, among, key_of
from engine.states import Status
from engine.supervise.batches import take_rows
from engine.tables import task_stat


def fire_due(db: Database, policy: Policy = DEFAULT_POLICY) -> int:
    """Open tasks whose due time has come, unless they await something else; the due time is used up by it.

    Counters are counted anew rather than lowered: a due time set by hand on a waiting row was never counted.
    Returns how many due times were met.
    """

    def work(conn: Connection) -> int:
        task = task_stat.c
        due = select(*KEY_COLUMNS).where(task.due_ts.isnot(None), task.due_ts <= now()).order_by(task.due_ts)
        keys = [key_of(row) for row in take_rows(conn, db, due)]
        if not keys:
            return 0
        hit("due.after_select")
        groups: dict[int, list[Key]] = {}
        for key, awaited in count_awaited(conn, keys, policy).items():
            groups.setdefault(awaited.total, []).append(key)
        is_open = task.exec_status.in_([int(Status.WAIT), int(Status.SUSPEND)])
        count = 0
        for left, alike in groups.items():
            fired = update(task_stat).where(among(alike), is_open, task.wait_count > 0, task.due_ts <= now())
            count += conn.execute(fired.values(wait_count=left, due_ts=None)).rowcount
        if count:
            db.dialect.notify(conn)
        # a due time on a row that awaits nothing was set by hand on a ready or settled row: it is void
        conn.execute(update(task_stat).where(among(keys), task.due_ts <= now()).values(due_ts=None))
        hit("due.before_commit")
        return count

    return db.transact(work)
