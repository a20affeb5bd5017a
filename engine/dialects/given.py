"""Rows that a statement is given in one parameter, as a table to join: keys to look up, and values to write to each.

The rows travel as one JSON document, so a statement has one text for any number of rows: it is built once, and finds
each row by an index. Lists of tuples would be held against every row by MariaDB (500 keys: 140 ms instead of 6), looked
for from end to end by SQLite, and parsed anew for each length by PostgreSQL.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import (
    ColumnElement,
    Double,
    Index,
    Integer,
    Select,
    String,
    Table,
    TableValuedAlias,
    Update,
    bindparam,
    column,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.visitors import InternalTraversal
from sqlalchemy.types import TypeEngine

from engine.dialects.types import Id

_MYSQL = ("mysql", "mariadb")
_BY_KEY = "FORCE INDEX (PRIMARY)"


def given(called: str = "given", /, **columns: TypeEngine[Any]) -> TableValuedAlias:
    """A table of the rows that are bound to the parameter of this name, as a `document`. Types: Id, String, Integer,
    Double.

    It is joined by naming its columns in the WHERE of a `select_given` or an `update_given`.
    """
    parts = tuple(column(name, type_) for name, type_ in columns.items())
    return _Document(called, parts).table_valued(*parts, name=called)


def select_given(
    rows: Any, *columns: ColumnElement[Any], by_key_of: Table | None = None, by: Index | None = None
) -> Select[Any]:
    """SELECT these columns of rows that are looked up one by one: by the primary key where its table is named, or by
    an index that is. `rows`: the table that is given, or one row of it (engine/dialects/for_rows.py).

    MariaDB and MySQL are told to begin with what is given, and how to go on: where few rows are in a table, or match
    another condition, they would read those from end to end, and lock them all.
    """
    query: Select[Any] = select(*columns)
    if isinstance(rows, TableValuedAlias):
        query = query.select_from(rows)
    for dialect in _MYSQL:
        query = query.prefix_with("STRAIGHT_JOIN", dialect=dialect)
        if by_key_of is not None:
            query = query.with_hint(by_key_of, _BY_KEY, dialect)
        if by is not None and by.table is not None:
            query = query.with_hint(by.table, f"FORCE INDEX ({by.name})", dialect)
    return query


class update_given(Update):  # noqa: N801 - it reads as a function in statements
    """UPDATE rows that are looked up one by one by their primary key, in the order given, as `select_given` does."""

    inherit_cache = True


def document(rows: Iterable[Sequence[Any]]) -> str:
    """Rows with a value for each column, in the order in which they are to be locked."""
    return orjson.dumps(list(rows), default=tuple).decode()  # a named tuple is none to orjson


@compiles(update_given, *_MYSQL)
def _as_straight_join(element: update_given, compiler: Any, **options: Any) -> str:
    text: str = compiler.visit_update(element, **options)
    tables = r"^UPDATE (\S+), (JSON_TABLE\(.*?\) AS given) SET"
    return re.sub(tables, rf"UPDATE \2 STRAIGHT_JOIN \1 {_BY_KEY} SET", text, count=1)


class _Document(FunctionElement[Any]):
    inherit_cache = True
    _traverse_internals = [  # noqa: RUF012 - SQLAlchemy's own form
        *FunctionElement._traverse_internals,
        ("parts", InternalTraversal.dp_clauseelement_tuple),
    ]

    def __init__(self, called: str, parts: tuple[Any, ...]) -> None:
        self.parts = parts
        super().__init__(bindparam(called, type_=String()))


@compiles(_Document, "sqlite")
def _as_json_each(element: _Document, compiler: Any, **options: Any) -> str:
    return json_each(element.parts, compiler.process(element.clauses, **options))


@compiles(_Document, "postgresql")
def _as_jsonb(element: _Document, compiler: Any, **options: Any) -> str:
    return jsonb_array_elements(element.parts, compiler.process(element.clauses, **options))


def json_each(columns: Sequence[ColumnElement[Any]], parameter: str) -> str:
    """SQLite: the rows of a document as a subquery with these columns."""
    # the casts give each value its column's affinity, without which no index is used
    values = ", ".join(
        f"CAST(json_extract(value, '$[{place}]') AS {_sqlite_type(part.type)}) AS {part.key}"
        for place, part in enumerate(columns)
    )
    return f"(SELECT {values} FROM json_each({parameter}))"


def jsonb_array_elements(columns: Sequence[ColumnElement[Any]], parameter: str) -> str:
    """PostgreSQL: the same. Without the limit it would plan for a hundred rows whatever it is given, and read small
    tables, and those that it takes to be small, from end to end; the order of the rows is kept as well."""
    values = ", ".join(
        f"(item->>{place})::{_postgresql_type(part.type)} AS {part.key}" for place, part in enumerate(columns)
    )
    rows = f"CAST({parameter} AS jsonb)"
    return f"(SELECT {values} FROM jsonb_array_elements({rows}) AS item LIMIT jsonb_array_length({rows}))"


@compiles(_Document, *_MYSQL)
def _as_json_table(element: _Document, compiler: Any, **options: Any) -> str:
    columns = ", ".join(
        f"{part.name} {_mysql_type(part.type, compiler)} PATH '$[{place}]'" for place, part in enumerate(element.parts)
    )
    return f"JSON_TABLE({compiler.process(element.clauses, **options)}, '$[*]' COLUMNS ({columns}))"


def _sqlite_type(type_: TypeEngine[Any]) -> str:
    return "INTEGER" if isinstance(type_, Integer) else "REAL" if isinstance(type_, Double) else "TEXT"


def _postgresql_type(type_: TypeEngine[Any]) -> str:
    return "bigint" if isinstance(type_, Integer) else "double precision" if isinstance(type_, Double) else "varchar"


def _mysql_type(type_: TypeEngine[Any], compiler: Any) -> str:
    if isinstance(type_, Integer):
        return "BIGINT"
    if isinstance(type_, Double):
        return "DOUBLE"
    if isinstance(type_, Id):
        return str(compiler.dialect.type_compiler_instance.process(type_))
    return "MEDIUMTEXT CHARACTER SET utf8mb4"
