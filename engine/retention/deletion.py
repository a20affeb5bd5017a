"""The deletion of whole flows: a flow and all that belongs to it, in one transaction, or nothing of it.

Locks are taken in the engine's order, tasks by key and then flows by key, and never waited for: a flow that somebody is
busy with, as with a re-run, is left for another time.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, delete, func, select

from engine import history
from engine.database import Database
from engine.keys import KEY_COLUMNS, chunks
from engine.retention import candidates
from engine.retention.candidates import Wanted
from engine.states import PASSED_ON, SETTLED
from engine.tables import attempt, event, flow_stat, flow_tag, message, run_edge, task_log, task_stat, wait


def delete_flows(conn: Connection, db: Database, wanted: Wanted, flow_ids: Collection[str], by: str) -> list[Row[Any]]:
    """Delete those of these flows that are still as wanted once they are locked, sub-flows of whatever workflow among
    them. Returns the flows deleted."""

    def locking(query: Select[Any]) -> Select[Any]:
        return query.with_for_update(skip_locked=db.can.skip_locked) if db.can.row_locks else query

    free = _at_rest(conn, flow_ids, locking)
    due = candidates.due(conn, wanted).of_anybody
    rows = candidates.still(conn, due, free, lock=locking) if free else []
    gone = _without_parents(conn, rows)
    if gone:
        _delete(conn, sorted(row.task_flow_id for row in gone), by)
    return gone


def _at_rest(conn: Connection, flow_ids: Collection[str], locking: Any) -> set[str]:
    """The flows of which every task is settled, has told its successors, and could be locked."""
    task = task_stat.c
    these = task.task_flow_id.in_(sorted(flow_ids))
    query = select(task.task_flow_id, task.exec_status, task.wait_count).where(these).order_by(*KEY_COLUMNS)
    locked: dict[str, int] = dict.fromkeys(flow_ids, 0)
    busy: set[str] = set()
    for flow_id, status, count in conn.execute(locking(query)):
        locked[flow_id] += 1
        if status not in SETTLED or count != PASSED_ON:
            busy.add(flow_id)
    counted = conn.execute(select(task.task_flow_id, func.count()).where(these).group_by(task.task_flow_id))
    busy |= {flow_id for flow_id, count in counted if locked[flow_id] != count}
    return locked.keys() - busy


def _without_parents(conn: Connection, rows: Collection[Row[Any]]) -> list[Row[Any]]:
    """Those whose parent is gone, or goes with them."""
    going = {row.task_flow_id: row for row in rows}
    outside = {row.parent_flow_id for row in rows if row.parent_flow_id is not None} - going.keys()
    kept = candidates.parents_there(conn, outside)
    while stays := [flow_id for flow_id, row in going.items() if row.parent_flow_id in kept]:
        kept |= set(stays)
        for flow_id in stays:
            del going[flow_id]
    return list(going.values())


def _delete(conn: Connection, flow_ids: list[str], by: str) -> None:
    """Details first, the flow itself last."""
    _keep_number(conn, flow_ids, by)
    _delete_mail(conn, flow_ids)
    for table in (wait, attempt, run_edge, event, flow_tag, task_log, task_stat, flow_stat):
        of_flows: ColumnElement[bool] = table.c.task_flow_id.in_(flow_ids)
        conn.execute(delete(table).where(of_flows))


def _keep_number(conn: Connection, flow_ids: list[str], by: str) -> None:
    """Who follows events goes by their numbers, and SQLite would give that of the newest again if it went."""
    newest = select(event.c.task_flow_id).order_by(event.c.event_id.desc()).limit(1)
    if conn.scalar(newest) in flow_ids:
        history.record(conn, [history.deed("flows deleted", by, flows=len(flow_ids))])


def _delete_mail(conn: Connection, flow_ids: list[str]) -> None:
    """The messages that their waits were given."""
    wait_ids = conn.scalars(select(wait.c.wait_id).where(wait.c.task_flow_id.in_(flow_ids))).all()
    for part in chunks(sorted(wait_ids)):
        read = message.c.wait_id.isnot(None), message.c.wait_id.in_(part)
        conn.execute(delete(message).where(*read))
