"""What a program may ask of its flow: results of earlier tasks, and what the task awaited. Read-only."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from engine import jsontext
from engine.graph.dependencies import predecessors
from engine.keys import KEY_COLUMNS, Key, among, chunks
from engine.states import Status
from engine.tables import task_stat, wait


class Arrived(NamedTuple):
    """A wait of a task that is over."""

    kind: str
    name: str | None
    key: str | None
    payload: Any
    expired: bool
    at: datetime
    by: str | None


def results_of(conn: Connection, flow_id: str) -> dict[int, Any]:
    """What the finished tasks of a flow returned, by run number."""
    query = select(task_stat.c.task_exec_seq, task_stat.c.result)
    rows = conn.execute(query.where(task_stat.c.task_flow_id == flow_id, task_stat.c.result.isnot(None)))
    return {seq: document(result) for seq, result in rows}


def upstream_of(conn: Connection, key: Key) -> list[Any]:
    """What the tasks that this one waited for returned, in run order; those that did not run are left out. A task whose
    plan this one joins is left out too: the tasks that it planned stand for it."""
    task = task_stat.c
    finished: list[Any] = []
    planners: set[int] = set()
    for part in chunks(sorted(predecessors(conn, [key])[key])):
        query = select(*KEY_COLUMNS, task.exec_status, task.made_by_exec_seq, task.result).where(among(part))
        for row in conn.execute(query.order_by(*KEY_COLUMNS)):
            planners.add(row.made_by_exec_seq)
            if row.exec_status == Status.FINISH:
                finished.append(row)
    return [document(row.result) for row in finished if row.task_exec_seq not in planners]


def arrivals_of(conn: Connection, key: Key) -> list[Arrived]:
    """What the task awaited and what became of it, oldest first."""
    this = wait.c.task_flow_id == key.flow_id, wait.c.task_exec_seq == key.seq
    is_over = wait.c.state.in_(["arrived", "expired"]), wait.c.kind.not_in(["poke", "turn"])
    over = select(wait).where(*this, *is_over).order_by(wait.c.closed_ts, wait.c.wait_id)
    return [
        Arrived(
            row.kind,
            row.name,
            row.correlation_key,
            document(row.payload),
            row.state == "expired",
            row.closed_ts,
            row.closed_by,
        )
        for row in conn.execute(over)
    ]


def document(text: str | None) -> Any:
    """A JSON column for reading; text that is no JSON is shown as it stands."""
    if text is None:
        return None
    try:
        return jsontext.loads(text)
    except jsontext.NotJSON:
        return text
