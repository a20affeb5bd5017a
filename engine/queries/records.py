"""Records in the order of their numbers, for whoever takes them out of the database: each once, and none left out.

A number is given when a row is inserted and seen when that is committed, so one may be missing for a moment. Nothing
behind it is given out until it is there, or until the row behind it is a minute old: no transaction of Penstock's lasts
so long, so the missing one was rolled back. A command that waits for a watcher holds up those behind it likewise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from sqlalchemy import Column, Connection, Row, Select, case, literal_column, select

from engine.access import EVERYTHING, Reach
from engine.dialects.clock import later
from engine.queries.events import event_of, narrowed
from engine.queries.operating import command_of
from engine.queries.pages import check_limit
from engine.queries.tasks import check_flow
from engine.tables import command, event

SETTLED_S: Final = 60.0
LOOKED_AT: Final = 5_000
"""Numbers that are looked at for one page of a list that is narrowed: it may be short, even empty, and not the last."""
Records = tuple[list[dict[str, Any]], int | None]
"""Rows, oldest first, and the number that the next page comes behind; None if there is nothing more for now."""
Listing = Callable[..., Records]


def commands_behind(conn: Connection, after: int, *, limit: int = 50, subject: str | None = None) -> Records:
    """The next commands that have been carried out or refused. Errors: BadRequest."""
    check_limit(limit)
    query = select(command)
    if subject is not None:
        query = query.where(command.c.subject == subject)
    place = _Place(command.c.command_id, command.c.handled_ts, after, limit)
    rows, following = place.page(conn, query, is_narrowed=subject is not None)
    return [command_of(row._mapping) for row in rows], following


def events_behind(
    conn: Connection, after: int, *, limit: int = 50, flow_id: str | None = None, within: Reach = EVERYTHING
) -> Records:
    """The next events. Errors: BadRequest; UnknownFlow, also for a flow of a workflow that is not `within`."""
    check_limit(limit)
    if flow_id is not None:
        check_flow(conn, flow_id, within)
        within = EVERYTHING
    query = narrowed(select(event), flow_id, within)
    place = _Place(event.c.event_id, event.c.event_ts, after, limit)
    rows, following = place.page(conn, query, is_narrowed=flow_id is not None or not within.is_all)
    return [event_of(row._mapping) for row in rows], following


def from_either_end(
    conn: Connection, newest_first: Listing, behind: Listing, *, after: int | None, place: int | None, **where: Any
) -> Records:
    """A page of a list, newest first, or behind the number `after`; `place` is where the page before it ended."""
    if after is None:
        return newest_first(conn, before=place, **where)
    return behind(conn, after if place is None else place, **where)


class _Place(NamedTuple):
    """Where to go on in a table, and how many rows are wanted."""

    number: Column[Any]
    instant: Column[Any]
    after: int
    limit: int

    def page(self, conn: Connection, query: Select[Any], *, is_narrowed: bool) -> tuple[list[Row[Any]], int | None]:
        last, following = self._reached(conn, LOOKED_AT if is_narrowed else self.limit)
        between = query.where(self.number > self.after, self.number <= last).order_by(self.number)
        rows = list(conn.execute(between.limit(self.limit)))
        if is_narrowed and len(rows) == self.limit:
            following = rows[-1]._mapping[self.number.name]
        return rows, following

    def _reached(self, conn: Connection, most: int) -> tuple[int, int | None]:
        """The last of the next numbers behind which none can be missing; and again, if there may be more of them."""
        is_old = case((self.instant < later(-SETTLED_S), literal_column("1")), else_=literal_column("0"))
        query = select(self.number, self.instant, is_old).where(self.number > self.after)
        last, count = self.after, 0
        for seen, at, settled in conn.execute(query.order_by(self.number).limit(most)):
            if at is None or (seen != last + 1 and not settled):
                return last, None
            last, count = seen, count + 1
        return last, last if count == most else None
