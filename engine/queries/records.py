"""Records in the order of their numbers, for whoever takes them out of the database: each once, and none left out.

A number is given when a row is inserted and seen when that is committed, so one may be missing for a moment. Nothing
behind it is given out until it is there, or until the row behind it is a minute old: no transaction of Penstock's lasts
so long, so the missing one was rolled back. A command that waits for a watcher holds up those behind it likewise.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, Connection, Select, case, literal_column, select

from engine.access import EVERYTHING, Reach
from engine.dialects.clock import later
from engine.queries.events import event_of, narrowed
from engine.queries.operating import command_of
from engine.queries.pages import check_limit
from engine.queries.tasks import check_flow
from engine.tables import command, event

SETTLED_S: Final = 60.0
Records = tuple[list[dict[str, Any]], int | None]
"""Rows, oldest first, and the number that the next page comes behind; None if there is nothing more for now."""


def commands_behind(conn: Connection, after: int, *, limit: int = 50, subject: str | None = None) -> Records:
    """The next commands that have been carried out or refused. Errors: BadRequest."""
    check_limit(limit)
    number = command.c.command_id
    last, following = _reached(conn, number, command.c.handled_ts, after, limit)
    query = _between(select(command), number, after, last)
    if subject is not None:
        query = query.where(command.c.subject == subject)
    return [command_of(row._mapping) for row in conn.execute(query)], following


def events_behind(
    conn: Connection, after: int, *, limit: int = 50, flow_id: str | None = None, within: Reach = EVERYTHING
) -> Records:
    """The next events. Errors: BadRequest; UnknownFlow, also for a flow of a workflow that is not `within`."""
    check_limit(limit)
    if flow_id is not None:
        check_flow(conn, flow_id, within)
        within = EVERYTHING
    number = event.c.event_id
    last, following = _reached(conn, number, event.c.event_ts, after, limit)
    query = _between(narrowed(select(event), flow_id, within), number, after, last)
    return [event_of(row._mapping) for row in conn.execute(query)], following


def _reached(
    conn: Connection, number: Column[Any], instant: Column[Any], after: int, limit: int
) -> tuple[int, int | None]:
    """The last of the next `limit` numbers behind which none can be missing, and whether there may be more of them."""
    is_old = case((instant < later(-SETTLED_S), literal_column("1")), else_=literal_column("0"))
    query = select(number, instant, is_old).where(number > after).order_by(number).limit(limit)
    last, count = after, 0
    for seen, at, settled in conn.execute(query):
        if at is None or (seen != last + 1 and not settled):
            return last, None
        last, count = seen, count + 1
    return last, last if count == limit else None


def _between(query: Select[Any], number: Column[Any], after: int, last: int) -> Select[Any]:
    return query.where(number > after, number <= last).order_by(number)
