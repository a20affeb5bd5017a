"""What happened, by the number of the event: newest first for people, oldest first for who follows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Select, select

from engine.access import EVERYTHING, Reach
from engine.inputs import document
from engine.queries.pages import check_limit
from engine.queries.rows import plain
from engine.queries.tasks import check_flow
from engine.tables import event, flow_stat


def list_events(
    conn: Connection,
    *,
    before: int | None = None,
    limit: int = 50,
    flow_id: str | None = None,
    within: Reach = EVERYTHING,
) -> tuple[list[dict[str, Any]], int | None]:
    """Events, newest first, and the number that the next page comes before; None at the end. Errors: BadRequest;
    UnknownFlow, also for a flow of a workflow that is not `within`."""
    check_limit(limit)
    if flow_id is not None:  # looked at once, in place of the flow of each event
        check_flow(conn, flow_id, within)
        within = EVERYTHING
    query = narrowed(select(event), flow_id, within).order_by(event.c.event_id.desc())
    if before is not None:
        query = query.where(event.c.event_id < before)
    rows = conn.execute(query.limit(limit + 1)).all()
    return [event_of(row._mapping) for row in rows[:limit]], rows[limit - 1].event_id if len(rows) > limit else None


def events_after(
    conn: Connection, after: int, *, limit: int = 500, flow_id: str | None = None, within: Reach = EVERYTHING
) -> list[dict[str, Any]]:
    """The next events behind this number, oldest first."""
    check_limit(limit)
    query = narrowed(select(event), flow_id, within).where(event.c.event_id > after)
    return [event_of(row._mapping) for row in conn.execute(query.order_by(event.c.event_id).limit(limit))]


def last_event(conn: Connection) -> int:
    """The number of the newest event; 0 if there is none."""
    return conn.scalar(select(event.c.event_id).order_by(event.c.event_id.desc()).limit(1)) or 0


def narrowed(query: Select[Any], flow_id: str | None, within: Reach) -> Select[Any]:
    """Events of this flow, or of those flows alone that are `within`."""
    if flow_id is not None:
        query = query.where(event.c.task_flow_id == flow_id)
    if not within.is_all:  # events of no flow concern everybody's, and are for who sees everything
        query = query.outerjoin(flow_stat, flow_stat.c.task_flow_id == event.c.task_flow_id)
        query = query.where(within.condition(flow_stat.c.task_id))
    return query


def event_of(row: Any) -> dict[str, Any]:
    found = plain(row)
    return {**found, "details": document(found["details"])}
