"""Many rows by one INSERT ... SELECT from documents: rows as they are, or every row of a definition for each of many
flows, which the database multiplies.

Two hundred diamonds are ten rows and two hundred ids that way, instead of two thousand rows with a parameter for each
column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import Boolean, Connection, Double, Float, Insert, Integer, String, Table, bindparam, func, insert, true
from sqlalchemy.types import TypeEngine

from engine.dialects.given import document, given, select_given
from engine.dialects.types import LongText
from engine.keys import chunks

Rows = Sequence[Mapping[str, Any]]
MOST_ROWS: Final = 5_000
"""Of one statement, which the server gives a few seconds."""
LEAST_ROWS: Final = 8
"""Fewer are inserted as they are: there is less to build."""
MOST_CHARS: Final = 1 << 20
"""Of the texts in one document, which is one value to the server."""
MOST_STATEMENTS: Final = 500
"""Kept, of those that columns and what is alike in them ask for."""


class Like(NamedTuple):
    """A flow that has the rows of its definition as they are, but for its id and perhaps a priority of its own."""

    flow_id: str
    priority: int | None


def insert_rows(conn: Connection, table: Table, rows: Rows, **same: Any) -> None:
    """Insert these rows, which all have the same columns, each with what is the `same` in all."""
    if len(rows) >= LEAST_ROWS and travel(table, rows, columns := differing(rows)):
        same |= _alike(table, rows[0], columns)
        statement = _plain(table, columns, tuple(same))
        for part in chunks(rows, MOST_ROWS):
            conn.execute(statement, {"given": _document(columns, part), **same})
    elif rows:
        conn.execute(insert(table), [{**row, **same} for row in rows])


def insert_product(conn: Connection, table: Table, flows: Sequence[Like], rows: Rows, **same: Any) -> None:
    """Give each of these flows each of these rows, which all have the same columns and no `task_flow_id` yet."""
    columns = differing(rows)
    same |= _alike(table, rows[0], columns)
    statement, steps = _product(table, columns, tuple(same)), _document(columns, rows)
    for part in chunks(flows, max(1, MOST_ROWS // max(len(rows), 1))):
        conn.execute(statement, {"flows": document(part), "steps": steps, **same})


def differing(rows: Rows) -> tuple[str, ...]:
    """The columns that travel, as not all of these rows have the same in them; one column in any case."""
    names = sorted(rows[0])
    return tuple(name for name in names if len({row[name] for row in rows}) > 1) or (names[0],)


def travel(table: Table, rows: Rows, columns: Sequence[str]) -> bool:
    """Can these columns of the rows go in a document?"""
    chars = sum(len(value) for name in columns for row in rows if isinstance(value := row[name], str))
    return chars <= MOST_CHARS and all(_carried(table.c[name].type) for name in columns)


def columns_of(rows: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """The columns that any of these rows gives a value, in a lasting order."""
    return tuple(sorted({name for row in rows for name in row}))


def _alike(table: Table, row: Mapping[str, Any], columns: Sequence[str]) -> dict[str, Any]:
    """What is bound once, as every row has it: all but these columns, and NULL where the database gives that itself."""
    rest = {name: row[name] for name in sorted(row.keys() - set(columns))}
    return {name: value for name, value in rest.items() if value is not None or table.c[name].server_default}


def _document(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    return document([row[name] for name in columns] for row in rows)


@lru_cache(MOST_STATEMENTS)
def _plain(table: Table, columns: tuple[str, ...], same: tuple[str, ...]) -> Insert:
    """Parameters: given, and those of `same`."""
    rows = given(**_types(table, columns))
    values = {name: rows.c[name] for name in columns} | _bound(table, same)
    return insert(table).from_select(list(values), select_given(rows, *values.values()))


@lru_cache(MOST_STATEMENTS)
def _product(table: Table, columns: tuple[str, ...], same: tuple[str, ...]) -> Insert:
    """Parameters: flows, steps, and those of `same`."""
    flows = given("flows", flow_id=String(), priority=Integer())
    steps = given("steps", **_types(table, columns))
    values: dict[str, Any] = {"task_flow_id": flows.c.flow_id, **{name: steps.c[name] for name in columns}}
    values |= _bound(table, same)
    if "task_priority" in values:
        values["task_priority"] = func.coalesce(flows.c.priority, values["task_priority"])
    every = select_given(flows, *values.values()).join_from(flows, steps, true())
    return insert(table).from_select(list(values), every)


def _types(table: Table, columns: Iterable[str]) -> dict[str, TypeEngine[Any]]:
    """Of columns that travel."""
    found = {name: _carried(table.c[name].type) for name in columns}
    return {name: type_ for name, type_ in found.items() if type_ is not None}


def _bound(table: Table, names: Iterable[str]) -> dict[str, Any]:
    return {name: bindparam(name, type_=table.c[name].type) for name in names}


def _carried(type_: TypeEngine[Any]) -> TypeEngine[Any] | None:
    """As what a column's values travel; None for those that do not, such as times. Texts have no longest length on the
    way: it is for the column to refuse one, and not for the document to cut it short."""
    match type_:
        case Boolean():
            return None
        case Integer():
            return Integer()
        case Float():
            return Double()
        case String() | LongText():
            return String()
    return None
