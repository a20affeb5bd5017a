"""Tasks that await something, for tests: what a watcher settles when a program answers `Await` or `Again`."""

from __future__ import annotations

from typing import Any

from factories import claim, enlisted, rows, settle_as, sql, start
from sqlalchemy import select

from engine.claimed import ClaimedTask
from engine.database import Database
from engine.inputs import Arrived, arrivals_of
from engine.keys import Key
from engine.settle import Settled, Settlement, Verdict
from engine.tables import wait, watcher
from engine.wishes import WaitWish


def await_it(db: Database, *claimed: ClaimedTask, kind: str = "message", **wish: Any) -> Settled:
    """Settle these tasks as awaiting, each for one thing."""
    if kind == "message":
        wish = {"name": "paid", "key": "7", **wish}
    return settle_as(db, [Settlement(item, "await", wait=WaitWish(kind, **wish)) for item in claimed])


def awaiting(db: Database, kind: str = "message", task_id: str = "w", **wish: Any) -> Key:
    """A new flow whose first task awaits this; the workflow has been defined."""
    if not rows(db, watcher):
        enlisted(db)
    flow_id = start(db, task_id)
    (held,) = [item for item in claim(db, 500) if item.key.flow_id == flow_id]
    assert await_it(db, held, kind=kind, **wish).verdicts == [Verdict.ACCEPTED]
    return held.key


def waits_of(db: Database, key: Key) -> list[Any]:
    """The waits of a task, oldest first."""
    mine = wait.c.task_flow_id == key.flow_id, wait.c.task_exec_seq == key.seq
    with db.read() as conn:
        return list(conn.execute(select(wait).where(*mine).order_by(wait.c.created_ts, wait.c.wait_id)))


def wait_of(db: Database, key: Key) -> Any:
    (only,) = waits_of(db, key)
    return only


def arrived(db: Database, key: Key) -> list[Arrived]:
    with db.read() as conn:
        return arrivals_of(conn, key)


def make_due(db: Database) -> None:
    """The time of every open wait is over."""
    sql(db, "UPDATE kr_wait SET due_ts = '2001-01-01 00:00:00' WHERE state = 'open'")
