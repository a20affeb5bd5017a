"""Operator verbs: each one transaction, each recorded with its actor."""

from __future__ import annotations

from sqlalchemy import Connection, select

from engine import flow_counts, history
from engine.database import Database
from engine.dependencies import DEFAULT_POLICY, Policy, count_awaited, lock_tasks
from engine.errors import UnknownFlow
from engine.keys import KEY_COLUMNS, Key
from engine.tables import IS_SUSPENDED, flow_stat, task_stat
from engine.transitions import move


def recover(db: Database, flow_id: str, *, actor: str, policy: Policy = DEFAULT_POLICY) -> list[int]:
    """Set every suspended task of a flow back to waiting, and let the flow go on from there.

    Shape: the run numbers that were suspended, ascending; empty if none was. Errors: UnknownFlow.
    Source: Flower's "rerun or recover from a task", done there by hand.
    """

    def work(conn: Connection) -> list[int]:
        if conn.scalar(select(flow_stat.c.task_flow_id).where(flow_stat.c.task_flow_id == flow_id)) is None:
            raise UnknownFlow(flow_id)
        suspended = select(*KEY_COLUMNS).where(task_stat.c.task_flow_id == flow_id, IS_SUSPENDED)
        keys = [Key(*row) for row in conn.execute(suspended.order_by(*KEY_COLUMNS))]
        lock_tasks(conn, db, keys)
        awaited = count_awaited(conn, keys, policy)
        for key in keys:
            open_count = awaited[key].open_count + len(awaited[key].missing)
            move(conn, "recover", [key], wait_count=open_count, due_ts=None, attempt=0, losses=0)
        flow_counts.recount(conn, db, [flow_id])
        history.record(conn, [history.about(key, "task recovered", actor) for key in keys])
        db.dialect.notify(conn)
        return [key.seq for key in keys]

    return db.transact(work)
