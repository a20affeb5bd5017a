"""The only UPDATE of exec_status: one guarded statement for any number of rows."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Connection, null, update

from engine.dialects.clock import now
from engine.keys import Fence, Key, among, chunks
from engine.states import TRANSITIONS
from engine.tables import task_stat


def move(
    conn: Connection,
    name: str,
    keys: Collection[Key] | Collection[Fence],
    *guards: ColumnElement[bool],
    **columns: Any,
) -> int:
    """Apply one named transition to these rows, and say how many rows it moved.

    A row moves only from a status that the transition allows, only under the claim of its fence where fences are
    given, and only if every further guard holds. `columns` are set along; they override what the transition clears.
    """
    step = TRANSITIONS[name]
    values: dict[str, Any] = dict.fromkeys(step.clears, null())
    if step.stamp:
        values[step.stamp] = now()
    values |= {"exec_status": int(step.target), **columns}
    sources = task_stat.c.exec_status.in_([int(status) for status in sorted(step.source)])
    statement = update(task_stat).where(sources, *guards).values(**values)
    ordered: list[Any] = sorted(keys)
    return sum(int(conn.execute(statement.where(among(part))).rowcount) for part in chunks(ordered))
