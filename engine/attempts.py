"""The tries of task instances (`kr_task_attempt`): what did not simply finish, and what logged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, update

from engine.dialects.clock import now
from engine.keys import Fence
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


def record(conn: Connection, attempts: Sequence[Attempt], *, again: bool = False) -> None:
    """Store tries, all ended now. With `again`, a try may have been stored before (as lost) and is written over."""
    if again:
        attempts = [item for item in attempts if not _overwrite(conn, item)]
    if attempts:
        conn.execute(insert(attempt).values(ended_ts=now()), [_row(item) for item in attempts])


def _overwrite(conn: Connection, item: Attempt) -> bool:
    row = _row(item)
    row.pop("lease_until_ts")
    same = [attempt.c[name] == row[name] for name in ("task_flow_id", "task_exec_seq", "claim_id")]
    return conn.execute(update(attempt).where(*same).values(**row, ended_ts=now())).rowcount == 1


def _row(item: Attempt) -> dict[str, object]:
    row = asdict(item)
    flow_id, seq, claim_id = row.pop("fence")
    return {"task_flow_id": flow_id, "task_exec_seq": seq, "claim_id": claim_id, **row}
