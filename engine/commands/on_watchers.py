"""Commands on watchers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from engine import history
from engine.commands.changes import Side, state_of, watched
from engine.commands.command import Asked, Command, NoArguments, Noun
from engine.database import Database
from engine.dialects.clock import now
from engine.errors import Conflict, UnknownWatcher
from engine.leases import DRAIN
from engine.tables import watcher


def _drain(conn: Connection, db: Database, asked: Asked[NoArguments], before: Side) -> Mapping[str, Any]:
    mine = watcher.c.watcher_id == asked.subject
    row = conn.execute(select(watcher.c.state, (watcher.c.lease_until_ts > now()).label("lives")).where(mine)).first()
    if row is None:
        raise UnknownWatcher(asked.subject)
    if not row.lives:
        raise Conflict(f"watcher {asked.subject!r}", "is not alive", "its tasks go back by themselves")
    conn.execute(update(watcher).where(mine).values(wanted=DRAIN))
    history.record(conn, [history.deed("drain asked", asked.actor.name, asked.reason, watcher=asked.subject)])
    db.dialect.notify(conn)
    return {"watcher_id": asked.subject}


def _wanted(conn: Connection, asked: Asked[NoArguments], lock: bool) -> Side:
    return state_of(conn, [watcher.c.wanted], watcher.c.watcher_id == asked.subject, lock=lock)


COMMANDS = (
    Command("drain", Noun.WATCHER, "Let a watcher finish what it runs, and end", watched(_wanted, _drain), NoArguments),
)
