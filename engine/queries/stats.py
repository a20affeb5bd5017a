"""Figures at a glance: what is in play now, and what each minute brought. Nothing here counts history."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, func, literal_column, select

from engine.access import EVERYTHING, Reach
from engine.dialects.clock import now
from engine.queries.pages import instant
from engine.states import Status
from engine.tables import (
    IS_ACTIVE,
    IS_READY,
    IS_RUNNING,
    IS_SUSPENDED,
    flow_stat,
    flow_summary,
    task_stat,
    watcher,
)

COUNTED: Final = 100_000
"""Rows of one kind that are counted, at most."""
MAX_MINUTES: Final = 1_440


def counters(conn: Connection) -> dict[str, Any]:
    """Flows and tasks in play by status, and live watchers. A count that reaches 100,000 ends there, and its name
    stands in `more`."""
    counts: dict[str, int] = {}
    for status in (Status.WAIT, Status.RUNNING, Status.SUSPEND):
        number: Any = literal_column(str(int(status)))
        counts[f"flows_{status.name.lower()}"] = _count(conn, flow_stat, IS_ACTIVE, flow_stat.c.flow_status == number)
    counts["tasks_ready"] = _count(conn, task_stat, IS_READY)
    counts["tasks_running"] = _count(conn, task_stat, IS_RUNNING)
    counts["tasks_suspended"] = _count(conn, task_stat, IS_SUSPENDED)
    counts["watchers"] = _count(conn, watcher, watcher.c.lease_until_ts > now())
    return {**counts, "more": sorted(name for name, count in counts.items() if count == COUNTED)}


def _count(conn: Connection, table: Any, *conditions: ColumnElement[bool]) -> int:
    first = select(literal_column("1")).select_from(table).where(*conditions).limit(COUNTED).subquery()
    return conn.scalar(select(func.count()).select_from(first)) or 0


def series(
    conn: Connection,
    *,
    after: datetime | None = None,
    before: datetime | None = None,
    task_id: str | None = None,
    within: Reach = EVERYTHING,
    limit: int = 60,
) -> list[dict[str, Any]]:
    """The last `limit` minutes that brought something, oldest first: how many flows began, finished and were ignored,
    the mean time from registration to end and the longest, in seconds."""
    one = flow_summary.c
    figures = [func.sum(one[name]).label(name) for name in ("registered", "finished", "ignored", "took_s")]
    query = select(one.minute_ts, *figures, func.max(one.longest_s).label("longest_s")).group_by(one.minute_ts)
    if after is not None:
        query = query.where(one.minute_ts >= after)
    if before is not None:
        query = query.where(one.minute_ts < before)
    if task_id is not None:
        query = query.where(one.task_id == task_id)
    if not within.is_all:
        query = query.where(within.condition(one.task_id))
    rows = conn.execute(query.order_by(one.minute_ts.desc()).limit(limit)).all()
    return [_minute(row) for row in reversed(rows)]


def _minute(row: Any) -> dict[str, Any]:
    ended = int(row.finished) + int(row.ignored)
    return {
        "minute_ts": instant(row.minute_ts),
        "registered": int(row.registered),
        "finished": int(row.finished),
        "ignored": int(row.ignored),
        "mean_s": float(row.took_s) / ended if ended and row.took_s is not None else None,
        "longest_s": row.longest_s,
    }
