"""Read-only views of flows and tasks, as plain dictionaries for register, CLI and SDK."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, tuple_

from engine.definition.step import POST, ROLLBACK
from engine.errors import BadRequest, UnknownFlow
from engine.graph.edges import LOOP
from engine.inputs import document
from engine.states import Status
from engine.tables import IS_SUSPENDED, attempt, flow_stat, run_edge, task_definition, task_stat

MAX_PAGE = 500
_FLOW = [column for column in flow_stat.c if column.name not in ("idempotency_key", "request_hash")]


def list_flows(
    conn: Connection,
    *,
    limit: int = 50,
    cursor: str | None = None,
    task_id: str | None = None,
    status: int | None = None,
) -> tuple[list[dict[str, Any]], str | None]:
    """Flows, newest first, and the cursor of the next page (None at the end). Errors: BadRequest for a bad cursor.

    A flow row made by hand without `registered_ts` has no place in time: it is read by its id only.
    """
    if not 1 <= limit <= MAX_PAGE:
        raise BadRequest("limit", f"{limit} is outside 1 .. {MAX_PAGE}")
    query = select(*_FLOW).order_by(flow_stat.c.registered_ts.desc(), flow_stat.c.task_flow_id.desc())
    if task_id is not None:
        query = query.where(flow_stat.c.task_id == task_id)
    if status is not None:
        query = query.where(flow_stat.c.flow_status == status)
    rows: list[Row[Any]] = []
    for part in _parts(cursor):
        if len(rows) <= limit:
            rows += conn.execute(query.where(*part).limit(limit + 1 - len(rows)))
    flows = [_flow(row._mapping) for row in rows[:limit]]
    more = len(rows) > limit
    return flows, cursor_at(rows[limit - 1]) if more else None


def _parts(cursor: str | None) -> list[tuple[ColumnElement[bool], ...]]:
    """What comes after the cursor, as conditions of queries to be asked in turn. First what was registered in the same
    instant, which may be a million flows: no database finds its place among these by one condition with an OR."""
    registered, flow_id = flow_stat.c.registered_ts, flow_stat.c.task_flow_id
    if cursor is None:
        return [(registered.isnot(None),)]
    instant, last = _read_cursor(cursor)
    return [(registered == instant, flow_id < last), (registered < instant,)]


def read_flow(conn: Connection, flow_id: str) -> dict[str, Any]:
    """One flow with its tasks in run order, each with its predecessors and its kept attempts. Errors: UnknownFlow."""
    row = conn.execute(select(*_FLOW).where(flow_stat.c.task_flow_id == flow_id)).one_or_none()
    if row is None:
        raise UnknownFlow(flow_id)
    flow = _flow(row._mapping)
    query = select(task_stat).where(task_stat.c.task_flow_id == flow_id).order_by(task_stat.c.task_exec_seq)
    flow["tasks"] = [_task(task._mapping) for task in conn.execute(query)]
    tasks = {task["task_exec_seq"]: task for task in flow["tasks"]}
    for edge in conn.execute(select(run_edge).where(run_edge.c.task_flow_id == flow_id)):
        if edge.task_exec_seq in tasks and edge.kind != LOOP:
            depends = tasks[edge.task_exec_seq]["depends"]
            depends += [edge.depends_task_exec_seq] if edge.depends_task_exec_seq not in depends else []
    tries = select(attempt).where(attempt.c.task_flow_id == flow_id).order_by(attempt.c.claim_no, attempt.c.ended_ts)
    for row in conn.execute(tries):
        if row.task_exec_seq in tasks:
            tasks[row.task_exec_seq]["attempts"].append(_attempt(row._mapping))
    if flow["result"] is None and flow["flow_status"] == Status.FINISH:
        flow["result"] = _last_result(flow["tasks"])
    return flow


def _last_result(tasks: list[dict[str, Any]]) -> Any:
    """What the last task returned, if one task alone is the last; clean-up behind it does not count."""
    main = [task for task in tasks if task["phase"] not in (POST, ROLLBACK)]
    followed = {earlier for task in main if task["exec_status"] == Status.FINISH for earlier in task["depends"]}
    last = [task for task in main if task["exec_status"] == Status.FINISH and task["task_exec_seq"] not in followed]
    return last[0]["result"] if len(last) == 1 else None


def failed_tasks(conn: Connection, *, limit: int = 50) -> list[dict[str, Any]]:
    """Suspended tasks, latest first, each with its last attempt: what needs a person, and why."""
    query = select(task_stat).where(IS_SUSPENDED).order_by(task_stat.c.suspended_ts.desc()).limit(limit)
    tasks = [_task(row._mapping) for row in conn.execute(query)]
    if not tasks:
        return tasks
    keys = {(task["task_flow_id"], task["task_exec_seq"]): task for task in tasks}
    which = tuple_(attempt.c.task_flow_id, attempt.c.task_exec_seq).in_(sorted(keys))
    for row in conn.execute(select(attempt).where(which).order_by(attempt.c.claim_no, attempt.c.ended_ts)):
        keys[row.task_flow_id, row.task_exec_seq]["attempts"] = [_attempt(row._mapping)]
    return tasks


def list_workflows(conn: Connection) -> list[str]:
    """The task_ids that have definition rows."""
    return list(conn.scalars(select(task_definition.c.task_id).distinct().order_by(task_definition.c.task_id)))


def _flow(row: Any) -> dict[str, Any]:
    flow = _plain(row)
    flow["status"] = _name(flow["flow_status"])
    flow["parameters"], flow["result"] = document(flow["parameters"]), document(flow["result"])
    return flow


def _task(row: Any) -> dict[str, Any]:
    task = _plain(row)
    task["status"] = _name(task["exec_status"])
    task["parameters"], task["result"] = document(task["parameters"]), document(task["result"])
    task["depends"] = [task["depends_task_exec_seq"]] if task["depends_task_exec_seq"] > 0 else []
    task["attempts"] = []
    return task


def _attempt(row: Any) -> dict[str, Any]:
    return {name: value for name, value in _plain(row).items() if name not in ("task_flow_id", "task_exec_seq")}


def _plain(row: Any) -> dict[str, Any]:
    return {name: _instant(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _instant(value: datetime) -> str:
    return value.isoformat(timespec="microseconds").replace("+00:00", "Z")


def _name(status: int) -> str:
    return Status(status).name if status in Status._value2member_map_ else f"UNKNOWN {status}"  # set by hand


def cursor_at(row: Any) -> str:
    """The cursor of what follows this row of kr_flow_stat."""
    return f"{_instant(row.registered_ts)}~{row.task_flow_id}"


def _read_cursor(cursor: str) -> tuple[datetime, str]:
    instant, _, flow_id = cursor.partition("~")
    try:
        return datetime.fromisoformat(instant).astimezone(UTC), flow_id
    except (ValueError, OverflowError):
        raise BadRequest("cursor", f"{json.dumps(cursor)} was not made by this list") from None
