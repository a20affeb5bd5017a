"""The tries of task instances (`kr_task_attempt`): what did not simply finish, and what logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, insert, update

from engine.dialects.clock import now, time_now
from engine.dialects.for_rows import ForRows
from engine.dialects.given import select_given
from engine.dialects.rowset import one_of
from engine.dialects.types import Id
from engine.keys import Fence, chunks, joined, keyed
from engine.tables import attempt


@dataclass(frozen=True)
class Attempt:
    """One try. `accepted` says whether it settled the task; exactly one try of a finished task did."""

    fence: Fence
    claim_no: int
    outcome: str
    accepted: bool
    watcher_id: str | None = None
    claimed_ts: datetime | None = None
    lease_until_ts: datetime | None = None
    error: str | None = None
    traceback: str | None = None
    log: str | None = None
    generation: int = 0


_KEY = (attempt.c.task_flow_id, attempt.c.task_exec_seq, attempt.c.claim_id)
_KNOWN = ForRows(
    keyed(claim_id=Id(36)), lambda rows: select_given(rows, *_KEY, by_key_of=attempt).where(joined(rows, attempt))
)


def record(conn: Connection, attempts: Sequence[Attempt]) -> None:
    """Store tries, all ended now. One that was stored before, as lost, is written over; an accepted one stands."""
    if not attempts:
        return
    fences = sorted({item.fence for item in attempts})
    known: set[Fence] = set()
    for part in chunks(fences):
        known |= {Fence(*row) for row in _KNOWN(conn, part)}
    new = {item.fence: _row(item) for item in attempts if item.fence not in known}
    if new:
        at = time_now(conn)
        conn.execute(insert(attempt), [{**row, "ended_ts": at} for row in new.values()])
    for item in attempts:
        if item.fence in known:
            row = _row(item)
            row.pop("lease_until_ts")
            if row["log"] is None:  # what it had logged until then stays
                row.pop("log")
            if row["claimed_ts"] is None:  # the row has been claimed or set back since, and no longer knows
                row.pop("claimed_ts")
            same: list[ColumnElement[bool]] = [one_of(_KEY, [item.fence]), attempt.c.accepted.is_(False)]
            if item.outcome == "stale":  # said once more, after an answer that was lost: what was charged stays told
                same.append(attempt.c.outcome.in_(["lost", "stale"]))
            conn.execute(update(attempt).where(*same).values(**row, ended_ts=now()))


def _row(item: Attempt) -> dict[str, object]:
    row = asdict(item)
    flow_id, seq, claim_id = row.pop("fence")
    return {"task_flow_id": flow_id, "task_exec_seq": seq, "claim_id": claim_id, **row}
