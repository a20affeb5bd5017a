"""Flows: the list of them, one with its tasks, and the tasks that failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, tuple_

from engine.access import EVERYTHING, Reach
from engine.definition.step import POST, ROLLBACK
from engine.errors import UnknownFlow
from engine.graph.edges import LOOP
from engine.queries.pages import check_limit, cursor_of, read_cursor
from engine.queries.rows import attempt_of, flow_of, task_of
from engine.queries.search import AT_ONCE, LOOKED_AT, SCANNED, FlowFilter, Path, path_for
from engine.states import Status
from engine.tables import IS_SUSPENDED, attempt, flow_stat, flow_tag, run_edge, task_stat

_FLOW = [column for column in flow_stat.c if column.name not in ("idempotency_key", "request_hash")]
_ORDER = flow_stat.c.registered_ts.desc(), flow_stat.c.task_flow_id.desc()


def list_flows(
    conn: Connection,
    *,
    limit: int = 50,
    cursor: str | None = None,
    task_id: str | None = None,
    status: int | None = None,
    run_key: str | None = None,
    tag: str | None = None,
    registered_after: datetime | None = None,
    registered_before: datetime | None = None,
    text: str | None = None,
    within: Reach = EVERYTHING,
) -> tuple[list[dict[str, Any]], str | None]:
    """Flows, newest first, and the cursor of the next page (None at the end). What narrows the list: `FlowFilter`.

    A page may hold fewer than `limit` and still have a next one: at most 5,000 flows are looked at for it. A flow row
    made by hand without `registered_ts` has no place in time: it is read by its id only. Errors: BadRequest.
    """
    check_limit(limit)
    wanted = FlowFilter(task_id, status, run_key, tag, registered_after, registered_before, text, within)
    path = path_for(conn, wanted)
    if path.is_exact:
        return _page(conn, path, limit, cursor)
    rows, after = _search(conn, path, limit, cursor)
    ids = [row.task_flow_id for row in rows]
    found = {row.task_flow_id: row for row in conn.execute(select(*_FLOW).where(flow_stat.c.task_flow_id.in_(ids)))}
    return [flow_of(found[one]._mapping) for one in ids if one in found], after


def _page(conn: Connection, path: Path, limit: int, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
    query = select(*_FLOW).where(*path.conditions).order_by(*_ORDER)
    rows: list[Row[Any]] = []
    for part in _parts(cursor):
        if len(rows) <= limit:
            rows += conn.execute(query.where(*part).limit(limit + 1 - len(rows)))
    more = len(rows) > limit
    return [flow_of(row._mapping) for row in rows[:limit]], cursor_at(rows[limit - 1]) if more else None


def _search(conn: Connection, path: Path, limit: int, cursor: str | None) -> tuple[list[Row[Any]], str | None]:
    """The rows that pass, and the cursor behind the last that was looked at; None if that was the last of all."""
    found: list[Row[Any]] = []
    last: Row[Any] | None = None
    looked_at = 0
    for rows in _portions(conn, path, cursor):
        for row in path.passing(conn, rows):
            found.append(row)
            if len(found) == limit:
                return found, cursor_at(row)
        last, looked_at = rows[-1], looked_at + len(rows)
        if looked_at >= SCANNED:
            return found, cursor_at(last)
    return found, None


def _portions(conn: Connection, path: Path, cursor: str | None) -> Iterator[Sequence[Row[Any]]]:
    query = select(*LOOKED_AT).where(*path.conditions).order_by(*_ORDER)
    while True:
        rows: list[Row[Any]] = []
        for part in _parts(cursor):
            if len(rows) < AT_ONCE:
                rows += conn.execute(query.where(*part).limit(AT_ONCE - len(rows)))
        if rows:
            yield rows
        if len(rows) < AT_ONCE:
            return
        cursor = cursor_at(rows[-1])


def cursor_at(row: Any) -> str:
    """The cursor of what follows this row of kr_flow_stat."""
    return cursor_of(row.registered_ts, row.task_flow_id)


def _parts(cursor: str | None) -> list[tuple[ColumnElement[bool], ...]]:
    """What comes after the cursor, as conditions of queries to be asked in turn. First what was registered in the same
    instant, which may be a million flows: no database finds its place among these by one condition with an OR."""
    registered, flow_id = flow_stat.c.registered_ts, flow_stat.c.task_flow_id
    if cursor is None:
        return [(registered.isnot(None),)]
    instant, last = read_cursor(cursor)
    return [(registered == instant, flow_id < last), (registered < instant,)]


def read_tagged(conn: Connection, flow_id: str, within: Reach = EVERYTHING) -> dict[str, Any]:
    """One flow without its tasks, and with its tags. Errors: as `read_flow_alone`."""
    found = read_flow_alone(conn, flow_id, within)
    tags = select(flow_tag.c.tag).where(flow_tag.c.task_flow_id == flow_id).order_by(flow_tag.c.tag)
    return {**found, "tags": list(conn.scalars(tags))}


def read_flow_alone(conn: Connection, flow_id: str, within: Reach = EVERYTHING) -> dict[str, Any]:
    """One flow without its tasks. Errors: UnknownFlow, also for a flow of a workflow that is not `within`."""
    row = conn.execute(select(*_FLOW).where(flow_stat.c.task_flow_id == flow_id)).one_or_none()
    if row is None or not within.covers(row.task_id):
        raise UnknownFlow(flow_id)
    return flow_of(row._mapping)


def read_flow(conn: Connection, flow_id: str, within: Reach = EVERYTHING) -> dict[str, Any]:
    """One flow with its tasks in run order, each with its predecessors and its kept attempts. Errors: UnknownFlow, also
    for a flow of a workflow that is not `within`."""
    flow = read_flow_alone(conn, flow_id, within)
    query = select(task_stat).where(task_stat.c.task_flow_id == flow_id).order_by(task_stat.c.task_exec_seq)
    flow["tasks"] = [task_of(task._mapping) for task in conn.execute(query)]
    tasks = {task["task_exec_seq"]: task for task in flow["tasks"]}
    for edge in conn.execute(select(run_edge).where(run_edge.c.task_flow_id == flow_id)):
        if edge.task_exec_seq in tasks and edge.kind != LOOP:
            depends = tasks[edge.task_exec_seq]["depends"]
            depends += [edge.depends_task_exec_seq] if edge.depends_task_exec_seq not in depends else []
    tries = select(attempt).where(attempt.c.task_flow_id == flow_id).order_by(attempt.c.claim_no, attempt.c.ended_ts)
    for row in conn.execute(tries):
        if row.task_exec_seq in tasks:
            tasks[row.task_exec_seq]["attempts"].append(attempt_of(row._mapping))
    return with_result(flow)


def is_moving(status: int, wait_count: int | None, due_ts: Any) -> bool:
    """Does a task run, or will it by itself: ready now, or due at some time?"""
    return status == Status.RUNNING or (status == Status.WAIT and (not wait_count or due_ts is not None))


def with_result(flow: dict[str, Any]) -> dict[str, Any]:
    """A flow with its tasks, and with its result: that of its mapping, or of its last task."""
    if flow["result"] is None and flow["flow_status"] == Status.FINISH:
        flow["result"] = _last_result(flow["tasks"])
    return flow


def _last_result(tasks: list[dict[str, Any]]) -> Any:
    """What the last task returned, if one task alone is the last; clean-up behind it does not count."""
    main = [task for task in tasks if task["phase"] not in (POST, ROLLBACK)]
    followed = {earlier for task in main if task["exec_status"] == Status.FINISH for earlier in task["depends"]}
    last = [task for task in main if task["exec_status"] == Status.FINISH and task["task_exec_seq"] not in followed]
    return last[0]["result"] if len(last) == 1 else None


def failed_tasks(conn: Connection, *, limit: int = 50, within: Reach = EVERYTHING) -> list[dict[str, Any]]:
    """Suspended tasks, latest first, each with its last attempt: what needs a person, and why."""
    query = (
        select(task_stat)
        .where(IS_SUSPENDED, within.condition(task_stat.c.task_id))
        .order_by(task_stat.c.suspended_ts.desc())
        .limit(limit)
    )
    tasks = [task_of(row._mapping) for row in conn.execute(query)]
    if not tasks:
        return tasks
    keys = {(task["task_flow_id"], task["task_exec_seq"]): task for task in tasks}
    which = tuple_(attempt.c.task_flow_id, attempt.c.task_exec_seq).in_(sorted(keys))
    for row in conn.execute(select(attempt).where(which).order_by(attempt.c.claim_no, attempt.c.ended_ts)):
        keys[row.task_flow_id, row.task_exec_seq]["attempts"] = [attempt_of(row._mapping)]
    return tasks
