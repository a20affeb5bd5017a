"""SQLite files for tests: the tables are made once, and copied."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine import migrate
from engine.database import Database, open_database


def make_template(folder: Path) -> Path:
    """A file with Penstock's tables in this folder."""
    path = folder / "template.db"
    db = open_database(f"sqlite:///{path}", role="testing")
    try:
        migrate.init(db, samples=False)
        with db.engine.connect() as connection:  # what is in the log would be left behind by a copy
            connection.exec_driver_sql("ROLLBACK")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        db.close()
    return path


@contextmanager
def copied(template: Path, folder: Path) -> Iterator[Database]:
    """A copy of the file in a test's folder, opened."""
    path = folder / "penstock.db"
    shutil.copyfile(template, path)
    db = open_database(f"sqlite:///{path}", role="testing")
    try:
        yield db
    finally:
        db.close()
