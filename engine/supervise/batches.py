"""How many rows a step of the sweep deals with at once, and which."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, Row

from engine.database import Database

BATCH = 200


def take_rows(conn: Connection, db: Database, query: Any) -> list[Row[Any]]:
    """At most a batch of rows, locked; rows that somebody else holds are left for the next sweep."""
    query = query.limit(BATCH)
    if db.can.row_locks:
        query = query.with_for_update(skip_locked=db.can.skip_locked)
    return sorted(conn.execute(query), key=lambda row: (row.task_flow_id, row.task_exec_seq))
