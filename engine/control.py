"""Operator verbs: each one transaction, each recorded with its actor and, if one is given, a note.

A verb acts on the tasks of a flow whose status it is for, all of them or those named, and leaves the others alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select, update

from engine import flow_counts, history, jsontext, waits
from engine.database import Database
from engine.dependencies import DEFAULT_POLICY, Policy, count_awaited
from engine.errors import BadRequest, UnknownFlow
from engine.keys import KEY_COLUMNS, Key, among, chunks, key_of
from engine.states import PASSED_ON, PRIORITY_MAX, PRIORITY_MIN, Reason, Status
from engine.tables import flow_stat, task_stat
from engine.transitions import move
from engine.unlock import unlock

OPEN = (Status.WAIT, Status.RUNNING, Status.SUSPEND)
Apply = Callable[[Connection, list[Row[Any]]], None]


def recover(
    db: Database, flow_id: str, *, actor: str, note: str | None = None, policy: Policy = DEFAULT_POLICY
) -> list[int]:
    """Set every suspended task of a flow back to waiting, with all its tries anew, so that the flow goes on from there.

    Shape: the run numbers that were suspended, ascending; empty if none was. Errors: UnknownFlow.
    Source: Flower's "rerun or recover from a task", done there by hand.
    """
    anew = {"attempt": 0, "losses": 0}
    return _act(db, flow_id, None, (Status.SUSPEND,), _back_to_wait(db, policy, **anew), "task recovered", actor, note)


def resume(
    db: Database,
    flow_id: str,
    seqs: Collection[int] | None = None,
    *,
    actor: str,
    note: str | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> list[int]:
    """Set suspended tasks back to waiting as they are: a task that was paused goes on with the tries it had left.

    Shape: the run numbers that were resumed, ascending. Errors: UnknownFlow.
    """
    return _act(db, flow_id, seqs, (Status.SUSPEND,), _back_to_wait(db, policy), "task resumed", actor, note)


def pause(
    db: Database, flow_id: str, seqs: Collection[int] | None = None, *, actor: str, note: str | None = None
) -> list[int]:
    """Suspend waiting tasks until they are resumed; they still hear of their predecessors meanwhile.

    Shape: the run numbers that were paused, ascending. Errors: UnknownFlow.
    """

    def apply(conn: Connection, rows: list[Row[Any]]) -> None:
        move(conn, "pause", _keys(rows), reason=Reason.PAUSED, error=note)

    return _act(db, flow_id, seqs, (Status.WAIT,), apply, "task paused", actor, note)


def ignore(
    db: Database,
    flow_id: str,
    seqs: Collection[int],
    *,
    actor: str,
    note: str | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> list[int]:
    """Set tasks aside for good; what waits for them goes on. A running program is told to stop, and what it answers
    changes nothing.

    Shape: the run numbers that were ignored, ascending. Errors: UnknownFlow.
    """

    def apply(conn: Connection, rows: list[Row[Any]]) -> None:
        move(conn, "ignore", _keys(rows), wait_count=PASSED_ON, due_ts=None, reason=Reason.IGNORED, error=note)
        waits.cancel(conn, _keys(rows))
        if policy.satisfied_by(Status.IGNORE):
            unlock(conn, db, _keys(rows))

    return _act(db, flow_id, seqs, OPEN, apply, "task ignored", actor, note)


def finish(
    db: Database, flow_id: str, seq: int, result: Any = None, *, actor: str, note: str | None = None
) -> list[int]:
    """Count a task as finished with this result, without running it or without waiting for what runs.

    Shape: the run number in a list; empty if the task was settled already. Errors: UnknownFlow; BadRequest for a
    result that is not JSON, or too large. Source: Flux's mark-success, Waterflow's force-complete.
    """
    try:
        document = None if result is None else jsontext.dumps(result, max_bytes=jsontext.MAX_RESULT_BYTES)
    except jsontext.NotJSON as error:
        raise BadRequest("result", str(error)) from error

    def apply(conn: Connection, rows: list[Row[Any]]) -> None:
        move(conn, "force", _keys(rows), wait_count=PASSED_ON, due_ts=None, result=document)
        waits.cancel(conn, _keys(rows))
        unlock(conn, db, _keys(rows))

    return _act(db, flow_id, [seq], OPEN, apply, "task finished by force", actor, note)


def set_priority(
    db: Database,
    flow_id: str,
    priority: int,
    seqs: Collection[int] | None = None,
    *,
    actor: str,
    note: str | None = None,
) -> list[int]:
    """Change the priority of tasks that have not been claimed.

    Shape: the run numbers that were changed, ascending. Errors: UnknownFlow; BadRequest outside -20 .. 19.
    """
    if not PRIORITY_MIN <= priority <= PRIORITY_MAX:
        raise BadRequest("priority", f"{priority} is outside {PRIORITY_MIN} .. {PRIORITY_MAX}")

    def apply(conn: Connection, rows: list[Row[Any]]) -> None:
        for part in chunks(_keys(rows)):
            conn.execute(update(task_stat).where(among(part)).values(task_priority=priority))

    waiting = Status.WAIT, Status.SUSPEND
    return _act(db, flow_id, seqs, waiting, apply, "priority set", actor, note, priority=priority)


def _act(
    db: Database,
    flow_id: str,
    seqs: Collection[int] | None,
    statuses: Sequence[Status],
    apply: Apply,
    what: str,
    actor: str,
    note: str | None,
    **details: Any,
) -> list[int]:
    """Lock the tasks that are meant, apply the verb to those in the right status, count the flow anew, record it."""

    def work(conn: Connection) -> list[int]:
        rows = _locked(conn, db, flow_id, seqs, statuses)
        if not rows:
            return []
        apply(conn, rows)
        flow_counts.recount(conn, db, [flow_id])
        said = {"note": note} if note else {}
        history.record(conn, [history.about(key, what, actor, **details, **said) for key in _keys(rows)])
        db.dialect.notify(conn)
        return [row.task_exec_seq for row in rows]

    return db.transact(work)


def _locked(
    conn: Connection, db: Database, flow_id: str, seqs: Collection[int] | None, statuses: Sequence[Status]
) -> list[Row[Any]]:
    if conn.scalar(select(flow_stat.c.task_flow_id).where(flow_stat.c.task_flow_id == flow_id)) is None:
        raise UnknownFlow(flow_id)
    task = task_stat.c
    meant = select(*KEY_COLUMNS, task.exec_status, task.program, task.wait_count).where(task.task_flow_id == flow_id)
    if seqs is not None:
        meant = meant.where(task.task_exec_seq.in_(sorted(seqs)))
    else:
        meant = meant.where(task.exec_status.in_([int(status) for status in statuses]))
    if db.can.row_locks:
        meant = meant.with_for_update()
    found: list[Row[Any]] = list(conn.execute(meant.order_by(*KEY_COLUMNS)))
    return [row for row in found if row.exec_status in statuses]


def _back_to_wait(db: Database, policy: Policy, **columns: Any) -> Apply:
    def apply(conn: Connection, rows: list[Row[Any]]) -> None:
        awaited = count_awaited(conn, _keys(rows), policy)
        groups: dict[int | None, list[Key]] = {}
        for row in rows:
            found = awaited[key_of(row)]
            # refused rows, and rows whose predecessor has been deleted, are looked at by the adopter again
            is_clear = row.wait_count is not None and row.program is not None and not found.missing
            was_told = is_clear and row.wait_count < 0  # finished, then suspended by hand
            count = row.wait_count if was_told else found.open_count
            groups.setdefault(count if is_clear else None, []).append(key_of(row))
        for count, alike in groups.items():
            move(conn, "recover", alike, wait_count=count, due_ts=None, **columns)

    return apply


def _keys(rows: Sequence[Row[Any]]) -> list[Key]:
    return [key_of(row) for row in rows]
