"""The lease of a watcher: one row, beaten by the watcher itself, judged by the database's clock alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select, update

from engine.dialects.clock import later, now
from engine.tables import IS_RUNNING, task_stat, watcher

FORGET_AFTER_S = 86_400.0
"""How long the row of a dead watcher is kept for people to read."""


def enlist(
    conn: Connection, watcher_id: str, lease_s: float, *, label: str = "", slots: int = 0, queues: Sequence[str] = ()
) -> None:
    """Make the row of a watcher that starts; its lease begins now. Units: lease_s in seconds. May be done again, if the
    answer to a COMMIT was lost."""
    conn.execute(delete(watcher).where(watcher.c.watcher_id == watcher_id))
    conn.execute(
        insert(watcher).values(
            watcher_id=watcher_id,
            label=label,
            host=socket.gethostname()[:256],
            pid=os.getpid(),
            queues=",".join(queues)[:1024],
            slots=slots,
            state="running",
            started_ts=now(),
            beat_ts=now(),
            lease_until_ts=later(lease_s),
        )
    )


def beat(conn: Connection, watcher_id: str, lease_s: float, *, state: str = "running") -> bool:
    """Extend the lease. False if the row is gone: the watcher was given up and must enlist again."""
    extended = {"beat_ts": now(), "lease_until_ts": later(lease_s), "state": state}
    return conn.execute(update(watcher).where(watcher.c.watcher_id == watcher_id).values(extended)).rowcount == 1


def leave(conn: Connection, watcher_id: str) -> None:
    """End the lease at once: whatever the watcher still holds may be taken."""
    ended = {"lease_until_ts": now(), "state": "stopped"}
    conn.execute(update(watcher).where(watcher.c.watcher_id == watcher_id).values(ended))


def forget_dead(conn: Connection) -> int:
    """Delete rows of watchers dead for a day that hold no task."""
    holds = exists(select(1).where(task_stat.c.owner == watcher.c.watcher_id, IS_RUNNING))
    return conn.execute(delete(watcher).where(watcher.c.lease_until_ts < later(-FORGET_AFTER_S), ~holds)).rowcount


def owner_is_alive() -> ColumnElement[bool]:
    """For a row of kr_task_stat: does its owner hold a valid lease at this moment of the database's time?"""
    return exists(
        select(1).where(watcher.c.watcher_id == task_stat.c.owner, watcher.c.lease_until_ts > now())
    ).correlate(task_stat)
