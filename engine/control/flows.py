"""Verbs on whole flows: pause, resume, cancel, run again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, update

from engine import history, jsontext
from engine.control.acting import (
    OPEN,
    Chosen,
    Meant,
    TaskRow,
    Verb,
    keys,
    missing,
    perform,
    perform_on,
    read_tasks,
    read_whole,
    take_away,
)
from engine.control.suspension import Pause, Resume
from engine.database import Database
from engine.errors import BadRequest, Conflict, OutcomeUnknown, PenstockError
from engine.flows import Registration, register
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.growth.subflows import children_of
from engine.ids import new_flow_id
from engine.keys import chunks
from engine.states import PASSED_ON, Reason, Status
from engine.tables import IS_ACTIVE, flow_stat, task_stat
from engine.transitions import move

IS_OPEN = task_stat.c.exec_status.in_([int(status) for status in OPEN])


class Cancel(Verb):
    """Flows with all their sub-flows. `reason` is what the flows say afterwards; their tasks say `cancelled`."""

    what = "flow cancelled"
    of_flows = True

    def __init__(self, reason: str = Reason.CANCELLED) -> None:
        self.reason = reason

    def interest(self) -> ColumnElement[bool]:
        return IS_ACTIVE

    def choose(self, conn: Connection, db: Database, meant: Meant, *, lock: bool) -> Chosen:
        chosen = Chosen(refused=missing(conn, meant.flow_ids))
        wanted = [flow_id for flow_id in flows_of(conn, db, meant) if flow_id not in chosen.refused]
        chosen.take(read_whole(conn, db, wanted, IS_OPEN, lock=lock))
        for flow_id in set(wanted) - set(chosen.flow_ids):
            remedy = "there is nothing left to cancel; `run_again` makes a new flow of it, `rerun` sets tasks back"
            chosen.refuse(flow_id, Conflict(f"flow {flow_id!r}", "has ended", remedy))
        above = set(chosen.flow_ids)
        seen = set(above)
        while above := set(children_of(conn, above)) - seen:  # parents first: no more sub-flows come from locked tasks
            seen |= above
            chosen.others += read_whole(conn, db, above, IS_OPEN, lock=lock)
        return chosen

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        close(conn, [*chosen.rows, *chosen.others], self.reason, actor)

    def events(self, chosen: Chosen, actor: str, said: Mapping[str, Any]) -> list[history.Event]:
        return closed(chosen.rows, self.what, actor, said) + closed(
            chosen.others, self.what, actor, {**said, "with": "its parent"}
        )


class RunAgain(Verb):
    """Each flow is registered once more. `made` says which flow came of which; its ids are chosen before the first
    try, so that a lost answer to the commit can be looked up."""

    what = "flow run again"
    of_flows = True
    column = None

    def __init__(self) -> None:
        self.made: dict[str, str] = {}
        self._wishes: dict[str, Registration] = {}

    def choose(self, conn: Connection, db: Database, meant: Meant, *, lock: bool) -> Chosen:
        chosen = Chosen(refused=missing(conn, meant.flow_ids))
        wanted = [flow_id for flow_id in flows_of(conn, db, meant) if flow_id not in chosen.refused]
        flow = flow_stat.c
        query = select(flow.task_flow_id, flow.task_id, flow.parameters, flow.flow_priority, flow.run_key)
        self._wishes = {}
        for part in chunks(sorted(wanted)):
            for row in conn.execute(query.where(flow.task_flow_id.in_(part))):
                try:
                    self._wishes[row.task_flow_id] = self._wish(row)
                except PenstockError as error:
                    chosen.refused[row.task_flow_id] = error
        chosen.flow_ids = sorted(self._wishes)
        return chosen

    def _wish(self, row: Any) -> Registration:
        try:
            parameters = jsontext.loads_object(row.parameters or "{}")
        except jsontext.NotJSON as error:
            raise BadRequest("parameters", f"of flow {row.task_flow_id!r}: {error}") from None
        flow_id = self.made.setdefault(row.task_flow_id, new_flow_id())
        return Registration(row.task_id, parameters, row.flow_priority, row.run_key, flow_id=flow_id)

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        answers = register(conn, db, list(self._wishes.values()))
        for flow_id, wish in self._wishes.items():
            answer = answers[wish.flow_id]
            if isinstance(answer, PenstockError):
                chosen.refuse(flow_id, answer)
                self.made.pop(flow_id)
        for flow_id in chosen.flow_ids:
            new = flow_stat.c.task_flow_id == self.made[flow_id]
            conn.execute(update(flow_stat).where(new).values(rerun_of=flow_id))

    def events(self, chosen: Chosen, actor: str, said: Mapping[str, Any]) -> list[history.Event]:
        return [
            history.Event(self.what, flow_id, 0, actor, {"as": self.made[flow_id], **said})
            for flow_id in chosen.flow_ids
        ]


def cancel(db: Database, flow_id: str, *, actor: str, note: str | None = None) -> list[int]:
    """End a flow now, and all of its sub-flows: whatever has not settled is ignored for good, running programs are told
    to stop and what they answer changes nothing, open waits are closed. What finished stays as it is.

    Shape: the run numbers that were closed, ascending. Errors: UnknownFlow; Conflict for a flow that has ended.
    Source: Waterflow's cancel of a job.
    """
    return perform_on(db, Cancel(), flow_id, None, actor, note)


def cancel_flows(
    conn: Connection,
    db: Database,
    flow_ids: Collection[str],
    *,
    actor: str,
    note: str | None = None,
    reason: str = Reason.CANCELLED,
) -> list[str]:
    """The same in the caller's transaction, for any number of flows; those that have ended are left alone. `reason` is
    what the flows will say. The caller holds no locks but of tasks ahead of theirs. Returns the flows ended."""
    return perform(conn, db, Cancel(reason), Meant(tuple(flow_ids)), actor, note).flow_ids


def pause_flow(db: Database, flow_id: str, *, actor: str, note: str | None = None) -> list[int]:
    """Pause every task of a flow that waits. What runs goes on, and what it opens stays closed; a task that comes back
    to waiting by itself (a retry), or that a running task adds, is not paused.

    Shape: the run numbers that were paused, ascending. Errors: UnknownFlow.
    """
    return perform_on(db, Pause(note), flow_id, None, actor, note)


def resume_flow(
    db: Database, flow_id: str, *, actor: str, note: str | None = None, policy: Policy = DEFAULT_POLICY
) -> list[int]:
    """Resume every task of a flow that a person paused; what failed stays suspended.

    Shape: the run numbers that were resumed, ascending. Errors: UnknownFlow.
    """
    return perform_on(db, Resume(policy, only_paused=True), flow_id, None, actor, note)


def run_again(db: Database, flow_id: str, *, actor: str, note: str | None = None) -> str:
    """Make a new flow of the workflow as it is defined now, with the same parameters, run key and priority; the new one
    says so in `rerun_of`, the old one stays as it is.

    Shape: the id of the new flow. Errors: UnknownFlow; UnknownWorkflow and BadDefinition as at a registration.
    """
    verb = RunAgain()
    try:
        perform_on(db, verb, flow_id, None, actor, note)
    except OutcomeUnknown:
        with db.read() as conn:
            if missing(conn, verb.made.values()):
                raise
    return verb.made[flow_id]


def flows_of(conn: Connection, db: Database, meant: Meant) -> list[str]:
    """The flows that are meant: of those with conditions on tasks, the ones that have such a task."""
    if meant.is_whole:
        return list(meant.flow_ids)
    rows = read_tasks(conn, db, meant, tuple(Status), lock=False)
    return sorted({row.task_flow_id for row in rows if meant.fits(row)})


def open_sub_flows(conn: Connection, rows: Iterable[TaskRow]) -> list[str]:
    """The flows that these tasks started and that have not ended."""
    wanted = {(row.task_flow_id, row.task_exec_seq) for row in rows}
    found = children_of(conn, {flow_id for flow_id, _ in wanted})
    return sorted(flow_id for flow_id, parent in found.items() if parent in wanted)


def close(conn: Connection, rows: Sequence[TaskRow], reason: str, actor: str) -> None:
    """Settle these locked open tasks as cancelled; their flows, of which they are all that is open, say why."""
    take_away(conn, rows, "cancelled", actor)
    move(conn, "cancel", keys(rows), wait_count=PASSED_ON, due_ts=None, reason=Reason.CANCELLED)
    for part in chunks(sorted({row.task_flow_id for row in rows})):
        conn.execute(update(flow_stat).where(flow_stat.c.task_flow_id.in_(part)).values(reason=reason))


def closed(rows: Sequence[TaskRow], what: str, actor: str, said: Mapping[str, Any]) -> list[history.Event]:
    """One event a flow."""
    running = {flow_id: [0, 0] for flow_id in sorted({row.task_flow_id for row in rows})}
    for row in rows:
        running[row.task_flow_id][0] += 1
        running[row.task_flow_id][1] += row.exec_status == Status.RUNNING
    return [
        history.Event(what, flow_id, 0, actor, {"tasks": tasks, "running": told, **said})
        for flow_id, (tasks, told) in running.items()
    ]
