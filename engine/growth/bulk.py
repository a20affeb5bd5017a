"""Many rows of one table in few statements."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Connection, Table, insert

from engine.keys import chunks

ROWS: Final = 1000
"""Rows of one call of the driver: what they need in memory stays small, and each statement ends long before the
servers' time-out. PyMySQL cuts them into statements of 1 MB itself, well below what a packet may have."""


def insert_rows(conn: Connection, table: Table, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows that all name the same columns, with plain values: an expression among them would keep PyMySQL from
    sending many rows in one statement."""
    for part in chunks(rows, ROWS):
        conn.execute(insert(table), part)
