"""The append-only record of what happened, for people and subscribers (`kr_event`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert

from engine import jsontext
from engine.dialects.clock import time_now
from engine.keys import Key
from engine.tables import event


@dataclass(frozen=True)
class Event:
    """One thing that happened: to a task instance, to a flow (`seq` 0), or to neither."""

    what: str
    flow_id: str | None = None
    seq: int | None = None
    actor: str = "watcher"
    details: dict[str, Any] = field(default_factory=dict)


def about(key: Key, what: str, actor: str = "watcher", **details: Any) -> Event:
    return Event(what, key.flow_id, key.seq, actor, details)


def deed(what: str, actor: str, note: str | None = None, **details: Any) -> Event:
    """What somebody did that is no single flow's; `note` says why."""
    return Event(what, None, None, actor, details | ({"note": note} if note else {}))


def record(conn: Connection, events: Sequence[Event]) -> None:
    """Append the events, in order, in the caller's transaction."""
    if events:
        at = time_now(conn)
        rows = [
            {
                "event_ts": at,
                "task_flow_id": item.flow_id,
                "task_exec_seq": item.seq,
                "what": item.what,
                "actor": item.actor,
                "details": jsontext.dumps(item.details) if item.details else None,
            }
            for item in events
        ]
        conn.execute(insert(event), rows)
