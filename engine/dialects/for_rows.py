"""Statements that are built once, for rows that they are given when they run.

Several rows travel as one document to join (`engine/dialects/given.py`). A single row, as where one step follows
another, is quicker as plain values: nothing is parsed and joined, and the statement names the row by its key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

from sqlalchemy import Connection, CursorResult, Executable, bindparam
from sqlalchemy.types import TypeEngine

from engine.dialects.given import document, given

Columns = Mapping[str, TypeEngine[Any]]


class Rows(Protocol):
    """What a statement is built on: `rows.c.NAME` is a value of the row that it is given, or of each of the rows."""

    @property
    def c(self) -> Any: ...


class OneRow:
    """A row whose values are parameters of their own, called as `_parameter` says."""

    def __init__(self, columns: Columns) -> None:
        self.c = SimpleNamespace(**{name: bindparam(_parameter(name), type_=type_) for name, type_ in columns.items()})


class ForRows:
    """A statement in both forms. `columns` name what it is given of each row, in their order, by what `given` takes;
    `build` makes it, and is called once for each form."""

    def __init__(self, columns: Columns, build: Callable[[Rows], Executable]) -> None:
        self._names = tuple(map(_parameter, columns))
        self.of_many = build(given(**columns))
        self.of_one = build(OneRow(columns))

    def __call__(self, conn: Connection, rows: Sequence[Sequence[Any]], **bound: Any) -> CursorResult[*tuple[Any, ...]]:
        """Run it for these rows, at least one, in the order in which they are to be locked. `bound`: the parameters
        that it has besides."""
        if len(rows) == 1:
            return conn.execute(self.of_one, dict(zip(self._names, rows[0], strict=True)) | bound)
        return conn.execute(self.of_many, {"given": document(rows), **bound})


def _parameter(name: str) -> str:
    return f"given_{name}"
