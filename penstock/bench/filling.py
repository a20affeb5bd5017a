"""History and backlog, made by copying rows: a million rows in seconds, each as the engine wrote its original."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection, Table, func, insert, literal, select

from engine.database import Database
from engine.dialects.timeouts import Timeouts
from engine.tables import flow_stat, run_edge, task_stat

_PATIENT: Final = Timeouts(statement_s=3_600.0, lock_s=60.0, idle_s=3_600.0)
_TABLES: Final = (flow_stat, task_stat, run_edge)
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


def doubled(db: Database, tasks: int) -> int:
    """Double all flows there are until there are so many tasks. Returns how many there are. Needs a flow to begin with.

    A copy has its original's id behind a letter of its generation."""
    patient = db.twin("bench", 1, timeouts=_PATIENT)
    try:
        generation = 0
        while (there := _count(patient)) < tasks:
            if not there:
                raise ValueError("there is no flow to be copied")
            letter = _LETTERS[generation]
            patient.transact(lambda conn, letter=letter: _double(conn, letter))  # type: ignore[misc]
            generation += 1
        patient.transact(lambda conn: patient.dialect.analyze(conn, *_TABLES))  # as the server itself would in a minute
        return there
    finally:
        patient.close()


def _double(conn: Connection, letter: str) -> None:
    for table in _TABLES:
        conn.execute(insert(table).from_select([column.name for column in table.c], _copies(table, letter)))


def _copies(table: Table, letter: str) -> Any:
    flow = table.c.task_flow_id
    return select(*((literal(letter) + flow).label(flow.name) if column is flow else column for column in table.c))


def _count(db: Database) -> int:
    with db.read() as conn:
        return int(conn.scalar(select(func.count()).select_from(task_stat)) or 0)
