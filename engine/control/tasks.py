"""Verbs on single tasks: ignore, finish by force, set priority."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, update

from engine import jsontext
from engine.control.acting import (
    Chosen,
    TaskRow,
    Verb,
    keys,
    perform_on,
    take_away,
    tell,
)
from engine.database import Database
from engine.errors import BadRequest
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.keys import among, chunks
from engine.states import PASSED_ON, PRIORITY_MAX, PRIORITY_MIN, Reason, Status
from engine.tables import task_stat
from engine.transitions import move


class Ignore(Verb):
    what = "task ignored"

    def __init__(self, policy: Policy = DEFAULT_POLICY, note: str | None = None) -> None:
        self.policy = policy
        self.note = note

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        these = keys(chosen.rows)
        take_away(conn, chosen.rows, "ignored", actor)
        move(conn, "ignore", these, wait_count=PASSED_ON, due_ts=None, reason=Reason.IGNORED, error=self.note)
        tell(conn, db, these, Status.IGNORE, self.policy)


class Finish(Verb):
    what = "task finished by force"

    def __init__(self, result: Any = None) -> None:
        try:
            self.document = None if result is None else jsontext.dumps(result, max_bytes=jsontext.MAX_RESULT_BYTES)
        except jsontext.NotJSON as error:
            raise BadRequest("result", str(error)) from error

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        these = keys(chosen.rows)
        take_away(conn, chosen.rows, "finished", actor)
        move(conn, "force", these, wait_count=PASSED_ON, due_ts=None, result=self.document)
        tell(conn, db, these, Status.FINISH, DEFAULT_POLICY)


class SetPriority(Verb):
    what = "priority set"
    statuses = (Status.WAIT, Status.SUSPEND)
    column = task_stat.c.task_priority

    def __init__(self, priority: int) -> None:
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise BadRequest("priority", f"{priority!r} is no whole number")
        if not PRIORITY_MIN <= priority <= PRIORITY_MAX:
            raise BadRequest("priority", f"{priority} is outside {PRIORITY_MIN} .. {PRIORITY_MAX}")
        self.priority = priority

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        for part in chunks(keys(chosen.rows)):
            conn.execute(update(task_stat).where(among(part)).values(task_priority=self.priority, aged=0))

    def details(self, row: TaskRow) -> dict[str, Any]:
        return {"priority": self.priority, "was": row.task_priority}


def ignore(
    db: Database,
    flow_id: str,
    seqs: Collection[int],
    *,
    actor: str,
    note: str | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> list[int]:
    """Set tasks aside for good; what waits for them goes on. A running program is told to stop, and what it answers
    changes nothing.

    Shape: the run numbers that were ignored, ascending. Errors: UnknownFlow.
    """
    return perform_on(db, Ignore(policy, note), flow_id, seqs, actor, note)


def finish(
    db: Database, flow_id: str, seq: int, result: Any = None, *, actor: str, note: str | None = None
) -> list[int]:
    """Count a task as finished with this result, without running it or without waiting for what runs.

    Shape: the run number in a list; empty if the task was settled already. Errors: UnknownFlow; BadRequest for a
    result that is not JSON, or too large. Source: Flux's mark-success, Waterflow's force-complete.
    """
    return perform_on(db, Finish(result), flow_id, [seq], actor, note)


def set_priority(
    db: Database,
    flow_id: str,
    priority: int,
    seqs: Collection[int] | None = None,
    *,
    actor: str,
    note: str | None = None,
) -> list[int]:
    """Change the priority of tasks that have not been claimed.

    Shape: the run numbers that were changed, ascending. Errors: UnknownFlow; BadRequest outside -20 .. 19.
    """
    return perform_on(db, SetPriority(priority), flow_id, seqs, actor, note)
