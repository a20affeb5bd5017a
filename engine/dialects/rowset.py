"""The condition "this row is one of these", over several columns and hundreds of rows, served by an index everywhere.

MariaDB and MySQL read `(a, b) IN ((..), (..))` as ranges of an index; but of a single row MariaDB makes `(a, b) = ..`,
for which an UPDATE scans the whole table, so a single row is compared column by column. SQLite scans for all of these,
and PostgreSQL parses and plans each length of the list anew; given the rows as one JSON parameter both seek each of
them, and the statement keeps one text for any number of rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Boolean, Column, ColumnElement, Integer, String, and_, bindparam, tuple_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.visitors import InternalTraversal


class one_of(ColumnElement[bool]):  # noqa: N801 - it reads as a function in statements
    """True for rows whose `columns` (texts and integers) equal one of `rows`, which are never none."""

    inherit_cache = True
    type = Boolean()
    _traverse_internals = [  # noqa: RUF012 - SQLAlchemy's own form
        ("plain", InternalTraversal.dp_clauseelement),
        ("columns", InternalTraversal.dp_clauseelement_tuple),
        ("document", InternalTraversal.dp_clauseelement),
    ]

    def __init__(self, columns: Sequence[Column[Any]], rows: Collection[Sequence[Any]]) -> None:
        values = [tuple(row) for row in rows]
        self.plain = _equal(columns, values[0]) if len(values) == 1 else tuple_(*columns).in_(values)
        self.columns = tuple(columns)
        self.document = bindparam(None, json.dumps(values), type_=String(), unique=True)

    def self_group(self, against: Any = None) -> ColumnElement[bool]:
        return self  # else SQLAlchemy writes `(...) = 1` where a database has no booleans, which hides the index


def _equal(columns: Sequence[Column[Any]], row: Sequence[Any]) -> ColumnElement[bool]:
    return and_(*(column == value for column, value in zip(columns, row, strict=True)))


@compiles(one_of)
def _as_tuples(element: one_of, compiler: Any, **options: Any) -> str:
    return f"({compiler.process(element.plain, **options)})"


@compiles(one_of, "sqlite")
def _as_document(element: one_of, compiler: Any, **options: Any) -> str:
    columns = ", ".join(compiler.process(column, **options) for column in element.columns)
    # the casts give each value its column's affinity, without which the index is not used
    values = ", ".join(
        f"CAST(json_extract(value, '$[{place}]') AS {'INTEGER' if isinstance(column.type, Integer) else 'TEXT'})"
        for place, column in enumerate(element.columns)
    )
    return f"(({columns}) IN (SELECT {values} FROM json_each({compiler.process(element.document, **options)})))"


@compiles(one_of, "postgresql")
def _as_jsonb(element: one_of, compiler: Any, **options: Any) -> str:
    columns = ", ".join(compiler.process(column, **options) for column in element.columns)
    values = ", ".join(
        f"(item->>{place})::{'bigint' if isinstance(column.type, Integer) else 'varchar'}"
        for place, column in enumerate(element.columns)
    )
    document = compiler.process(element.document, **options)
    return f"(({columns}) IN (SELECT {values} FROM jsonb_array_elements(CAST({document} AS jsonb)) AS item))"
