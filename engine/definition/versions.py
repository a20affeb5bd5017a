"""A definition as it was: stored under the hash of its content by the first flow that is made from it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Connection, select

from engine.database import Database
from engine.definition.step import Definition
from engine.tables import workflow_version


def store(conn: Connection, db: Database, definitions: Iterable[Definition], instant: datetime | None) -> None:
    """Keep these definitions; those that are kept already stay as they are."""
    wanted = {definition.version_id: definition for definition in definitions}
    known = select(workflow_version.c.version_id).where(workflow_version.c.version_id.in_(sorted(wanted)))
    there = set(conn.scalars(known))
    rows = [
        {"version_id": key, "task_id": item.task_id, "definition": item.content, "created_ts": instant}
        for key, item in sorted(wanted.items())
        if key not in there
    ]
    if rows:
        conn.execute(db.dialect.insert_missing(workflow_version), rows)
