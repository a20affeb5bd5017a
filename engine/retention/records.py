"""Records: what was asked for, and what happened to no flow in particular. They outlive flows, and go by hand alone.

The newest of either kind stays whatever its age, so that numbers go on where they were.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, ColumnElement, Connection, Table, case, delete, func, literal_column, select

from engine import history
from engine.database import Database
from engine.dialects.clock import later
from engine.errors import BadRequest
from engine.keys import CHUNK
from engine.tables import command, event

PAUSE_S: Final = 0.02
"""Between transactions."""


@dataclass(frozen=True)
class Gone:
    """How many records were deleted, or would be."""

    commands: int = 0
    events: int = 0


@dataclass(frozen=True)
class _Kind:
    table: Table
    number: Column[Any]
    instant: Column[Any]
    what: ColumnElement[bool]


_COMMANDS: Final = _Kind(command, command.c.command_id, command.c.handled_ts, command.c.handled_ts.isnot(None))
_EVENTS: Final = _Kind(event, event.c.event_id, event.c.event_ts, event.c.task_flow_id.is_(None))


def prune_records(
    db: Database,
    older_than_s: float,
    *,
    by: str,
    dry_run: bool = False,
    pause_s: float = PAUSE_S,
    on_batch: Callable[[int], None] = lambda count: None,
) -> Gone:
    """Delete the commands that were handled, and the events of no flow that happened, more than `older_than_s` seconds
    ago, 500 to a transaction; that it was done is a record itself. With `dry_run` only count them.

    Errors: BadRequest for less than no time; FatalDatabaseError for an account that may not: the tables' owner may.
    """
    if not older_than_s >= 0:
        raise BadRequest("older_than_s", f"{older_than_s:g} is less than no time")
    counts: list[int] = []
    for kind in (_COMMANDS, _EVENTS):
        count = 0
        place: int | None = 0
        while (after := place) is not None:
            found, place = db.transact(lambda conn: _batch(conn, kind, older_than_s, after, dry_run))  # noqa: B023
            count += found
            on_batch(sum(counts) + count)
            if found and not dry_run:
                time.sleep(pause_s)
        counts.append(count)
    gone = Gone(*counts)
    if any(counts) and not dry_run:
        told: dict[str, Any] = {"commands": gone.commands, "events": gone.events, "older_than_s": older_than_s}
        db.transact(lambda conn: history.record(conn, [history.deed("records deleted", by, **told)]))
    return gone


def _batch(conn: Connection, kind: _Kind, older_than_s: float, after: int, dry_run: bool) -> tuple[int, int | None]:
    """Delete those of the next 500 that are old. Returns how many, and where to go on; None once one was young: the
    numbers are about in the order of the times."""
    newest = conn.scalar(select(func.max(kind.number)))
    is_old = case((kind.instant < later(-older_than_s), literal_column("1")), else_=literal_column("0"))
    query = select(kind.number, is_old).where(kind.what, kind.number > after).order_by(kind.number).limit(CHUNK)
    rows = conn.execute(query).all()
    old = [number for number, settled in rows if settled and number != newest]
    if old and not dry_run:
        conn.execute(delete(kind.table).where(kind.number.in_(old)))
    return len(old), rows[-1][0] if len(rows) == CHUNK and len(old) == CHUNK else None
