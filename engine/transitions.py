"""The only UPDATE of exec_status: one guarded statement for any number of rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from operator import attrgetter, itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Update, literal_column, null, update

from engine.dialects.clock import now
from engine.dialects.for_rows import Columns, ForRows, Rows
from engine.dialects.given import update_given
from engine.keys import Fence, Key, among, chunks, joined
from engine.states import TRANSITIONS
from engine.tables import STATUS_BY_KEY, task_stat

_key_of = itemgetter(0, 1)


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
    statement = update(task_stat).where(_sources(name), *guards).values(**_values(name, columns))
    ordered: list[Any] = sorted(keys)
    return sum(int(conn.execute(statement.where(among(part))).rowcount) for part in chunks(ordered))


class Move:
    """A transition as `move` makes it, whose statement is built once: for what every turn of a watcher does.

    `given` names what it is given of each row (`keys.keyed`): its key or fence, and further values. A column is set to
    a value that is the same for all, or to one that is worked out of what is given of the row (`told`).
    """

    def __init__(
        self,
        name: str,
        given: Columns,
        *guards: ColumnElement[bool],
        **columns: Any,
    ) -> None:
        self.name = name

        def build(rows: Rows) -> Update:
            values = {column: value(rows) if callable(value) else value for column, value in columns.items()}
            moved = update_given(task_stat).where(joined(rows), _sources(name, STATUS_BY_KEY), *guards)
            return moved.values(**_values(name, values))

        self.statement = ForRows(given, build)

    def __call__(self, conn: Connection, rows: Collection[Sequence[Any]], **bound: Any) -> int:
        """Move these rows, and say how many moved. `bound`: the parameters that the columns name."""
        ordered = sorted(rows, key=_key_of)
        return sum(int(self.statement(conn, part, **bound).rowcount) for part in chunks(ordered))


def told(name: str) -> Callable[[Rows], Any]:
    """The value of this name that a row is given."""
    return attrgetter(f"c.{name}")


def _sources(name: str, status: ColumnElement[int] = task_stat.c.exec_status) -> ColumnElement[bool]:
    # literals: a list of parameters would be spelled out anew at each execution
    return status.in_([literal_column(str(int(it))) for it in sorted(TRANSITIONS[name].source)])


def _values(name: str, columns: dict[str, Any]) -> dict[str, Any]:
    step = TRANSITIONS[name]
    values: dict[str, Any] = dict.fromkeys(step.clears, null())
    if step.stamp:
        values[step.stamp] = now()
    return values | {"exec_status": int(step.target), **columns}
