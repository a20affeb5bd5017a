"""The moves of settled tasks: one statement for all that settle alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, null

from engine.dialects.clock import later
from engine.errors import BrokenPromise
from engine.keys import Fence
from engine.settling.settlement import Settlement
from engine.states import PASSED_ON, READY, Reason
from engine.tables import task_stat
from engine.transitions import move


def apply(conn: Connection, accepted: Sequence[Settlement]) -> None:
    """Write the new status of each task. Errors: BrokenPromise if a locked row moved all the same."""
    for kind, write in _APPLY.items():
        if batch := [item for item in accepted if item.kind == kind]:
            write(conn, batch)


def _apply_move(conn: Connection, name: str, batch: Sequence[Settlement], **columns: Any) -> None:
    fences: list[Fence] = [item.task.fence for item in batch]
    moved = move(conn, name, fences, **columns)
    if moved != len(fences):
        raise BrokenPromise(f"{name}: {len(fences)} locked rows, {moved} moved; first {fences[0]}")


def _finish(conn: Connection, batch: Sequence[Settlement]) -> None:
    for results, alike in _grouped(batch, lambda item: item.result):
        charged = task_stat.c.attempt + 1
        _apply_move(conn, "finish", alike, wait_count=PASSED_ON, result=results, due_ts=null(), attempt=charged)


def _suspend(conn: Connection, batch: Sequence[Settlement]) -> None:
    for (reason, error), alike in _grouped(batch, lambda item: (item.reason, item.error)):
        charged = task_stat.c.attempt + 1
        waiting_for_nothing = {"wait_count": READY, "due_ts": null()}
        _apply_move(conn, "suspend", alike, **waiting_for_nothing, reason=reason, error=error, attempt=charged)


def _handle(conn: Connection, batch: Sequence[Settlement]) -> None:
    """It failed, and the flow goes on by the edge for that: nobody needs to repair it."""
    for (reason, error), alike in _grouped(batch, lambda item: (item.reason, item.error)):
        ended = {"wait_count": PASSED_ON, "due_ts": null(), "attempt": task_stat.c.attempt + 1}
        _apply_move(conn, "handle", alike, reason=reason, error=error, **ended)


def _again(conn: Connection, batch: Sequence[Settlement]) -> None:
    """Back to waiting, with one more thing awaited: the due time. It is not charged as a try."""
    for (delay_s, due_at), alike in _grouped(batch, lambda item: (item.delay_s, item.due_at)):
        due = later(delay_s) if due_at is None else due_at
        _apply_move(conn, "again", alike, wait_count=READY + 1, due_ts=due, reason=Reason.AGAIN)


def _retry(conn: Connection, batch: Sequence[Settlement]) -> None:
    """Back to waiting for the rule's delay, charged, with what went wrong to be read meanwhile."""
    for (delay_s, error), alike in _grouped(batch, lambda item: (item.delay_s, item.error)):
        charged = task_stat.c.attempt + 1
        waiting = {"wait_count": READY + 1, "due_ts": later(delay_s), "attempt": charged}
        _apply_move(conn, "retry", alike, reason=Reason.RETRY, error=error, **waiting)


def _await(conn: Connection, batch: Sequence[Settlement]) -> None:
    """Back to waiting, with one more thing awaited, whose row is made below. It is not charged as a try."""
    _apply_move(conn, "await", batch, wait_count=READY + 1, reason=Reason.AWAITING)


def _release(conn: Connection, batch: Sequence[Settlement]) -> None:
    _apply_move(conn, "release", batch, reason=Reason.RELEASED)


_APPLY: dict[str, Callable[[Connection, Sequence[Settlement]], None]] = {
    "finish": _finish,
    "suspend": _suspend,
    "handle": _handle,
    "again": _again,
    "retry": _retry,
    "await": _await,
    "release": _release,
}


def _grouped(batch: Sequence[Settlement], by: Callable[[Settlement], Any]) -> Iterable[tuple[Any, list[Settlement]]]:
    groups: dict[Any, list[Settlement]] = {}
    for item in batch:
        groups.setdefault(by(item), []).append(item)
    return groups.items()
