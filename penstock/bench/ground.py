"""The database that is measured: a SQLite file of its own, or one that is given and holds no flows."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from sqlalchemy import select

from engine import migrate
from engine.database import Database, open_database
from engine.schema import verify
from engine.tables import flow_stat, metadata, task_definition
from penstock.failures import Refused


@contextmanager
def ground(url: str | None) -> Iterator[Database]:
    """An open database without flows. Errors: Refused for one that holds any, or definitions: its tables are emptied
    between measurements."""
    with ExitStack() as stack:
        if url is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="penstock-bench-"))
            url = f"sqlite:///{folder}/bench.db"
        yield stack.enter_context(_opened(url))


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    db = open_database(url, role="bench")
    try:
        migrate.init(db, samples=False)
        verify(db)
        db.probe()
        _refuse_used(db)
        yield db
    finally:
        db.close()


def _refuse_used(db: Database) -> None:
    with db.read() as conn:
        for table, what in ((flow_stat, "flows"), (task_definition, "workflows")):
            if conn.execute(select(table.primary_key.columns[0]).limit(1)).first() is not None:
                words = f"{db.url.render_as_string()} has {what}, and its tables are emptied between measurements"
                raise Refused(f"{words}: give an empty database of its own with --db, or none for a SQLite file")


def emptied(db: Database, *, but: Collection[str] = ()) -> None:
    """Delete every row of a database that had none when it was opened, except in these tables. The next measurement
    begins on tables that are as good as new, as the table of the bare limit is."""
    tables = [table for table in reversed(metadata.sorted_tables) if table.name not in but]
    db.transact(lambda conn: db.dialect.empty(conn, tables))
