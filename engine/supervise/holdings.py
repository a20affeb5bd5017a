"""What a watcher holds by the rows, against what it does run."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, select, update

from engine.database import Database
from engine.keys import KEY_COLUMNS, Fence, among
from engine.states import Reason, Status
from engine.tables import IS_RUNNING, task_stat
from engine.transitions import move


def held_by(conn: Connection, watcher_id: str) -> set[Fence]:
    """What the rows say that this watcher runs, to compare with what it does run."""
    query = select(*KEY_COLUMNS, task_stat.c.claim_id).where(IS_RUNNING, task_stat.c.owner == watcher_id)
    return {Fence(*row) for row in conn.execute(query)}


def let_go(db: Database, fences: Iterable[Fence]) -> int:
    """Say of exclusive tasks that were set back to 0 by hand that their programs have stopped: they may be claimed."""
    fences = sorted(fences)
    is_waiting = task_stat.c.exec_status == int(Status.WAIT)

    def work(conn: Connection) -> int:
        done = conn.execute(update(task_stat).where(among(fences), is_waiting).values(owner=None)).rowcount
        if done:
            db.dialect.notify(conn)
        return done

    return db.transact(work)


def give_back(db: Database, fences: Iterable[Fence]) -> int:
    """Return rows that name a watcher which does not run them: their claim's COMMIT was answered by nobody."""
    fences = list(fences)
    return db.transact(lambda conn: move(conn, "release", fences, reason=Reason.RELEASED))
