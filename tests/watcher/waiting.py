"""Waiting for what a watcher does."""

from __future__ import annotations

from typing import Any

from factories import flow, task
from patience import until
from sqlalchemy import select

from engine.database import Database
from engine.tables import attempt, task_stat


def finished(db: Database, *flow_ids: str, seconds: float = 30.0) -> None:
    """Wait until these flows have finished."""
    for flow_id in flow_ids:
        until(lambda flow_id=flow_id: flow(db, flow_id).flow_status == 3, seconds)


def status(db: Database, key: tuple[str, int]) -> int:
    return int(task(db, key).exec_status)


def settled(db: Database, *keys: tuple[str, int], seconds: float = 30.0) -> None:
    """Wait until these tasks are neither waiting nor running."""
    for key in keys:
        until(lambda key=key: status(db, key) not in (0, 1), seconds)


def attempts(db: Database, key: tuple[str, int]) -> list[Any]:
    """The kept tries of a task, oldest first."""
    mine = attempt.c.task_flow_id == key[0], attempt.c.task_exec_seq == key[1]
    with db.read() as conn:
        return list(conn.execute(select(attempt).where(*mine).order_by(attempt.c.claim_no)))


def running(db: Database) -> int:
    with db.read() as conn:
        return len(conn.execute(select(task_stat.c.task_flow_id).where(task_stat.c.exec_status == 1)).all())
