"""What operators look at beside flows: watchers, queues, limits, open waits, commands."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from sqlalchemy import Connection, func, literal_column, select

from engine.access import EVERYTHING, Reach
from engine.dialects.clock import now
from engine.inputs import document
from engine.limits.rows import QUEUE, WORKFLOW
from engine.queries.pages import check_limit
from engine.queries.rows import plain
from engine.queries.tasks import wait_of
from engine.tables import IS_OPEN_WAIT, IS_READY, IS_RUNNING, command, flow_stat, limit, task_stat, wait, watcher
from engine.waiting.answers import BY_PEOPLE

COUNTED: Final = 10_000
"""Ready tasks of a queue that are counted, at most: a backlog of a million says no more than its first ten thousand."""
_task = task_stat.c


def list_watchers(conn: Connection) -> list[dict[str, Any]]:
    """Watchers that live or have died within a day, the latest first, with how many tasks each runs."""
    held = select(_task.owner, func.count()).where(IS_RUNNING).group_by(_task.owner)
    running: dict[str, int] = {row[0]: row[1] for row in conn.execute(held)}
    query = select(watcher, (watcher.c.lease_until_ts > now()).label("lives"))
    return [
        {
            **plain(row._mapping),
            "lives": bool(row.lives),
            "queues": (row.queues or "").split(","),
            "programs": document(row.programs),
            "running": running.get(row.watcher_id, 0),
        }
        for row in conn.execute(query.order_by(watcher.c.started_ts.desc(), watcher.c.watcher_id))
    ]


def list_queues(conn: Connection) -> list[dict[str, Any]]:
    """Every queue that has ready or running tasks, a limit, or a live watcher. `ready` counts to 10,000, and
    `ready_is_more` says that there are more."""
    held = select(_task.queue, func.count()).where(IS_RUNNING).group_by(_task.queue)
    running: dict[str, int] = {row[0]: row[1] for row in conn.execute(held)}
    limits = {row.name: plain(row._mapping) for row in conn.execute(select(limit).where(limit.c.scope == QUEUE))}
    served: Counter[str] = Counter()
    for queues in conn.scalars(select(watcher.c.queues).where(watcher.c.lease_until_ts > now())):
        served.update(name for name in (queues or "").split(",") if name)
    names = {*running, *limits, *served, *_with_ready(conn)}
    return [_queue(conn, name, running.get(name, 0), served[name], limits.get(name)) for name in sorted(names)]


def _with_ready(conn: Connection) -> list[str]:
    """Queues that have ready tasks, found by leaping through the index from each to the next."""
    found: list[str] = []
    while True:
        query = select(func.min(_task.queue)).where(IS_READY)
        if found:
            query = query.where(_task.queue > found[-1])
        name = conn.scalar(query)
        if name is None:
            return found
        found.append(name)


def _queue(conn: Connection, name: str, running: int, watchers: int, row: dict[str, Any] | None) -> dict[str, Any]:
    first = select(literal_column("1")).where(IS_READY, _task.queue == name).limit(COUNTED + 1).subquery()
    ready = conn.scalar(select(func.count()).select_from(first)) or 0
    of_limit = {key: row[key] if row else None for key in ("max_running", "rate", "rate_period_s")}
    paused = {key: row[key] if row else None for key in ("paused_ts", "paused_by", "paused_reason")}
    counts = {"ready": min(ready, COUNTED), "ready_is_more": ready > COUNTED, "running": running, "watchers": watchers}
    return {"queue": name, **counts, **of_limit, **paused}


def list_limits(conn: Connection, within: Reach = EVERYTHING) -> list[dict[str, Any]]:
    """All rows of ms_limit; of workflows only those within reach."""
    rows = conn.execute(select(limit).order_by(limit.c.scope, limit.c.name))
    return [plain(row._mapping) for row in rows if row.scope != WORKFLOW or within.covers(row.name)]


def list_open_waits(
    conn: Connection,
    *,
    kind: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
    within: Reach = EVERYTHING,
) -> tuple[list[dict[str, Any]], str | None]:
    """What is awaited, approvals and forms unless another kind is named, by id, and the cursor of the next page. The
    hash of a call-back's token is left out. Errors: BadRequest."""
    check_limit(limit)
    kinds = BY_PEOPLE if kind is None else (kind,)
    query = select(wait).where(IS_OPEN_WAIT, wait.c.kind.in_(kinds), wait.c.wait_id > (cursor or ""))
    if not within.is_all:
        query = query.join(flow_stat, flow_stat.c.task_flow_id == wait.c.task_flow_id)
        query = query.where(within.condition(flow_stat.c.task_id))
    rows = conn.execute(query.order_by(wait.c.wait_id).limit(limit + 1)).all()
    return [wait_of(row._mapping) for row in rows[:limit]], rows[limit - 1].wait_id if len(rows) > limit else None


def list_commands(
    conn: Connection, *, before: int | None = None, limit: int = 50, subject: str | None = None
) -> tuple[list[dict[str, Any]], int | None]:
    """What was asked for, newest first, and the number that the next page comes before."""
    check_limit(limit)
    query = select(command).order_by(command.c.command_id.desc())
    if subject is not None:
        query = query.where(command.c.subject == subject)
    if before is not None:
        query = query.where(command.c.command_id < before)
    rows = conn.execute(query.limit(limit + 1)).all()
    return [command_of(row._mapping) for row in rows[:limit]], rows[limit - 1].command_id if len(rows) > limit else None


def command_of(row: Any) -> dict[str, Any]:
    found = plain(row)
    return {**found, **{name: document(found[name]) for name in ("arguments", "answer", "changes")}}
