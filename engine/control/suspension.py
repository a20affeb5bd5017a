"""Verbs that suspend tasks and take suspended ones back: pause, resume, recover, retry."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, literal_column, or_

from engine.control import generations
from engine.control.acting import (
    ENDED,
    OPEN,
    Chosen,
    Meant,
    TaskRow,
    Verb,
    keys,
    perform_on,
    read_keys,
    read_tasks,
    refuse_others,
)
from engine.database import Database
from engine.errors import Conflict
from engine.graph import edges, routing
from engine.graph.dependencies import DEFAULT_POLICY, Policy, count_awaited, predecessors, raise_behind
from engine.graph.trigger_rules import EdgeOutcome
from engine.keys import Key, key_of
from engine.states import CLOSED_EARLY, Reason, Status
from engine.tables import task_stat
from engine.transitions import move


class Pause(Verb):
    what = "task paused"
    statuses = (Status.WAIT,)

    def __init__(self, note: str | None = None) -> None:
        self.note = note

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        move(conn, "pause", keys(chosen.rows), reason=Reason.PAUSED, error=self.note)


class Resume(Verb):
    """`only_paused`: leave alone what is suspended for another reason than that a person paused it."""

    what = "task resumed"
    statuses = (Status.SUSPEND,)

    def __init__(self, policy: Policy = DEFAULT_POLICY, *, only_paused: bool = False) -> None:
        self.policy = policy
        self.only_paused = only_paused

    def interest(self) -> ColumnElement[bool]:
        suspended = task_stat.c.exec_status == _number(Status.SUSPEND)
        return and_(suspended, task_stat.c.reason == Reason.PAUSED) if self.only_paused else suspended

    def choose(self, conn: Connection, db: Database, meant: Meant, *, lock: bool) -> Chosen:
        chosen = super().choose(conn, db, meant, lock=lock)
        if not self.only_paused:
            return chosen
        paused = Chosen(refused=chosen.refused)
        paused.take(row for row in chosen.rows if row.reason == Reason.PAUSED)
        return paused

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        back_to_wait(conn, db, chosen.rows, self.policy, actor, keep_due=True)


class Recover(Verb):
    """What was cancelled with its flow comes back too: as a new generation, since it was settled."""

    what = "task recovered"
    statuses = (Status.SUSPEND, Status.IGNORE)

    def __init__(self, policy: Policy = DEFAULT_POLICY) -> None:
        self.policy = policy

    def choose(self, conn: Connection, db: Database, meant: Meant, *, lock: bool) -> Chosen:
        found = super().choose(conn, db, meant, lock=lock)
        chosen = Chosen(refused=found.refused)
        chosen.take(row for row in found.rows if self.takes(row, meant))
        return chosen

    def interest(self) -> ColumnElement[bool]:
        task = task_stat.c
        cancelled = and_(task.exec_status == _number(Status.IGNORE), task.reason.in_(CLOSED_EARLY))
        return or_(task.exec_status == _number(Status.SUSPEND), cancelled)

    def takes(self, row: TaskRow, meant: Meant) -> bool:
        return bool(row.exec_status == Status.SUSPEND or (is_cancelled(row) and meant.is_whole))

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        suspended = [row for row in chosen.rows if row.exec_status == Status.SUSPEND]
        cancelled = [row for row in chosen.rows if row.exec_status == Status.IGNORE]
        if cancelled:
            generations.set_back(conn, db, cancelled, [], policy=self.policy, actor=actor)
        back_to_wait(conn, db, suspended, self.policy, actor, attempt=0, losses=0)


class Retry(Recover):
    what = "task retried"

    def interest(self) -> ColumnElement[bool]:
        return and_(task_stat.c.exec_status == _number(Status.SUSPEND), task_stat.c.reason != Reason.PAUSED)

    def choose(self, conn: Connection, db: Database, meant: Meant, *, lock: bool) -> Chosen:
        chosen = super().choose(conn, db, meant, lock=lock)
        refuse_others(conn, db, meant, chosen, "only a suspended or cancelled task is retried")
        if meant.seqs is not None and not chosen.refused:
            _refuse_behind_cancelled(conn, db, chosen)
        return chosen

    def takes(self, row: TaskRow, meant: Meant) -> bool:
        if meant.seqs is not None:
            return bool(row.exec_status == Status.SUSPEND or is_cancelled(row))
        return bool(row.exec_status == Status.SUSPEND and row.reason != Reason.PAUSED)


def recover(
    db: Database, flow_id: str, *, actor: str, note: str | None = None, policy: Policy = DEFAULT_POLICY
) -> list[int]:
    """Set every suspended task of a flow back to waiting, with all its tries anew, so that the flow goes on from there;
    of a cancelled flow also what was cancelled. What finished stays as it is, with its times.

    Shape: the run numbers that were set back, ascending; empty if there was none. Errors: UnknownFlow.
    Source: Flower's "rerun or recover from a task", done there by hand; synergy's recover.
    """
    return perform_on(db, Recover(policy), flow_id, None, actor, note)


def retry(
    db: Database,
    flow_id: str,
    seqs: Collection[int] | None = None,
    *,
    actor: str,
    note: str | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> list[int]:
    """Try suspended tasks anew, with no try and no loss charged: those named, or all that nobody paused by hand. A task
    that was cancelled is taken back too; one that still awaits something goes on awaiting it.

    Shape: the run numbers that were retried, ascending. Errors: UnknownFlow; BadRequest for a number that the flow does
    not have; Conflict for a named task that is neither suspended nor cancelled, or behind one that stays cancelled.
    Source: Waterflow's retry_task.
    """
    return perform_on(db, Retry(policy), flow_id, seqs, actor, note)


def resume(
    db: Database,
    flow_id: str,
    seqs: Collection[int] | None = None,
    *,
    actor: str,
    note: str | None = None,
    policy: Policy = DEFAULT_POLICY,
) -> list[int]:
    """Set suspended tasks back to waiting as they are: a task that was paused goes on with the tries it had left, and
    waits on for its time.

    Shape: the run numbers that were resumed, ascending. Errors: UnknownFlow.
    """
    return perform_on(db, Resume(policy), flow_id, seqs, actor, note)


def pause(
    db: Database, flow_id: str, seqs: Collection[int] | None = None, *, actor: str, note: str | None = None
) -> list[int]:
    """Suspend waiting tasks until they are resumed; they still hear of their predecessors meanwhile.

    Shape: the run numbers that were paused, ascending. Errors: UnknownFlow.
    """
    return perform_on(db, Pause(note), flow_id, seqs, actor, note)


def is_cancelled(row: TaskRow) -> bool:
    return bool(row.exec_status == Status.IGNORE and row.reason in CLOSED_EARLY)


def _number(status: Status) -> Any:
    """A literal, so that a partial index is used."""
    return literal_column(str(int(status)))


def back_to_wait(
    conn: Connection,
    db: Database,
    rows: Sequence[TaskRow],
    policy: Policy,
    actor: str,
    *,
    keep_due: bool = False,
    **columns: Any,
) -> None:
    """Suspended tasks wait again, for what the rows say they depend on. What ran because they had failed will run again
    when it comes to it, and an edge into them that could not be worked out is tried once more."""
    told = [edge.child for edge in edges.behind(conn, keys(rows)) if edge.outcome == EdgeOutcome.FAILED]
    awaited = count_awaited(conn, keys(rows), policy)
    groups: dict[int | None, list[Key]] = {}
    for row in rows:
        found = awaited[key_of(row)]
        # refused rows, and rows whose predecessor has been deleted, are looked at by the adopter again
        is_clear = row.wait_count is not None and row.program is not None and not found.missing
        was_told = is_clear and row.wait_count < 0  # finished, then suspended by hand
        due = 1 if keep_due and row.due_ts is not None else 0
        count = row.wait_count if was_told else found.open_count + due
        groups.setdefault(count if is_clear else None, []).append(key_of(row))
    kept: Mapping[str, Any] = {} if keep_due else {"due_ts": None}
    for count, alike in groups.items():
        move(conn, "recover", alike, wait_count=count, owner=None, **kept, **columns)
    if told:
        raise_behind(conn, db, keys(rows), policy)
        listeners = [row for row in read_keys(conn, db, told) if row.exec_status in ENDED]
        generations.set_back(conn, db, listeners, [], policy=policy, actor=actor)
    routing.catch_up(conn, db, awaited.values(), policy)


def _refuse_behind_cancelled(conn: Connection, db: Database, chosen: Chosen) -> None:
    """A task taken back from a cancelled flow must not run before those that were cancelled ahead of it."""
    taken = set(keys(chosen.rows))
    before = predecessors(conn, [key_of(row) for row in chosen.rows if is_cancelled(row)])
    outside = {parent for parents in before.values() for parent in parents} - taken
    if not outside:
        return
    (flow_id,) = chosen.flow_ids
    meant = Meant((flow_id,), frozenset(parent.seq for parent in outside))
    still = {key_of(row) for row in read_tasks(conn, db, meant, OPEN, lock=False) if is_cancelled(row)}
    for key, parents in sorted(before.items()):
        if blockers := sorted(parents & still):
            names = ", ".join(str(blocker.seq) for blocker in blockers)
            state = f"is behind task {names}, cancelled too"
            error = Conflict(f"task {key.seq} of flow {flow_id!r}", state, "retry these as well, or recover the flow")
            chosen.refuse(flow_id, error)
            return
