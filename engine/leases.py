"""The lease of a watcher: one row, beaten by the watcher itself, judged by the database's clock alone."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, Connection, delete, exists, insert, select, update

from engine import jsontext
from engine.dialects.clock import later, now
from engine.failpoints import hit
from engine.tables import IS_RUNNING, task_stat, watcher

MAX_AHEAD_S = 2.0
"""A beat that is further ahead of the database's clock belongs to a time that the clock was set back from."""
DRAIN = "drain"
"""What an operator wants of a watcher: to finish what it runs, and to end."""
FORGET_AFTER_S = 86_400.0
"""How long the row of a dead watcher is kept for people to read."""


def enlist(
    conn: Connection,
    watcher_id: str,
    lease_s: float,
    *,
    label: str = "",
    slots: int = 0,
    queues: Sequence[str] = (),
    programs: Collection[str] = (),
    pid: int | None = None,
    state: str = "running",
    host: str | None = None,
) -> None:
    """Make the row of a watcher that starts; its lease begins now. Units: lease_s in seconds. `pid` is the watcher's,
    where another process than itself enlists it, and `host` where that is on another machine. May be done again, if
    the answer to a COMMIT was lost."""
    conn.execute(delete(watcher).where(watcher.c.watcher_id == watcher_id))
    conn.execute(
        insert(watcher).values(
            watcher_id=watcher_id,
            label=label,
            host=(socket.gethostname() if host is None else host)[:256],
            pid=os.getpid() if pid is None and host is None else pid,
            queues=",".join(queues)[:1024],
            programs=jsontext.dumps(sorted(programs)),
            slots=slots,
            state=state,
            started_ts=now(),
            beat_ts=now(),
            lease_until_ts=later(lease_s),
        )
    )


def beat(conn: Connection, watcher_id: str, lease_s: float, *, state: str = "running") -> bool:
    """Extend the lease. False if the row is gone: the watcher was given up and must enlist again."""
    hit("heartbeat.before_beat")
    extended = {"beat_ts": now(), "lease_until_ts": later(lease_s), "state": state}
    kept = conn.execute(update(watcher).where(watcher.c.watcher_id == watcher_id).values(extended)).rowcount == 1
    hit("heartbeat.after_beat")
    return kept


def leave(conn: Connection, watcher_id: str) -> None:
    """End the lease at once: whatever the watcher still holds may be taken."""
    ended = {"lease_until_ts": now(), "state": "stopped"}
    conn.execute(update(watcher).where(watcher.c.watcher_id == watcher_id).values(ended))


def forget_dead(conn: Connection) -> int:
    """Delete rows of watchers dead for a day that hold no task."""
    holds = exists(select(1).where(task_stat.c.owner == watcher.c.watcher_id, IS_RUNNING))
    return conn.execute(delete(watcher).where(watcher.c.lease_until_ts < later(-FORGET_AFTER_S), ~holds)).rowcount


def offered(conn: Connection, queues: Sequence[str], *, besides: str) -> dict[str, frozenset[str]]:
    """What the other live watchers offer for these queues, remote workers among them. Shape: queue -> programs."""
    alive = watcher.c.lease_until_ts > now(), watcher.c.watcher_id != besides, watcher.c.state == "running"
    rows = conn.execute(select(watcher.c.queues, watcher.c.programs).where(*alive, watcher.c.programs.isnot(None)))
    found: dict[str, set[str]] = {queue: set() for queue in queues}
    for row in rows:
        for queue in found.keys() & set((row.queues or "").split(",")):
            found[queue].update(names_in(row.programs))
    return {queue: frozenset(names) for queue, names in found.items()}


def names_in(words: str) -> list[str]:
    """The programs in a list that a watcher wrote; none, where a person has spoilt it."""
    try:
        names = jsontext.loads(words)
    except jsontext.NotJSON:  # a row that a person has touched
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def owner_is_alive() -> ColumnElement[bool]:
    """For a row of kr_task_stat: does its owner hold a valid lease at this moment of the database's time?

    A beat in the future was made before the clock was set back: it would keep a dead watcher alive for as long."""
    is_valid = watcher.c.lease_until_ts > now(), watcher.c.beat_ts <= later(MAX_AHEAD_S)
    return exists(select(1).where(watcher.c.watcher_id == task_stat.c.owner, *is_valid)).correlate(task_stat)
