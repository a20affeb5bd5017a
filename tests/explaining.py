"""How a database means to run what it is asked, taken down while it is asked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Table, event

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


def lasting_plan(db: Database, ask: Callable[[Connection], object]) -> str:
    """The plan by which PostgreSQL would run the one statement that `ask` sends, whatever it is given, on a connection
    for what is repeated."""
    sent: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    with db.transaction(repeated=True) as conn:
        event.listen(conn, "before_cursor_execute", note)
        ask(conn)
        event.remove(conn, "before_cursor_execute", note)
        (statement,) = sent
        names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", statement)))
        for place, name in enumerate(names, 1):
            statement = statement.replace(f"%({name})s", f"${place}")
        conn.exec_driver_sql(f"PREPARE lasting AS {statement}")
        rows = conn.exec_driver_sql(f"EXPLAIN EXECUTE lasting({', '.join(['NULL'] * len(names))})").all()
        conn.exec_driver_sql("DEALLOCATE lasting")
    return "\n".join(row[0] for row in rows)


def with_statistics(db: Database, *tables: Table) -> Database:
    """Let the planner know these tables. SQLite plans without, as it does on a new database."""
    with db.transaction() as conn:
        db.dialect.analyze(conn, *tables)
    return db
