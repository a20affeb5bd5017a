"""How a database means to run what it is asked, taken down while it is asked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Table, event

from engine.database import Database


@contextmanager
def explained(db: Database, part: str = "kr_") -> Iterator[list[str]]:
    """The plan of every statement with this part in it, as text, each just before it runs."""
    plans: list[str] = []
    word = "EXPLAIN" if db.can.row_locks else "EXPLAIN QUERY PLAN"

    def explain(conn: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if part in statement:
            cursor.execute(f"{word} {statement}", parameters)
            plans.append("\n".join(" ".join(map(str, row)) for row in cursor.fetchall()))

    event.listen(db.engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(db.engine, "before_cursor_execute", explain)


def plan_of(db: Database, statement: Any, **values: Any) -> str:
    """The plan of one statement, which is run as well."""
    with explained(db) as plans, db.transaction() as conn:
        conn.execute(statement, values)
    (plan,) = plans
    return plan


def with_statistics(db: Database, *tables: Table) -> Database:
    """Let the planner know these tables. SQLite plans without, as it does on a new database."""
    with db.transaction() as conn:
        db.dialect.analyze(conn, *tables)
    return db
