"""Why a flow, or one task of it, is where it is."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Row

from engine.access import EVERYTHING, Reach
from engine.errors import UnknownFlow, UnknownTask
from engine.explain import reading
from engine.explain.findings import Cause, FlowWhy, TaskWhy, instant
from engine.explain.known import Known, label
from engine.explain.standing import Standing
from engine.explain.words import cause_of, uncounted
from engine.states import PASSED_ON, SETTLED, Status

MOST_TASKS: Final = 100
"""Tasks of a flow that are explained at once."""
MOST_CAUSES: Final = 20
"""Causes of one task that are told; how many more there are is counted."""
MOST_ROOTS: Final = 10


def explain(
    conn: Connection, flow_id: str, seq: int | None = None, *, most: int = MOST_TASKS, within: Reach = EVERYTHING
) -> FlowWhy:
    """Say why the open tasks of a flow are where they are, or why one task is, whatever its status.

    Shape: of a whole flow at most `most` tasks, what needs a person first; of one task that task alone, with the tasks
    at the bottom of what it waits for. A flow that is over has no tasks in the answer, and `words` that say so.
    `within`: flows of other workflows are unknown, and not named as holders of a limit either.
    Cost: bounded by the flow and by what runs, whatever else there is. Errors: UnknownFlow; UnknownTask.
    """
    row = reading.flow_row(conn, flow_id)
    found = reading.open_tasks(conn, flow_id, most + 1) if row is None or seq is None else []
    task_id = row.task_id if row is not None else found[0].task_id if found else None
    if task_id is None or not within.covers(task_id):
        raise UnknownFlow(flow_id)
    standing = Standing(conn, within)
    if seq is None:
        return _flow(flow_id, row, _explained(conn, standing, flow_id, found[:most]), more=len(found) > most)
    asked = reading.tasks(conn, flow_id, [seq]).get(seq)
    if asked is None:
        raise UnknownTask(flow_id, seq)
    (told,) = _explained(conn, standing, flow_id, [asked])
    bottom = reading.tasks(conn, flow_id, reading.beneath(conn, flow_id, seq)[:MOST_ROOTS])
    roots = _explained(conn, standing, flow_id, [bottom[one] for one in sorted(bottom)])
    return _flow(flow_id, row, [_with_roots(told, tuple(roots))], more=False)


def _explained(conn: Connection, standing: Standing, flow_id: str, tasks: Sequence[Row[Any]]) -> list[TaskWhy]:
    open_seqs = [task.task_exec_seq for task in tasks if task.exec_status not in SETTLED]
    causes = reading.causes(conn, flow_id, open_seqs) if open_seqs else {}
    shown = {seq: rows[:MOST_CAUSES] for seq, rows in causes.items()}
    seqs = {row.needs_exec_seq for rows in shown.values() for row in rows if row.cause == "dependency"}
    needed = reading.tasks(conn, flow_id, seqs) if seqs else {}
    return [
        _task(task, shown.get(task.task_exec_seq, []), len(causes.get(task.task_exec_seq, [])), standing, needed)
        for task in tasks
    ]


def _task(
    task: Row[Any], rows: Collection[Row[Any]], total: int, standing: Standing, needed: Mapping[int, Row[Any]]
) -> TaskWhy:
    known = Known(standing, task, needed)
    causes = [cause_of(row, known) for row in rows]
    awaits = {cause.cause for cause in causes} - {"suspended"}
    if task.exec_status in (Status.WAIT, Status.SUSPEND) and (task.wait_count or 0) > 0 and not awaits:
        causes.append(uncounted(task))
    status = _name(task.exec_status)
    return TaskWhy(
        task.task_flow_id,
        task.task_exec_seq,
        task.task_id,
        task.task_seq,
        task.name,
        task.program,
        task.queue,
        status,
        task.reason,
        _words(task, status, causes),
        tuple(causes),
        hidden=total - len(rows),
    )


def _words(task: Row[Any], status: str, causes: Sequence[Cause]) -> str:
    if task.exec_status in SETTLED:
        at = f" at {instant(task.finished_ts)}" if task.finished_ts else ""
        why = f" ({task.reason})" if task.reason else ""
        late = "" if task.wait_count == PASSED_ON else "; what waits behind it has not been told yet"
        return f"{label(task)} is over: {status}{at}{why}{late}"
    return f"{label(task)} is {status}: {causes[0].what if causes else 'it has changed this moment, ask again'}"


def _with_roots(task: TaskWhy, roots: tuple[TaskWhy, ...]) -> TaskWhy:
    return TaskWhy(**{**vars(task), "roots": tuple(root for root in roots if root.seq != task.seq)})


def _flow(flow_id: str, row: Row[Any] | None, tasks: Sequence[TaskWhy], *, more: bool) -> FlowWhy:
    if row is None:
        words = "its rows were inserted by hand, and no watcher has taken them in yet"
        return FlowWhy(flow_id, tasks[0].task_id, None, None, words, tuple(tasks), more)
    status = _name(row.flow_status)
    return FlowWhy(flow_id, row.task_id, status, row.reason, _flow_words(row, status, tasks), tuple(tasks), more)


def _flow_words(row: Row[Any], status: str, tasks: Sequence[TaskWhy]) -> str:
    why = f" ({row.reason})" if row.reason else ""
    if row.flow_status in SETTLED:
        at = f" at {instant(row.finished_ts)}" if row.finished_ts else ""
        left = "; its result, its parent or its roll-back is still seen to" if row.closing == 1 else ""
        return f"the flow is over: {status}{at}{why}; nothing of it waits{left}"
    deadline = f"; it is cancelled at {instant(row.deadline_ts)} if it has not ended" if row.deadline_ts else ""
    if not tasks:
        return f"the flow is {status}{why}, and none of its tasks is open: penstock fsck counts anew{deadline}"
    person = sum(task.status == Status.SUSPEND.name for task in tasks)
    stuck = f"; {person} of its tasks {'needs' if person == 1 else 'need'} a person, and what is behind waits"
    return f"the flow is {status}{why}{stuck if person else ''}{deadline}"


def _name(status: Any) -> str:
    return Status(status).name if status in Status._value2member_map_ else f"UNKNOWN {status}"  # set by hand
