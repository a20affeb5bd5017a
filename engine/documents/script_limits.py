"""Limits that a SQL file changed, for the record: each with what it was and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select

from engine import history
from engine.limits.rows import Name
from engine.queries.rows import plain
from engine.tables import limit

Limits = Mapping[Name, dict[str, Any]]


def read(conn: Connection) -> Limits:
    """All limits, their columns as documents show them."""
    columns = [column for column in limit.c if not column.primary_key]
    query = select(limit.c.scope, limit.c.name, *columns)
    return {
        Name(row.scope, row.name): plain({column.name: row._mapping[column] for column in columns})
        for row in conn.execute(query)
    }


def record(conn: Connection, before: Limits, by: str, note: str | None) -> None:
    """An event for each limit that is not what it was `before`."""
    after = read(conn)
    changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
    history.record(conn, [_deed(name, before.get(name), after.get(name), by, note) for name in changed])


def _deed(name: Name, before: Any, after: Any, by: str, note: str | None) -> history.Event:
    what = "limit dropped" if after is None else "limit set"
    return history.deed(what, by, note, scope=name.scope, name=name.name, before=before, after=after)
