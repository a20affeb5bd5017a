"""What the rows of tasks say once a verb has been applied to them, in its transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Column, Connection, select

from engine.control.acting import TaskRow, keys
from engine.keys import KEY_COLUMNS, Key, among, chunks
from engine.tables import task_stat


def column_now(conn: Connection, rows: Iterable[TaskRow], column: Column[Any]) -> dict[Key, Any]:
    """One column of these tasks, by key."""
    found: dict[Key, Any] = {}
    for part in chunks(sorted(keys(rows))):
        for flow_id, seq, value in conn.execute(select(*KEY_COLUMNS, column).where(among(part))):
            found[Key(flow_id, seq)] = value
    return found


def statuses_now(conn: Connection, rows: Iterable[TaskRow]) -> Counter[int]:
    """How many of these tasks are in which status."""
    return Counter(int(status) for status in column_now(conn, rows, task_stat.c.exec_status).values())
