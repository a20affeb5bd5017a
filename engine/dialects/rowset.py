"""The condition "this row is one of these", over several columns and hundreds of rows, served by an index everywhere.

MariaDB and MySQL read `(a, b) IN ((..), (..))` as ranges of an index, but then hold every row that they find against
the list from its beginning, and read a list of one row as no range at all. What many rows have in common is therefore
compared once: `a = .. AND b IN (..)` takes 3 ms for 500 rows where the tuples take 70 to 200. SQLite scans the whole
table for tuples, and PostgreSQL parses and plans each length of the list anew; given the rows as one JSON parameter
both seek each of them, and the statement keeps one text for any number of rows.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from sqlalchemy import Boolean, Column, ColumnElement, String, and_, bindparam, or_, tuple_
from sqlalchemy.exc import CompileError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.visitors import InternalTraversal

from engine.dialects.given import json_each, jsonb_array_elements

_documents_do: ContextVar[bool] = ContextVar("penstock_documents_do", default=False)
MAX_GROUPS = 8
"""Groups of rows with something in common that one condition tells apart."""


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
        self.plain = None if _documents_do.get() else _grouped(tuple(columns), values)
        self.columns = tuple(columns)
        self.document = bindparam(None, json.dumps(values), type_=String(), unique=True)

    def self_group(self, against: Any = None) -> ColumnElement[bool]:
        return self  # else SQLAlchemy writes `(...) = 1` where a database has no booleans, which hides the index


def _grouped(columns: tuple[Column[Any], ...], rows: Sequence[tuple[Any, ...]]) -> ColumnElement[bool]:
    """What all rows have in common once; of what is left, if there are few enough, one condition for each group."""
    values = [set(column) for column in zip(*rows, strict=True)]
    left = [place for place, found in enumerate(values) if len(found) > 1 or None in found] or [len(columns) - 1]
    same = [columns[place] == rows[0][place] for place in range(len(columns)) if place not in left]
    if len(left) == 1:
        return and_(*same, columns[left[0]].in_([row[left[0]] for row in rows]))
    first = min(left, key=lambda place: len(values[place]))
    if len(left) == 2 and len(values[first]) <= MAX_GROUPS and None not in values[first]:
        return and_(*same, _split(columns, rows, first, sum(left) - first))
    return and_(*same, tuple_(*(columns[place] for place in left)).in_([tuple(row[at] for at in left) for row in rows]))


def _split(
    columns: tuple[Column[Any], ...], rows: Sequence[tuple[Any, ...]], first: int, second: int
) -> ColumnElement[bool]:
    groups: dict[Any, list[Any]] = {}
    for row in rows:
        groups.setdefault(row[first], []).append(row[second])
    conditions = [and_(columns[first] == value, columns[second].in_(rest)) for value, rest in groups.items()]
    while len(conditions) & (len(conditions) - 1):  # two, four or eight of them: few texts for the database to know
        conditions.append(conditions[-1])
    return or_(*conditions)


@contextmanager
def documents_do() -> Iterator[None]:
    """Inside the block, leave out the form for databases that read no documents: it takes longer to make than what
    the others need."""
    token = _documents_do.set(True)
    try:
        yield
    finally:
        _documents_do.reset(token)


@compiles(one_of)
def _as_tuples(element: one_of, compiler: Any, **options: Any) -> str:
    if element.plain is None:
        raise CompileError("this condition was made for a database that reads documents")
    return f"({compiler.process(element.plain, **options)})"


@compiles(one_of, "sqlite")
def _as_document(element: one_of, compiler: Any, **options: Any) -> str:
    columns = ", ".join(compiler.process(column, **options) for column in element.columns)
    return f"(({columns}) IN {json_each(element.columns, compiler.process(element.document, **options))})"


@compiles(one_of, "postgresql")
def _as_jsonb(element: one_of, compiler: Any, **options: Any) -> str:
    columns = ", ".join(compiler.process(column, **options) for column in element.columns)
    return f"(({columns}) IN {jsonb_array_elements(element.columns, compiler.process(element.document, **options))})"
