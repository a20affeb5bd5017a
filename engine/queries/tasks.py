"""Tasks of one flow, and what belongs to them: edges, tries, waits, logs. Each list is paged by run number."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, select

from engine.access import EVERYTHING, Reach
from engine.errors import UnknownFlow, UnknownTask
from engine.graph.edges import LOOP
from engine.inputs import document
from engine.keys import chunks
from engine.queries.pages import check_limit
from engine.queries.rows import attempt_of, plain, task_of
from engine.tables import attempt, flow_stat, run_edge, task_log, task_stat, wait

_task = task_stat.c


def check_flow(conn: Connection, flow_id: str, within: Reach = EVERYTHING) -> None:
    """Errors: UnknownFlow, also for a flow of a workflow that is not `within`."""
    task_id = conn.scalar(select(flow_stat.c.task_id).where(flow_stat.c.task_flow_id == flow_id))
    if task_id is None or not within.covers(task_id):
        raise UnknownFlow(flow_id)


def list_tasks(
    conn: Connection, flow_id: str, *, after: int = 0, limit: int = 50, status: int | None = None
) -> tuple[list[dict[str, Any]], int | None]:
    """Tasks of a flow by run number, with their predecessors and kept tries, and the number to go on after."""
    check_limit(limit)
    query = select(task_stat).where(_task.task_flow_id == flow_id, _task.task_exec_seq > after)
    if status is not None:
        query = query.where(_task.exec_status == status)
    rows = conn.execute(query.order_by(_task.task_exec_seq).limit(limit + 1)).all()
    tasks = [task_of(row._mapping) for row in rows[:limit]]
    _complete(conn, flow_id, tasks)
    return tasks, rows[limit - 1].task_exec_seq if len(rows) > limit else None


def read_task(conn: Connection, flow_id: str, seq: int) -> dict[str, Any]:
    """One task with its predecessors and kept tries. Errors: UnknownTask."""
    row = conn.execute(select(task_stat).where(_task.task_flow_id == flow_id, _task.task_exec_seq == seq)).one_or_none()
    if row is None:
        raise UnknownTask(flow_id, seq)
    task = task_of(row._mapping)
    _complete(conn, flow_id, [task])
    return task


def _complete(conn: Connection, flow_id: str, tasks: Sequence[dict[str, Any]]) -> None:
    by_seq = {task["task_exec_seq"]: task for task in tasks}
    for part in chunks(sorted(by_seq)):
        edge = run_edge.c
        into = edge.task_flow_id == flow_id, edge.task_exec_seq.in_(part)
        for row in conn.execute(select(edge.task_exec_seq, edge.depends_task_exec_seq, edge.kind).where(*into)):
            depends = by_seq[row.task_exec_seq]["depends"]
            if row.kind != LOOP and row.depends_task_exec_seq not in depends:
                depends.append(row.depends_task_exec_seq)
        for row in _attempts(conn, flow_id, part):
            by_seq[row.task_exec_seq]["attempts"].append(attempt_of(row._mapping))


def _attempts(conn: Connection, flow_id: str, seqs: Collection[int]) -> Sequence[Any]:
    own = attempt.c.task_flow_id == flow_id, attempt.c.task_exec_seq.in_(list(seqs))
    order = attempt.c.task_exec_seq, attempt.c.claim_no, attempt.c.ended_ts
    return conn.execute(select(attempt).where(*own).order_by(*order)).all()


def list_edges(
    conn: Connection, flow_id: str, *, after: int = 0, limit: int = 500
) -> tuple[list[dict[str, Any]], int | None]:
    """The edges into the next `limit` tasks, by run number, and the number to go on after. A plain first edge stands
    in its task's row alone."""
    check_limit(limit)
    ahead = select(_task.task_exec_seq, _task.depends_task_exec_seq)
    rows = conn.execute(
        ahead.where(_task.task_flow_id == flow_id, _task.task_exec_seq > after)
        .order_by(_task.task_exec_seq)
        .limit(limit + 1)
    ).all()
    seqs = [row.task_exec_seq for row in rows[:limit]]
    edges = {
        (row.task_exec_seq, row.depends_task_exec_seq): _plain_edge(row)
        for row in rows[:limit]
        if row.depends_task_exec_seq > 0
    }
    if seqs:
        edge = run_edge.c
        own = edge.task_flow_id == flow_id, edge.task_exec_seq.between(seqs[0], seqs[-1])
        for row in conn.execute(select(run_edge).where(*own)):
            found = plain(row._mapping)
            del found["task_flow_id"]
            edges[row.task_exec_seq, row.depends_task_exec_seq] = found
    return [edges[key] for key in sorted(edges)], seqs[-1] if len(rows) > limit else None


def _plain_edge(row: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("kind", "only_if", "is_default", "max_iterations", "outcome"))
    return {"task_exec_seq": row.task_exec_seq, "depends_task_exec_seq": row.depends_task_exec_seq, **empty}


def list_waits(conn: Connection, flow_id: str, *, seq: int | None = None, limit: int = 500) -> list[dict[str, Any]]:
    """What the tasks of a flow await or have awaited, the latest first. The hash of a call-back's token is left out."""
    check_limit(limit)
    query = select(wait).where(wait.c.task_flow_id == flow_id)
    if seq is not None:
        query = query.where(wait.c.task_exec_seq == seq)
    rows = conn.execute(query.order_by(wait.c.created_ts.desc(), wait.c.wait_id.desc()).limit(limit))
    return [wait_of(row._mapping) for row in rows]


def wait_of(row: Any) -> dict[str, Any]:
    found = plain(row)
    if found["kind"] == "callback":
        found["correlation_key"] = None
    return {**found, "details": document(found["details"]), "payload": document(found["payload"])}


def read_logs(conn: Connection, flow_id: str, seq: int) -> list[dict[str, Any]]:
    """What the kept tries of a task have logged, oldest first, and after them what the one that runs has so far.
    Shape: of each `claim_id`, `claim_no`, `outcome` (None while it runs) and `text`."""
    part = task_log.c
    query = select(part.claim_id, part.text).where(part.task_flow_id == flow_id, part.task_exec_seq == seq)
    running: dict[str, list[str]] = {}
    for row in conn.execute(query.order_by(part.log_id)):  # first: a try that ends meanwhile is found among the kept
        running.setdefault(row.claim_id, []).append(row.text)
    kept = [
        {"claim_id": row.claim_id, "claim_no": row.claim_no, "outcome": row.outcome, "text": row.log or ""}
        for row in _attempts(conn, flow_id, [seq])
        if row.log
    ]
    ended = {one["claim_id"] for one in kept}
    return kept + [
        {"claim_id": claim_id, "claim_no": None, "outcome": None, "text": "".join(texts)}
        for claim_id, texts in running.items()
        if claim_id not in ended
    ]
