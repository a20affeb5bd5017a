"""What becomes of settlements: is the claim that asks still the row's last, and has it been answered before?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select

from engine.database import Database
from engine.dialects.for_rows import ForRows, Rows
from engine.dialects.given import select_given
from engine.keys import KEY_COLUMNS, Fence, Key, chunks, joined, keyed, leading_key
from engine.settling.settlement import Settlement, Verdict
from engine.states import FAILURES, Reason, Status
from engine.tables import task_stat

_BACK_TO_WAIT = {"again": Reason.AGAIN, "release": Reason.RELEASED, "await": Reason.AWAITING}


def _reading(rows: Rows) -> Select[Any]:
    task = task_stat.c
    told = task.exec_status, task.claim_id, task.reason, task.attempt, task.started_ts, task.iteration
    query = select_given(rows, *KEY_COLUMNS, *told, by_key_of=task_stat)
    return query.where(joined(rows)).order_by(*KEY_COLUMNS)


_READING = ForRows(keyed(), _reading)
_LOCKING = ForRows(keyed(), lambda rows: _reading(rows).with_for_update())


def lock(conn: Connection, db: Database, keys: Iterable[Key]) -> dict[Key, Row[Any]]:
    """The rows of these tasks, locked; those that do not exist are left out."""
    query = _LOCKING if db.can.row_locks else _READING
    rows: dict[Key, Row[Any]] = {}
    for part in chunks(sorted(keys)):
        for row in query(conn, part):
            rows[leading_key(row)] = row
    return rows


def judged(settlements: Sequence[Settlement], rows: Mapping[Key, Row[Any]]) -> list[Verdict]:
    """The verdict of each settlement, in the order given."""
    verdicts: list[Verdict] = []
    settled: set[Fence] = set()
    for item in settlements:
        verdict = _judge(item, rows.get(item.task.key))
        if verdict is Verdict.ACCEPTED and item.task.fence in settled:
            verdict = Verdict.ALREADY  # earlier in this batch
        settled.add(item.task.fence)
        verdicts.append(verdict)
    return verdicts


def _judge(item: Settlement, row: Row[Any] | None) -> Verdict:
    if row is None or row.claim_id != item.task.claim_id:
        return Verdict.STALE
    if row.exec_status == Status.RUNNING:
        return Verdict.ACCEPTED
    if row.exec_status == Status.WAIT and row.reason == Reason.LAPSED and item.kind != "release":
        return Verdict.ACCEPTED  # the lease lapsed, but nobody has claimed the task since
    if row.exec_status == Status.WAIT and row.reason == Reason.AGAIN and item.overdue:
        return Verdict.ACCEPTED
    return Verdict.ALREADY if _looks_settled(item, row) else Verdict.STALE


def _looks_settled(item: Settlement, row: Row[Any]) -> bool:
    """A person who set the same status left other traces: the try is not charged, the reason is another one."""
    if item.kind in _BACK_TO_WAIT and row.exec_status == Status.WAIT and row.reason == _BACK_TO_WAIT[item.kind]:
        return True
    if item.kind == "again":  # it may have come after the time limit of its pokes
        is_over = row.reason in (Reason.TIMED_OUT, Reason.RETRY) and row.exec_status in (Status.SUSPEND, Status.WAIT)
        return bool(is_over and row.attempt == item.task.attempt)
    if item.kind in _BACK_TO_WAIT:
        return False
    if item.kind == "retry":
        is_waiting = row.exec_status == Status.WAIT and row.reason == Reason.RETRY
        return bool(is_waiting and row.attempt == item.task.attempt)
    was_handled = item.kind == "suspend" and row.exec_status == Status.IGNORE and row.reason in FAILURES.values()
    after = Status.FINISH if item.kind == "finish" else Status.SUSPEND
    return bool((row.exec_status == after or was_handled) and row.attempt == item.task.attempt)


def is_late(row: Row[Any] | None) -> bool:
    """Supervise has stored this try as lost already; what became of it after all is written over that."""
    return row is not None and row.exec_status == Status.WAIT and row.reason == Reason.LAPSED
