"""What Waterflow's clients read: states, counts, tasks and events, by Waterflow's own numbers and names."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, case, exists, func, or_, select

from engine import jsontext
from engine.access import Reach
from engine.compat.waterflow import END, FETCH, PREFIX, RUN, Job, find, id_of
from engine.compat.waterflow_verbs import FAILED_WORDS
from engine.states import Reason, Status
from engine.tables import (
    IS_READY,
    IS_RUNNING,
    attempt,
    event,
    flow_stat,
    flow_tag,
    run_edge,
    task_stat,
    watcher,
)

MAX_PAGE: Final = 1_000
MAX_MESSAGE: Final = 255


class JobState(IntEnum):
    PENDING = 0
    DAG_FETCH = 1
    RUNNING = 2
    SUCCEEDED = 3
    FAILED = 4


class TaskState(IntEnum):
    BLOCKED = 0
    PENDING = 1
    PAUSED = 2
    RUNNING = 3
    SUCCEEDED = 4
    FAILED = 5


class EventCode(IntEnum):
    JOB_CANCELED = 0
    JOB_FAILED = 1
    TASK_CANCELED = 1000
    TASK_FAILED = 1001
    TASK_RETRIED = 1002
    TASK_FORCED_COMPLETE = 1003


_flow, _task = flow_stat.c, task_stat.c
_IS_JOB = and_(_flow.task_id >= PREFIX, _flow.task_id < END)
_OF_QUEUES = and_(_task.queue >= PREFIX, _task.queue < END)
_IN_FLOW = _task.task_flow_id == _flow.task_flow_id
_CAN_RUN: Final = exists(
    select(1).where(_IN_FLOW, or_(_task.exec_status == 1, and_(_task.exec_status == 0, _task.wait_count == 0)))
).correlate(flow_stat)
"""Something of the flow runs, or could."""
_CODES: Final = {
    "task suspended": EventCode.TASK_FAILED,
    "task lost": EventCode.TASK_FAILED,
    "task cancelled": EventCode.TASK_CANCELED,
    "task retried": EventCode.TASK_RETRIED,
    "task recovered": EventCode.TASK_RETRIED,
    "task finished by force": EventCode.TASK_FORCED_COMPLETE,
    "flow cancelled": EventCode.JOB_CANCELED,
}


def job_state(conn: Connection, job: Job) -> JobState:
    """A job with a failed task is FAILED once nothing more of it can run."""
    flow, fetch = job.flow, job.fetch
    match flow.flow_status:
        case Status.FINISH:
            return JobState.SUCCEEDED
        case Status.IGNORE:
            return JobState.FAILED
    if fetch.exec_status == Status.WAIT:
        return JobState.PENDING
    if fetch.exec_status == Status.RUNNING:
        return JobState.DAG_FETCH
    if fetch.exec_status == Status.SUSPEND:
        return JobState.PENDING if fetch.reason == Reason.PAUSED else JobState.FAILED
    if flow.flow_status != Status.SUSPEND:
        return JobState.RUNNING
    mine = _task.task_flow_id == job.job_id
    can_run = or_(_task.exec_status == 1, and_(_task.exec_status == 0, _task.wait_count == 0))
    paused = and_(_task.exec_status == 2, _task.reason == Reason.PAUSED)
    return JobState.RUNNING if conn.scalar(select(exists().where(mine, or_(can_run, paused)))) else JobState.FAILED


def task_state(row: Any) -> TaskState:
    match row.exec_status:
        case Status.FINISH:
            return TaskState.SUCCEEDED
        case Status.RUNNING:
            return TaskState.RUNNING
        case Status.WAIT:
            return TaskState.PENDING if row.wait_count == 0 else TaskState.BLOCKED
        case Status.SUSPEND:
            return TaskState.PAUSED if row.reason == Reason.PAUSED else TaskState.FAILED
    return TaskState.FAILED


def job_details(conn: Connection, job_id: str, reach: Reach) -> dict[str, Any]:
    """Errors: UnknownFlow."""
    job = find(conn, job_id, reach)
    told = job.parameters
    tags = select(flow_tag.c.tag).where(flow_tag.c.task_flow_id == job_id).order_by(flow_tag.c.tag)
    label = conn.scalar(select(watcher.c.label).where(watcher.c.watcher_id == (job.fetch.owner or "")))
    dag = jsontext.loads_object(job.fetch.result) if job.fetch.result else {}
    state = job_state(conn, job)
    return {
        **_brief(job, told),
        "job_input64": told.get("job_input64"),
        "job_input64_v": told.get("job_input64_v", 0),
        "service_pointer": told.get("service_pointer"),
        "state": int(state),
        "state_name": state.name,
        "worker": label,
        "dag64": dag.get("raw_dag64"),
        "dagv": dag.get("raw_dagv"),
        "tags": list(conn.scalars(tags)),
    }


def _brief(job: Job, told: dict[str, Any]) -> dict[str, Any]:
    created = job.flow.registered_ts
    return {
        "job_id": job.job_id,
        "job_name": told.get("job_name"),
        "work_queue": int(job.queue) if job.queue.isdigit() else job.queue,
        "created_utc": created and created.isoformat(),
    }


def jobs_tagged(conn: Connection, tag: str, limit: int, reach: Reach) -> list[dict[str, Any]]:
    """Jobs with this tag, newest first."""
    joined = flow_tag.c.task_flow_id == _flow.task_flow_id
    ids = select(_flow.task_flow_id).join_from(flow_tag, flow_stat, joined)
    ids = ids.where(flow_tag.c.tag == tag, _IS_JOB, reach.condition(_flow.task_id))
    ids = ids.order_by(flow_tag.c.task_flow_id.desc()).limit(limit)
    found: list[dict[str, Any]] = []
    for job_id in conn.scalars(ids).all():
        job = find(conn, job_id, reach)
        state = job_state(conn, job)
        found.append({**_brief(job, job.parameters), "state": int(state), "state_name": state.name})
    return found


def tasks_of(conn: Connection, job_id: str, limit: int, after: int) -> list[dict[str, Any]]:
    """The tasks of a job in the order of its DAG, behind the one of this number."""
    columns = _task.task_exec_seq, _task.exec_status, _task.wait_count, _task.reason, _task.claim_id, _task.parameters
    times = _task.attempt, _task.error, _task.registered_ts, _task.started_ts, _task.finished_ts, _task.suspended_ts
    mine = _task.task_flow_id == job_id, _task.program == RUN, _task.task_exec_seq > after
    rows = conn.execute(select(*columns, *times).where(*mine).order_by(_task.task_exec_seq).limit(limit)).all()
    waits = _predecessors(conn, job_id, [row.task_exec_seq for row in rows])
    found: list[dict[str, Any]] = []
    for row in rows:
        told = jsontext.loads_object(row.parameters)
        updated = row.finished_ts or row.suspended_ts or row.started_ts or row.registered_ts
        state = task_state(row)
        found.append(
            {
                "job_id": job_id,
                "task_id": id_of(row),
                "task_name": told.get("task_name"),
                "state": int(state),
                "state_name": state.name,
                "task_input64": told.get("task_input64"),
                "task_input64_v": told.get("task_input64_v", 0),
                "service_pointer": told.get("service_pointer"),
                "attempts": row.attempt,
                "error": row.error,
                "waits_for": waits.get(row.task_exec_seq, []),
                "updated_utc": updated and updated.isoformat(),
            }
        )
    return found


def _predecessors(conn: Connection, job_id: str, seqs: Sequence[int]) -> dict[int, list[int]]:
    """Numbers of the tasks that each of these waits for; the first 8 digits of a task's id are its number."""
    if not seqs:
        return {}
    found: dict[int, list[int]] = {}
    between = _task.task_exec_seq.between(seqs[0], seqs[-1])
    first = select(_task.task_exec_seq, _task.depends_task_exec_seq).where(_task.task_flow_id == job_id, between)
    further = select(run_edge.c.task_exec_seq, run_edge.c.depends_task_exec_seq).where(
        run_edge.c.task_flow_id == job_id, run_edge.c.task_exec_seq.between(seqs[0], seqs[-1])
    )
    for seq, before in [*conn.execute(first), *conn.execute(further)]:
        if before > 1:
            found.setdefault(seq, []).append(before)
    return {seq: sorted(befores) for seq, befores in found.items()}


def events_of(conn: Connection, job_id: str, limit: int) -> list[dict[str, Any]]:
    """What went wrong with a job, and what people did about it, oldest first, by Waterflow's codes."""
    mine = event.c.task_flow_id == job_id, event.c.what.in_(sorted(_CODES))
    rows = conn.execute(select(event).where(*mine).order_by(event.c.event_id).limit(limit)).all()
    kept = attempt.c.task_flow_id == job_id, attempt.c.traceback.isnot(None)
    things = select(attempt.c.task_exec_seq, attempt.c.traceback).where(*kept).order_by(attempt.c.claim_no)
    objects = {row.task_exec_seq: row.traceback for row in conn.execute(things)}
    found: list[dict[str, Any]] = []
    for row in rows:
        details = _details(row.details)
        code = _code(row, details)
        words = str(details.get("error") or details.get("note") or details.get("reason") or "")
        failed = code in (EventCode.TASK_FAILED, EventCode.JOB_FAILED)
        seq = row.task_exec_seq or 0
        found.append(
            {
                "code": int(code),
                "name": code.name,
                "task_id": f"{seq:08x}" if seq > 1 else None,
                "message": words.removeprefix(FAILED_WORDS)[:MAX_MESSAGE],
                "object64": objects.get(seq) if failed else None,
                "created_utc": row.event_ts.isoformat(),
                "actor": row.actor,
            }
        )
    return found


def _details(text: str | None) -> dict[str, Any]:
    try:
        return jsontext.loads_object(text or "{}")
    except jsontext.NotJSON:
        return {}


def _code(row: Any, details: dict[str, Any]) -> EventCode:
    if row.what == "flow cancelled" and str(details.get("note", "")).startswith(FAILED_WORDS):
        return EventCode.JOB_FAILED
    if row.task_exec_seq == 1 and _CODES[row.what] is EventCode.TASK_FAILED:
        return EventCode.JOB_FAILED
    return _CODES[row.what]


def job_stats(conn: Connection) -> dict[str, int]:
    counts = dict.fromkeys(Status, 0)
    query = select(_flow.flow_status, func.count()).where(_IS_JOB).group_by(_flow.flow_status)
    for status, count in conn.execute(query):
        counts[Status(status)] += int(count)
    dead = select(func.count()).select_from(flow_stat).where(_IS_JOB, _flow.flow_status == 2, ~_CAN_RUN)
    failed = int(conn.scalar(dead) or 0)
    fetching = _counted(conn, IS_RUNNING, _task.program == FETCH)
    under_way = counts[Status.RUNNING] + counts[Status.SUSPEND] - failed
    return {
        "pending_count": counts[Status.WAIT],
        "fetching_count": fetching,
        "running_count": max(0, under_way - fetching),
        "succeeded": counts[Status.FINISH],
        "failed": counts[Status.IGNORE] + failed,
    }


def task_stats(conn: Connection) -> dict[str, int]:
    """From the counters of the jobs, of which the one task that fetches the DAG is left out, and the rows in play."""
    has_dag = _flow.task_count > 1
    columns = _flow.task_count - 1, _flow.finish_count - 1, _flow.ignore_count
    sums = [func.coalesce(func.sum(case((has_dag, column), else_=0)), 0) for column in columns]
    total, finished, ignored = (int(found) for found in conn.execute(select(*sums).where(_IS_JOB)).one())
    is_run = _task.program == RUN
    pending = _counted(conn, IS_READY, is_run)
    running = _counted(conn, IS_RUNNING, is_run)
    is_suspended = and_(_task.exec_status == 2, is_run)
    paused = _counted(conn, is_suspended, _task.reason == Reason.PAUSED)
    failed = _counted(conn, is_suspended, _task.reason != Reason.PAUSED)
    known = pending + running + paused + failed + finished + ignored
    return {
        "blocked_count": max(0, total - known),
        "pending_count": pending,
        "paused_count": paused,
        "running_count": running,
        "succeeded_count": finished,
        "failed_count": failed + ignored,
    }


def _counted(conn: Connection, *conditions: ColumnElement[bool]) -> int:
    return int(conn.scalar(select(func.count()).select_from(task_stat).where(_OF_QUEUES, *conditions)) or 0)
