"""Undoing what a flow did: for every step that finished and says how it is undone, a task of its own, in reverse order
of completion, each after the one before."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Row, func, insert, or_, select

from engine import flow_counts, history, jsontext, retry
from engine.database import Database
from engine.definition import product
from engine.definition.step import ROLLBACK
from engine.definition.template_marks import templates_in
from engine.dialects.clock import time_now
from engine.states import NO_PREDECESSOR, READY, Reason, Status
from engine.tables import flow_stat, task_stat, workflow_version

_task = task_stat.c
_COPIED: Final = ("task_id", "task_seq", "task_priority", "queue", "timeout_s", *retry.COLUMNS)
"""What a roll-back task has in common with the task that it undoes."""
_AS_RUN: Final = ("parameters", "templates", "input_mapping")


def begin(conn: Connection, db: Database, flow_id: str, definition: Mapping[str, Any]) -> int:
    """Insert the roll-back tasks of a flow in which nothing is open. Returns how many: none if nothing is to be undone,
    or if they have been inserted before."""
    undone = _to_undo(conn, flow_id, _undoing(definition))
    if not undone or _has_begun(conn, flow_id):
        return 0
    last = conn.scalar(select(func.max(_task.task_exec_seq)).where(_task.task_flow_id == flow_id)) or 0
    instant = time_now(conn)
    rows = [
        _row(task, step, last + place, READY if place == 1 else READY + 1, instant)
        for place, (task, step) in enumerate(undone, start=1)
    ]
    columns = product.columns_of(rows)
    conn.execute(insert(task_stat), [{name: row.get(name) for name in columns} for row in rows])
    flow_counts.recount(conn, db, [flow_id])
    details = {"tasks": len(rows), "undoes": [task.task_exec_seq for task, _ in undone][:1000]}
    history.record(conn, [history.Event("roll-back begun", flow_id, 0, "watcher", details)])
    db.dialect.notify(conn)
    return len(rows)


def stored_definition(conn: Connection, flow_id: str) -> dict[str, Any]:
    """The version that a flow was made from; empty for a flow made by hand."""
    query = select(workflow_version.c.definition).join_from(
        flow_stat, workflow_version, workflow_version.c.version_id == flow_stat.c.version_id
    )
    text = conn.scalar(query.where(flow_stat.c.task_flow_id == flow_id))
    return dict(json.loads(text)) if text else {}


def _undoing(definition: Mapping[str, Any]) -> dict[int, Mapping[str, Any]]:
    return {step["task_seq"]: step for step in definition.get("steps", ()) if f"{ROLLBACK}_program" in step}


def _to_undo(
    conn: Connection, flow_id: str, undoing: Mapping[int, Mapping[str, Any]]
) -> list[tuple[Row[Any], Mapping[str, Any]]]:
    """Finished tasks with what undoes them, last finished first. What a plan added under the number of its step, but
    with another program, is not what the step's roll-back program is for."""
    if not undoing:
        return []
    columns = [_task[name] for name in (*_COPIED, *_AS_RUN, "name", "program", "task_exec_seq", "task_flow_id")]
    finished = _task.exec_status == int(Status.FINISH), _task.phase.is_(None)
    query = select(*columns).where(_task.task_flow_id == flow_id, *finished, _task.task_seq.in_(sorted(undoing)))
    rows = conn.execute(query.order_by(_task.finished_ts.desc(), _task.task_exec_seq.desc()))
    return [(row, step) for row in rows if (step := undoing[row.task_seq])["program"] == row.program]


def _has_begun(conn: Connection, flow_id: str) -> bool:
    counts = or_(_task.reason.is_(None), _task.reason != Reason.SUPERSEDED)  # else a re-run could not be undone again
    made = _task.task_flow_id == flow_id, _task.phase == ROLLBACK, counts
    return conn.scalar(select(_task.task_exec_seq).where(*made).limit(1)) is not None


def _row(task: Row[Any], step: Mapping[str, Any], number: int, wait_count: int, instant: Any) -> dict[str, Any]:
    own = step.get(f"{ROLLBACK}_parameters") or {}
    if own:
        marks = list(templates_in(own))
        given = {"parameters": jsontext.dumps(own), "templates": jsontext.dumps(marks) if marks else None}
    else:  # as the step itself was told
        given = {name: task._mapping[name] for name in _AS_RUN}
    return {
        **{name: task._mapping[name] for name in _COPIED},
        **given,
        "task_flow_id": task.task_flow_id,
        "task_exec_seq": number,
        "depends_task_exec_seq": number - 1 if wait_count else NO_PREDECESSOR,
        "exec_status": int(Status.WAIT),
        "wait_count": wait_count,
        "registered_ts": instant,
        "program": step[f"{ROLLBACK}_program"],
        "phase": ROLLBACK,
        "name": f"{task.name}.{ROLLBACK}" if task.name else None,
        "made_by_exec_seq": task.task_exec_seq,
    }
