"""A definition as it was: stored under the hash of its content when it is applied, or by the first flow
that is made from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, bindparam, literal_column, select

from engine.database import Database
from engine.definition.step import Definition
from engine.dialects.clock import now
from engine.tables import workflow_version


def _kept(is_wanted: ColumnElement[bool]) -> Select[Any]:
    """The time, beside each of these versions, and at least once."""
    one = select(literal_column("1").label("one")).subquery()
    return select(now().label("time_now"), workflow_version.c.version_id).select_from(
        one.outerjoin(workflow_version, is_wanted)
    )


_KEPT: Final = _kept(workflow_version.c.version_id.in_(bindparam("version_ids", expanding=True)))
_ONE_KEPT: Final = _kept(workflow_version.c.version_id == bindparam("of_version"))


def store(conn: Connection, db: Database, definitions: Iterable[Definition]) -> datetime:
    """Keep these definitions; those that are kept already stay as they are. Returns the database's time: every
    registration needs both answers, and one question is enough for them."""
    wanted = {definition.version_id: definition for definition in definitions}
    answers = _answers(conn, sorted(wanted))
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


def _answers(conn: Connection, version_ids: Sequence[str]) -> Sequence[Row[Any]]:
    if len(version_ids) == 1:  # a list of any length is spelled out anew each time
        return conn.execute(_ONE_KEPT, {"of_version": version_ids[0]}).all()
    return conn.execute(_KEPT, {"version_ids": version_ids}).all()
