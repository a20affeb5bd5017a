"""Flows that began and ended, minute by minute: written once a minute is over, so that nobody counts history.

Whose turn it is says a row of kr_limit, which is also where the next minute to be summarised stands: whoever moves it
on writes what it moves over, in one transaction, so a minute is summarised once.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, and_, delete, func, insert, select, update

from engine.database import Database
from engine.dialects.clock import later, seconds_between, time_now
from engine.states import Status
from engine.tables import flow_stat, flow_summary, limit_stat

MINUTE: Final = timedelta(minutes=1)
SETTLES_S: Final = 15.0
"""How long after its end a minute is summarised: transactions that began in it have committed by then."""
CATCH_UP: Final = 30
"""Minutes of one transaction, at most."""
FORGOTTEN: Final = timedelta(days=1)
"""What is further back when summaries begin, or go on after a pause, is left out."""
KEPT_S: Final = 30 * 86_400.0
_WORDS: Final = {int(Status.FINISH): "finished", int(Status.IGNORE): "ignored"}
_NEXT: Final = and_(limit_stat.c.scope == "summary", limit_stat.c.name == "next minute")


def summarise(db: Database) -> int:
    """Write the summaries of the minutes that are over, at most thirty of them. Returns how many minutes."""
    with db.read() as conn:
        if _first(conn, time_now(conn)) is None:
            return 0
    return db.transact(lambda conn: _summarise(conn, db))


def _first(conn: Connection, instant: datetime) -> datetime | None:
    """The next minute to be summarised, if it is over."""
    known = conn.scalar(select(limit_stat.c.free_at_ts).where(_NEXT))
    last = _floor(instant - timedelta(seconds=SETTLES_S)) - MINUTE
    first = max(known, _floor(instant - FORGOTTEN)) if known is not None else last
    return first if first <= last else None


def _floor(instant: datetime) -> datetime:
    return instant.replace(second=0, microsecond=0)


def _summarise(conn: Connection, db: Database) -> int:
    conn.execute(
        db.dialect.insert_missing(limit_stat),
        [{"scope": "summary", "name": "next minute", "free_at_ts": _floor(time_now(conn)) - MINUTE}],
    )
    mine = select(limit_stat.c.name).where(_NEXT)
    if db.can.row_locks and conn.execute(mine.with_for_update(skip_locked=db.can.skip_locked)).first() is None:
        return 0  # somebody else is at it
    first = _first(conn, time_now(conn))
    if first is None:
        return 0
    last = _floor(time_now(conn) - timedelta(seconds=SETTLES_S)) - MINUTE
    minutes = min(CATCH_UP, int((last - first) / MINUTE) + 1)
    for number in range(minutes):
        _write(conn, first + number * MINUTE)
    conn.execute(update(limit_stat).where(_NEXT).values(free_at_ts=first + minutes * MINUTE))
    return minutes


def _write(conn: Connection, minute: datetime) -> None:
    rows: dict[str, dict[str, Any]] = {}
    for task_id, values in [*_begun(conn, minute), *_ended(conn, minute)]:
        rows.setdefault(task_id, _nothing(minute, task_id)).update(values)
    conn.execute(delete(flow_summary).where(flow_summary.c.minute_ts == minute))
    if rows:
        conn.execute(insert(flow_summary), list(rows.values()))


def _nothing(minute: datetime, task_id: str) -> dict[str, Any]:
    counts = {"registered": 0, "finished": 0, "ignored": 0, "took_s": None, "longest_s": None}
    return {"minute_ts": minute, "task_id": task_id, **counts}


def _begun(conn: Connection, minute: datetime) -> list[tuple[str, Mapping[str, Any]]]:
    flow = flow_stat.c
    within = flow.registered_ts >= minute, flow.registered_ts < minute + MINUTE
    query = select(flow.task_id, func.count().label("registered")).where(*within).group_by(flow.task_id)
    return [(row.task_id, {"registered": row.registered}) for row in conn.execute(query)]


def _ended(conn: Connection, minute: datetime) -> list[tuple[str, Mapping[str, Any]]]:
    flow = flow_stat.c
    within = flow.finished_ts.isnot(None), flow.finished_ts >= minute, flow.finished_ts < minute + MINUTE
    took = seconds_between(flow.registered_ts, flow.finished_ts)
    figures = func.count().label("ended"), func.sum(took).label("took_s"), func.max(took).label("longest_s")
    query = select(flow.task_id, flow.flow_status, *figures).where(*within)
    found: dict[str, dict[str, Any]] = {}
    for row in conn.execute(query.group_by(flow.task_id, flow.flow_status)):
        if row.flow_status not in _WORDS:
            continue
        told = found.setdefault(row.task_id, {"took_s": 0.0, "longest_s": 0.0})
        told[_WORDS[row.flow_status]] = row.ended
        told["took_s"] += row.took_s or 0.0
        told["longest_s"] = max(told["longest_s"], row.longest_s or 0.0)
    return list(found.items())


def forget_old(conn: Connection) -> int:
    """Delete summaries that are older than thirty days. Returns how many."""
    return conn.execute(delete(flow_summary).where(flow_summary.c.minute_ts < later(-KEPT_S))).rowcount
