"""The counters of a flow: how many of its tasks are finished, ignored, suspended; and the status that follows.

Engine transitions add differences; whatever a person changed by SQL is recounted from the rows. Both happen under the
flow row's lock, in the transaction that changes the task rows.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple

from sqlalchemy import Case, Connection, Integer, Update, case, func, null, or_, select

from engine.database import Database
from engine.dialects.clock import now
from engine.dialects.for_rows import Columns, ForRows, Rows
from engine.dialects.given import update_given
from engine.dialects.types import Id
from engine.keys import A_FLOW, chunks, lock_flows
from engine.states import Status
from engine.tables import flow_stat, task_stat


class Change(NamedTuple):
    """By how much the counters of one flow change."""

    finished: int = 0
    suspended: int = 0
    ignored: int = 0
    added: int = 0
    """Tasks that the flow has got while it runs."""

    def plus(self, other: Change) -> Change:
        return Change(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


def note(changes: dict[str, Change], flow_id: str, change: Change) -> None:
    """Add to what is known of the changes of a flow."""
    changes[flow_id] = changes.get(flow_id, Change()).plus(change)


class Counts(NamedTuple):
    """A recount of one flow's task rows, in the order of `_COUNTED`."""

    total: int
    finished: int
    suspended: int
    ignored: int
    begun: int


_COUNTED = (
    task_stat.c.task_seq.isnot(None),
    task_stat.c.exec_status == int(Status.FINISH),
    task_stat.c.exec_status == int(Status.SUSPEND),
    task_stat.c.exec_status == int(Status.IGNORE),
    or_(task_stat.c.exec_status.in_([int(Status.RUNNING), int(Status.FINISH)]), task_stat.c.claims > 0),
)


def add(conn: Connection, db: Database, changes: Mapping[str, Change]) -> None:
    """Add the changes to their flows and derive each status anew."""
    for part in chunks(sorted((flow_id, *change) for flow_id, change in changes.items() if change != _NOTHING)):
        _ADD(conn, part)


def start(conn: Connection, flow_ids: Collection[str]) -> None:
    """Mark waiting flows as running: a task of theirs has been claimed."""
    for part in chunks(sorted(flow_ids)):
        _START(conn, [(flow_id,) for flow_id in part])


def recount(conn: Connection, db: Database, flow_ids: Collection[str]) -> None:
    """Write counters and status of these flows from their task rows; flows that a person inserted get their row."""
    for part in chunks(sorted(flow_ids)):
        _insert_missing(conn, db, part)
        lock_flows(conn, db, part)
        counted = sorted((flow_id, _status_of(counts), *counts[:4]) for flow_id, counts in _count(conn, part).items())
        if counted:
            _RECOUNT(conn, counted)


def _recounted(rows: Rows) -> Update:
    flow, counts = flow_stat.c, rows.c
    is_over, has_begun = counts.status == int(Status.FINISH), counts.status != int(Status.WAIT)
    return (
        update_given(flow_stat)
        .where(flow.task_flow_id == counts.flow_id)
        .values(
            flow_status=case((is_over, _ended()), else_=counts.status),
            task_count=counts.total,
            finish_count=counts.finished,
            suspend_count=counts.suspended,
            ignore_count=counts.ignored,
            started_ts=case((has_begun, func.coalesce(flow.started_ts, now())), else_=flow.started_ts),
            finished_ts=case((is_over, func.coalesce(flow.finished_ts, now())), else_=null()),
            deadline_ts=case((is_over, null()), else_=flow.deadline_ts),
        )
    )


def _addition(rows: Rows) -> Any:
    """Status and time come first in SET: MySQL evaluates from left to right and would see counters already raised."""
    flow, change = flow_stat.c, rows.c
    settled = flow.finish_count + flow.ignore_count + (change.finished + change.ignored)
    suspended = flow.suspend_count + change.suspended
    total = flow.task_count + change.added
    added = update_given(flow_stat).where(flow.task_flow_id == change.flow_id)
    return added.ordered_values(
        (flow.flow_status, _derived(settled, suspended, total)),
        (flow.started_ts, func.coalesce(flow.started_ts, now())),
        (flow.deadline_ts, case((settled >= total, null()), else_=flow.deadline_ts)),
        (flow.finished_ts, case((settled >= total, now()), else_=null())),
        (flow.task_count, total),
        (flow.finish_count, flow.finish_count + change.finished),
        (flow.suspend_count, suspended),
        (flow.ignore_count, flow.ignore_count + change.ignored),
    )


def _derived(settled: Any, suspended: Any, total: Any) -> Case[int]:
    return case(
        (settled >= total, _ended()),
        (suspended > 0, int(Status.SUSPEND)),
        else_=int(Status.RUNNING),
    )


def _ended() -> Case[int]:
    """A flow that has a reason by its end was cancelled, or the like."""
    return case((flow_stat.c.reason.is_(None), int(Status.FINISH)), else_=int(Status.IGNORE))


def _status_of(counts: Counts) -> Status:
    if counts.finished + counts.ignored >= counts.total:
        return Status.FINISH
    if counts.suspended:
        return Status.SUSPEND
    return Status.RUNNING if counts.begun else Status.WAIT


def _count(conn: Connection, flow_ids: Collection[str]) -> dict[str, Counts]:
    task = task_stat.c
    query = (
        select(task.task_flow_id, *(func.sum(case((condition, 1), else_=0)) for condition in _COUNTED))
        .where(task.task_flow_id.in_(flow_ids))
        .group_by(task.task_flow_id)
    )
    return {flow_id: Counts(*(int(count) for count in counts)) for flow_id, *counts in conn.execute(query)}


def _insert_missing(conn: Connection, db: Database, flow_ids: Collection[str]) -> None:
    """A flow that a person inserted has task rows only; its flow takes the workflow of its first task."""
    known = set(conn.scalars(select(flow_stat.c.task_flow_id).where(flow_stat.c.task_flow_id.in_(flow_ids))))
    missing = [flow_id for flow_id in flow_ids if flow_id not in known]
    if not missing:
        return
    first = (
        select(task_stat.c.task_flow_id, task_stat.c.task_id)
        .where(task_stat.c.task_flow_id.in_(missing))
        .order_by(task_stat.c.task_flow_id, task_stat.c.task_exec_seq.desc())
    )
    names: dict[str, str] = {row.task_flow_id: row.task_id for row in conn.execute(first)}
    rows = [{"task_flow_id": flow_id, "task_id": names[flow_id]} for flow_id in missing if flow_id in names]
    if rows:
        conn.execute(db.dialect.insert_missing(flow_stat).values(registered_ts=now()), rows)


_NOTHING: Final = Change()
_CHANGES: Columns = {"flow_id": Id(256), **{name: Integer() for name in Change._fields}}
_ADD = ForRows(_CHANGES, _addition)
_RECOUNTED = "status", "total", "finished", "suspended", "ignored"
"""Of a flow: its status, and the fields of Counts but the last, which the status says already."""
_RECOUNT = ForRows({"flow_id": Id(256), **{name: Integer() for name in _RECOUNTED}}, _recounted)
_START = ForRows(
    A_FLOW,
    lambda rows: (
        update_given(flow_stat)
        .where(flow_stat.c.task_flow_id == rows.c.flow_id, flow_stat.c.flow_status == int(Status.WAIT))
        .values(flow_status=int(Status.RUNNING), started_ts=func.coalesce(flow_stat.c.started_ts, now()))
    ),
)
