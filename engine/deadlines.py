"""Flows whose time is over (`timeout_s` of their workflow) are cancelled, by the database's clock."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

from sqlalchemy import Connection, select, update

from engine import flow_counts, history, waits
from engine.database import Database
from engine.dialects.clock import now
from engine.keys import KEY_COLUMNS, key_of
from engine.states import PASSED_ON, Reason, Status
from engine.tables import IS_OVERSEEN, flow_stat, task_stat
from engine.transitions import move

BATCH: Final = 50
_OPEN: Final = (Status.WAIT, Status.RUNNING, Status.SUSPEND)


def end_overdue(db: Database) -> int:
    """Cancel active flows whose deadline has passed, up to a batch. Returns how many."""
    return db.transact(lambda conn: _end(conn, db))


def _end(conn: Connection, db: Database) -> int:
    flow = flow_stat.c
    overdue = select(flow.task_flow_id).where(IS_OVERSEEN, flow.deadline_ts <= now()).order_by(flow.deadline_ts)
    flow_ids = list(conn.scalars(overdue.limit(BATCH)))
    if flow_ids:
        _cancel(conn, db, sorted(flow_ids))
    return len(flow_ids)


def _cancel(conn: Connection, db: Database, flow_ids: Collection[str]) -> None:
    """Whatever is open is closed; a running program is told to stop, and what it answers changes nothing."""
    task = task_stat.c
    is_open = task.task_flow_id.in_(flow_ids), task.exec_status.in_([int(status) for status in _OPEN])
    query = select(*KEY_COLUMNS).where(*is_open).order_by(*KEY_COLUMNS)
    if db.can.row_locks:
        query = query.with_for_update()
    keys = [key_of(row) for row in conn.execute(query)]
    move(conn, "cancel", keys, wait_count=PASSED_ON, due_ts=None, reason=Reason.TIMED_OUT)
    waits.cancel(conn, keys)
    columns: dict[str, Any] = {"reason": Reason.TIMED_OUT, "deadline_ts": None}
    conn.execute(update(flow_stat).where(flow_stat.c.task_flow_id.in_(flow_ids)).values(**columns))
    flow_counts.recount(conn, db, flow_ids)
    history.record(conn, [history.Event("flow timed out", flow_id, 0) for flow_id in flow_ids])
    db.dialect.notify(conn)
