"""The workflows of examples, inserted or applied and registered as a person would."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from factories import start

from engine.database import Database
from engine.documents.replacing import Wish, replace
from engine.documents.text import read
from engine.schema import statements_of

FOLDER = Path(__file__).resolve().parent.parent.parent / "examples"
FILES = {path.stem: path for form in ("sql", "toml") for path in FOLDER.glob(f"*.{form}")}
NAMES = sorted(FILES)


def insert_rows(db: Database, name: str) -> None:
    said = FILES[name].read_text()
    with db.transaction() as conn:
        if FILES[name].suffix == ".toml":
            replace(conn, db, Wish(read(said, "toml")))
            return
        for statement in statements_of(said):
            conn.exec_driver_sql(statement)


def begin(db: Database, name: str, **wish: Any) -> str:
    """Define an example and register it; the id of the flow."""
    insert_rows(db, name)
    return start(db, name, **wish)
