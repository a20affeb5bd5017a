"""A definition as it was: stored under the hash of its content when it is applied, or by the first flow
that is made from it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from sqlalchemy import Connection, bindparam, literal_column, select

from engine.database import Database
from engine.definition.step import Definition
from engine.dialects.clock import now
from engine.tables import workflow_version

_ONE: Final = select(literal_column("1").label("one")).subquery()
_KEPT: Final = select(now().label("time_now"), workflow_version.c.version_id).select_from(
    _ONE.outerjoin(workflow_version, workflow_version.c.version_id.in_(bindparam("version_ids", expanding=True)))
)


def store(conn: Connection, db: Database, definitions: Iterable[Definition]) -> datetime:
    """Keep these definitions; those that are kept already stay as they are. Returns the database's time: every
    registration needs both answers, and one question is enough for them."""
    wanted = {definition.version_id: definition for definition in definitions}
    answers = conn.execute(_KEPT, {"version_ids": sorted(wanted)}).all()
    time_now: datetime = answers[0].time_now
    there = {answer.version_id for answer in answers}
    rows = [
        {"version_id": key, "task_id": item.task_id, "definition": item.content, "created_ts": time_now}
        for key, item in sorted(wanted.items())
        if key not in there
    ]
    if rows:
        conn.execute(db.dialect.insert_missing(workflow_version), rows)
    return time_now
