"""What an operator may do to Waterflow's jobs and tasks, in terms of the verbs of engine/control."""

from __future__ import annotations

from sqlalchemy import Connection

from engine.control.acting import Chosen, Meant, Verb, keys, perform
from engine.control.flows import Cancel
from engine.control.suspension import Pause, Resume, Retry
from engine.control.tasks import Finish
from engine.database import Database
from engine.errors import Conflict
from engine.states import Reason
from engine.transitions import move

FAILED_WORDS = "failed: "
"""How the note of a job begins that was failed, and not cancelled."""


class CancelTask(Pause):
    """A task that has not begun fails; what waits for it never runs."""

    what = "task cancelled"

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        move(conn, "pause", keys(chosen.rows), reason=Reason.CANCELLED, error=self.note)


def on_task(db: Database, verb: Verb, job_id: str, seq: int, actor: str, remedy: str) -> None:
    """Apply a verb to one task. Errors: Conflict, with the remedy, if it is none that the verb is for."""
    chosen = _performed(db, verb, Meant((job_id,), frozenset([seq])), actor, None)
    if seq not in chosen.seqs_of(job_id):
        raise Conflict(f"task {seq} of job {job_id}", f"cannot be {verb.what.removeprefix('task ')}", remedy)


def on_job(db: Database, verb: Verb, job_id: str, actor: str, note: str | None = None) -> None:
    """Apply a verb to a job. Errors: Conflict."""
    _performed(db, verb, Meant((job_id,)), actor, note)


def _performed(db: Database, verb: Verb, meant: Meant, actor: str, note: str | None) -> Chosen:
    chosen = db.transact(lambda conn: perform(conn, db, verb, meant, actor, note))
    for error in chosen.refused.values():
        raise error
    return chosen


__all__ = ["FAILED_WORDS", "Cancel", "CancelTask", "Finish", "Pause", "Resume", "Retry", "on_job", "on_task"]
