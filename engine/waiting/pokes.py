"""How long a task may be poked: a time limit over all the `again` of a task, as a row of `kr_wait` of the kind `poke`.

No counter counts it: a task that waits for its next poke awaits the due time of that alone. The row says until when
that may go on. A limit that is over while the task runs, is paused, or is about to run, is kept as an open row without
a time: the next `again` fails. Where it is over while the task waits, engine/waiting/overdue.py fails it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, or_, select

from engine import inputs, jsontext
from engine.dialects.clock import now
from engine.keys import Key, chunks, key_of, pair_among
from engine.settling.settlement import Settlement, Verdict
from engine.states import Reason
from engine.tables import wait
from engine.waiting import waits
from engine.waiting.waits import POKE, NewWait


def timed_out(conn: Connection, settlements: Sequence[Settlement], verdicts: Sequence[Verdict]) -> Sequence[Settlement]:
    """The settlements, with each accepted `again` that comes after the limit of its task made a failure of it."""
    poked = [item.task.key for item, verdict in zip(settlements, verdicts, strict=True) if _counts(item, verdict)]
    over = {key_of(row): row for row in _limits(conn, poked) if row.is_over}
    if not over:
        return settlements
    return [
        failure(item, over[item.task.key]) if _counts(item, verdict) and item.task.key in over else item
        for item, verdict in zip(settlements, verdicts, strict=True)
    ]


def failure(item: Settlement, limit: Row[Any]) -> Settlement:
    """What a task settles as whose limit is over: another try if its rule allows one, else a person's."""
    task = item.task
    details = inputs.document(limit.details)
    seconds = details.get("timeout_s") if isinstance(details, dict) else None
    words = f"still not there after {seconds:g} s of poking" if isinstance(seconds, int | float) else "still not there"
    bare = item._replace(delay_s=0.0, due_at=None, poke_s=None, error=words)
    if task.retry.allows_after(task.attempt):
        return bare._replace(kind="retry", delay_s=task.retry.delay_after(task.attempt))
    return bare._replace(kind="suspend", reason=Reason.TIMED_OUT)


def follow(conn: Connection, accepted: Iterable[Settlement]) -> None:
    """Begin the limit with the first `again` that asks for one, and end it when the task settles in another way."""
    asking: dict[Key, float] = {}
    before: dict[Key, Settlement] = {}
    for item in accepted:
        if item.kind == "again" and item.poke_s is not None:
            asking[item.task.key] = item.poke_s
        # only a task that was claimed before can have a limit: the others cost nothing
        may_have = item.task.claim_no > 1 or item.overdue
        if may_have and item.kind != "release" and (item.kind != "again" or item.poke_s is not None):
            before[item.task.key] = item
    limits = _limits(conn, before)
    going_on = {key_of(row) for row in limits if key_of(row) in asking}
    ended = [row for row in limits if key_of(row) not in asking]
    over = {row.wait_id for row in ended if row.is_over and _is_failure(before[key_of(row)])}
    waits.write(conn, over, "expired")
    waits.write(conn, {row.wait_id for row in ended} - over, "cancelled")
    begun = {key: seconds for key, seconds in asking.items() if key not in going_on}
    waits.open_waits(conn, [_limit(key, seconds) for key, seconds in begun.items()])


def _limit(key: Key, seconds: float) -> NewWait:
    return NewWait(key, POKE, details=jsontext.dumps({"timeout_s": seconds}), delay_s=seconds)


def _limits(conn: Connection, keys: Collection[Key]) -> list[Row[Any]]:
    """The open limits of these tasks; `is_over` is judged by the database's clock."""
    if not keys:
        return []
    is_over = or_(wait.c.due_ts.is_(None), wait.c.due_ts <= now())
    columns = wait.c.wait_id, wait.c.task_flow_id, wait.c.task_exec_seq, wait.c.details, is_over.label("is_over")
    found: list[Row[Any]] = []
    for part in chunks(sorted(keys)):
        # the state as a parameter: an index of all open waits would be read from end to end
        of_tasks = pair_among(wait.c.task_flow_id, wait.c.task_exec_seq, part), wait.c.state == "open"
        found += conn.execute(select(*columns).where(*of_tasks, wait.c.kind == POKE))
    return found


def _counts(item: Settlement, verdict: Verdict) -> bool:
    return item.kind == "again" and item.task.claim_no > 1 and verdict.name == "ACCEPTED"


def _is_failure(item: Settlement) -> bool:
    return item.kind in ("suspend", "retry")
