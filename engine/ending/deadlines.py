"""Flows whose time is over (`timeout_s` of their workflow) are cancelled, by the database's clock."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, select, update

from engine.control.flows import cancel_flows
from engine.database import Database
from engine.dialects.clock import now
from engine.states import Reason
from engine.tables import IS_OVERSEEN, flow_stat

BATCH: Final = 50


def end_overdue(db: Database) -> int:
    """Cancel active flows whose deadline has passed, with their sub-flows, up to a batch. Returns how many."""
    return db.transact(lambda conn: _end(conn, db))


def _end(conn: Connection, db: Database) -> int:
    flow = flow_stat.c
    overdue = select(flow.task_flow_id).where(IS_OVERSEEN, flow.deadline_ts <= now()).order_by(flow.deadline_ts)
    flow_ids = sorted(conn.scalars(overdue.limit(BATCH)))
    if flow_ids:
        cancel_flows(conn, db, flow_ids, actor="watcher", note="its time was over", reason=Reason.TIMED_OUT)
        # a flow with a deadline and nothing to cancel was changed by hand: it must not be found for ever
        conn.execute(update(flow_stat).where(flow.task_flow_id.in_(flow_ids)).values(deadline_ts=None))
    return len(flow_ids)
