"""The workflows of examples/*.sql, inserted and registered as a person would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factories import start

from engine.database import Database
from engine.schema import statements_of

FOLDER = Path(__file__).resolve().parent.parent.parent / "examples"
NAMES = sorted(path.stem for path in FOLDER.glob("*.sql"))


def insert_rows(db: Database, name: str) -> None:
    with db.transaction() as conn:
        for statement in statements_of((FOLDER / f"{name}.sql").read_text()):
            conn.exec_driver_sql(statement)


def begin(db: Database, name: str, **wish: Any) -> str:
    """Insert the rows of an example and register it; the id of the flow."""
    insert_rows(db, name)
    return start(db, name, **wish)
