"""What an explanation reads of one flow: its row, its open tasks, and their rows of v_waiting. All of it is bounded."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from sqlalchemy import Connection, Row, case, select

from engine.keys import chunks
from engine.states import Status
from engine.tables import flow_stat, task_stat
from engine.views import waiting

MOST_CAUSES: Final = 5_000
"""Rows of v_waiting that are read for one explanation: a task may wait for a hundred thousand others."""
_OPEN: Final = (int(Status.WAIT), int(Status.RUNNING), int(Status.SUSPEND))
_LONG: Final = {"parameters", "templates", "input_mapping", "output_mapping", "result"}
"""Columns that may be long, and explain nothing."""
_TASK: Final = [column for column in task_stat.c if column.name not in _LONG]


def flow_row(conn: Connection, flow_id: str) -> Row[Any] | None:
    """What is known of the flow itself; None for one that a person inserted a moment ago, or that there is not."""
    flow = flow_stat.c
    columns = flow.task_id, flow.flow_status, flow.reason, flow.finished_ts, flow.deadline_ts, flow.closing
    row: Any = conn.execute(select(*columns).where(flow.task_flow_id == flow_id)).one_or_none()
    return row  # type: ignore[no-any-return]


def open_tasks(conn: Connection, flow_id: str, most: int) -> list[Row[Any]]:
    """The tasks that are not over: those that need a person, then what runs, what is ready, and what waits."""
    task = task_stat.c
    order = case(
        (task.exec_status == int(Status.SUSPEND), 0),
        (task.exec_status == int(Status.RUNNING), 1),
        (task.wait_count == 0, 2),
        else_=3,
    )
    query = select(*_TASK).where(task.task_flow_id == flow_id, task.exec_status.in_(_OPEN))
    return list(conn.execute(query.order_by(order, task.task_exec_seq).limit(most)))


def tasks(conn: Connection, flow_id: str, seqs: Collection[int]) -> dict[int, Row[Any]]:
    """These tasks of the flow, by run number; those that there are."""
    found: dict[int, Row[Any]] = {}
    for part in chunks(sorted(seqs)):
        mine = task_stat.c.task_flow_id == flow_id, task_stat.c.task_exec_seq.in_(part)
        found |= {row.task_exec_seq: row for row in conn.execute(select(*_TASK).where(*mine))}
    return found


def causes(conn: Connection, flow_id: str, seqs: Collection[int]) -> dict[int, list[Row[Any]]]:
    """The rows of v_waiting of these tasks, as many as are bearable."""
    found: dict[int, list[Row[Any]]] = {seq: [] for seq in seqs}
    left = MOST_CAUSES
    for part in chunks(sorted(seqs)):
        mine = waiting.c.task_flow_id == flow_id, waiting.c.task_exec_seq.in_(part)
        rows = conn.execute(select(waiting).where(*mine).limit(left)).all()
        left -= len(rows)
        for row in rows:
            found[row.task_exec_seq].append(row)
        if left <= 0:
            break
    return {seq: sorted(rows, key=_order) for seq, rows in found.items()}


def _order(row: Row[Any]) -> tuple[bool, str, int, str]:
    return row.cause == "queued", row.cause, row.needs_exec_seq or 0, row.wait_id or ""


def beneath(conn: Connection, flow_id: str, seq: int) -> list[int]:
    """The open tasks at the bottom of what a task waits for: those that wait for no other task. Empty if it waits for
    none itself."""
    query = select(waiting.c.task_exec_seq, waiting.c.needs_exec_seq)
    query = query.where(waiting.c.task_flow_id == flow_id, waiting.c.cause == "dependency").limit(MOST_CAUSES)
    before: dict[int, set[int]] = {}
    for child, parent in conn.execute(query):
        before.setdefault(child, set()).add(parent)
    return _bottom(before, seq)


def _bottom(before: dict[int, set[int]], seq: int) -> list[int]:
    seen, asked, found = {seq}, list(_of(before, seq)), set[int]()
    while asked:
        here = asked.pop()
        if here not in seen:
            seen.add(here)
            further = _of(before, here)
            asked += further
            found |= set() if further else {here}
    return sorted(found)


def _of(before: dict[int, set[int]], seq: int) -> Iterable[int]:
    return before.get(seq, ())
