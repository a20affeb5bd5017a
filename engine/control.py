"""Operator verbs: each one transaction, each recorded with its actor."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, select

from engine import flow_counts, history
from engine.database import Database
from engine.dependencies import DEFAULT_POLICY, Policy, count_awaited
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
        suspended = select(*KEY_COLUMNS, task_stat.c.program, task_stat.c.wait_count).where(
            task_stat.c.task_flow_id == flow_id, IS_SUSPENDED
        )
        if db.can.row_locks:
            suspended = suspended.with_for_update()
        rows = conn.execute(suspended.order_by(*KEY_COLUMNS)).all()
        keys = [_key(row) for row in rows]
        awaited = count_awaited(conn, keys, policy)
        groups: dict[int | None, list[Key]] = {}
        for row in rows:
            found = awaited[_key(row)]
            # refused rows, and rows whose predecessor has been deleted, are looked at by the adopter again
            is_clear = row.wait_count is not None and row.program is not None and not found.missing
            was_told = is_clear and row.wait_count < 0  # finished, then suspended by hand
            count = row.wait_count if was_told else found.open_count
            groups.setdefault(count if is_clear else None, []).append(_key(row))
        for count, alike in groups.items():
            move(conn, "recover", alike, wait_count=count, due_ts=None, attempt=0, losses=0)
        flow_counts.recount(conn, db, [flow_id])
        history.record(conn, [history.about(key, "task recovered", actor) for key in keys])
        db.dialect.notify(conn)
        return [key.seq for key in keys]

    return db.transact(work)


def _key(row: Any) -> Key:
    return Key(row.task_flow_id, row.task_exec_seq)
