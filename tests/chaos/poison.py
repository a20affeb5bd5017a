"""Rows that no program can run, inserted by SQL into the running system, and what must become of each."""

from __future__ import annotations

from typing import Any

from sqlalchemy import insert

from engine.database import Database
from engine.errors import DatabaseUnavailable, OutcomeUnknown
from engine.tables import task_stat

PREFIX = "poison"
KINDS: dict[str, dict[str, Any]] = {
    "unknown program": {"program": "__import__('os').system"},
    "bad parameters": {"program": "ChaosWork", "parameters": '{"NUMBER": '},
    "dangling dependency": {"program": "ChaosWork", "parameters": '{"NUMBER": 1}', "depends_task_exec_seq": 77},
}
"""By the reason with which the row must be suspended."""


def insert_row(db: Database, number: int) -> str | None:
    """Insert one poison row as a flow of its own; what it must be suspended as, None if it may not be there."""
    reason = list(KINDS)[number % len(KINDS)]
    row = {
        "task_flow_id": flow_of(reason, number),
        "task_exec_seq": 1,
        "depends_task_exec_seq": -1,
        "task_id": PREFIX,
        "task_seq": 1,
        "exec_status": 0,
        "task_priority": -20,
        "parameters": "{}",
        **KINDS[reason],
    }
    try:
        with db.transaction() as conn:
            conn.execute(insert(task_stat).values(**row))
    except (DatabaseUnavailable, OutcomeUnknown):
        return None
    return reason


def flow_of(reason: str, number: int) -> str:
    return f"{PREFIX}-{number}-{reason.replace(' ', '-')}"


def reason_of(flow: str) -> str:
    """The reason that belongs to such a flow."""
    return flow.split("-", 2)[2].replace("-", " ")
