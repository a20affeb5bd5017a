"""The moves of settled tasks: one statement for all that settle in one way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection, Double, String, null

from engine.dialects.clock import bounded, later
from engine.dialects.for_rows import Rows
from engine.dialects.types import Id
from engine.errors import BrokenPromise
from engine.keys import keyed
from engine.settling.settlement import Settlement
from engine.states import PASSED_ON, READY, Reason
from engine.tables import task_stat
from engine.transitions import Move, move, told

More = Callable[[Settlement], tuple[Any, ...]]
"""What a statement is given of a settlement beside its fence."""
LONG: Final = 20_000
"""Characters of a result that is written by a statement of its own: within a document it would be escaped again."""

FENCE = keyed(claim_id=Id(36))
RESULT = keyed(claim_id=Id(36), result=String())
_FAILURE = keyed(claim_id=Id(36), reason=String(), error=String())
_CHARGED: Final = {"attempt": task_stat.c.attempt + 1}
ENDED: Final = {"wait_count": PASSED_ON, "due_ts": null(), **_CHARGED}
_FAILED: Final = {"reason": told("reason"), "error": told("error")}


def _when_due(rows: Rows) -> Any:
    return later(rows.c.delay_s)


_DELAYED: Final = {"wait_count": READY + 1, "due_ts": _when_due}
FINISH = Move("finish", FENCE, result=null(), **ENDED)
FINISH_WITH_RESULT = Move("finish", RESULT, result=told("result"), **ENDED)
SUSPEND = Move("suspend", _FAILURE, wait_count=READY, due_ts=null(), **_FAILED, **_CHARGED)
HANDLE = Move("handle", _FAILURE, **_FAILED, **ENDED)
AGAIN = Move("again", keyed(claim_id=Id(36), delay_s=Double()), reason=Reason.AGAIN, **_DELAYED)
RETRY = Move(
    "retry",
    keyed(claim_id=Id(36), delay_s=Double(), error=String()),
    reason=Reason.RETRY,
    error=told("error"),
    **_DELAYED,
    **_CHARGED,
)
AWAIT = Move("await", FENCE, wait_count=READY + 1, reason=Reason.AWAITING)
RELEASE = Move("release", FENCE, reason=Reason.RELEASED)


def apply(conn: Connection, accepted: Sequence[Settlement]) -> None:
    """Write the new status of each task. Errors: BrokenPromise if a locked row moved all the same."""
    for kind, write in _APPLY.items():
        if batch := [item for item in accepted if item.kind == kind]:
            write(conn, batch)


def _apply(conn: Connection, step: Move, batch: Sequence[Settlement], more: More = lambda item: ()) -> None:
    if batch:
        _check(step.name, batch, step(conn, [(*item.task.fence, *more(item)) for item in batch]))


def _check(name: str, batch: Sequence[Settlement], moved: int) -> None:
    if moved != len(batch):
        raise BrokenPromise(f"{name}: {len(batch)} locked rows, {moved} moved; first {batch[0].task.fence}")


def _finish(conn: Connection, batch: Sequence[Settlement]) -> None:
    _apply(conn, FINISH, [item for item in batch if item.result is None])
    short = [item for item in batch if item.result is not None and len(item.result) <= LONG]
    _apply(conn, FINISH_WITH_RESULT, short, lambda item: (item.result,))
    for item in batch:
        if item.result is not None and len(item.result) > LONG:
            _check("finish", [item], move(conn, "finish", [item.task.fence], result=item.result, **ENDED))


def _failure(item: Settlement) -> tuple[Any, ...]:
    return item.reason, item.error


def _suspend(conn: Connection, batch: Sequence[Settlement]) -> None:
    _apply(conn, SUSPEND, batch, _failure)


def _handle(conn: Connection, batch: Sequence[Settlement]) -> None:
    """It failed, and the flow goes on by the edge for that: nobody needs to repair it."""
    _apply(conn, HANDLE, batch, _failure)


def _again(conn: Connection, batch: Sequence[Settlement]) -> None:
    """Back to waiting, with one more thing awaited: the due time. It is not charged as a try."""
    _apply(conn, AGAIN, [item for item in batch if item.due_at is None], lambda item: (bounded(item.delay_s),))
    for item in batch:
        if item.due_at is not None:
            due = {"wait_count": READY + 1, "due_ts": item.due_at, "reason": Reason.AGAIN}
            _check("again", [item], move(conn, "again", [item.task.fence], **due))


def _retry(conn: Connection, batch: Sequence[Settlement]) -> None:
    """Back to waiting for the rule's delay, charged, with what went wrong to be read meanwhile."""
    _apply(conn, RETRY, batch, lambda item: (bounded(item.delay_s), item.error))


def _await(conn: Connection, batch: Sequence[Settlement]) -> None:
    """Back to waiting, with one more thing awaited, whose row is made below. It is not charged as a try."""
    _apply(conn, AWAIT, batch)


def _release(conn: Connection, batch: Sequence[Settlement]) -> None:
    _apply(conn, RELEASE, batch)


_APPLY: dict[str, Callable[[Connection, Sequence[Settlement]], None]] = {
    "finish": _finish,
    "suspend": _suspend,
    "handle": _handle,
    "again": _again,
    "retry": _retry,
    "await": _await,
    "release": _release,
}
