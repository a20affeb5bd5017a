"""Waterflow's jobs as flows: a job is a flow of a built-in workflow, whose one step is to fetch the job's DAG.

Each of Waterflow's queues is a workflow and a queue of its own, `waterflow-0` and so on, so that no watcher takes its
tasks by mistake. The DAG becomes tasks of the running flow (engine/growth/plans.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, select

from engine import jsontext, leases
from engine.access import Reach
from engine.claimed import ClaimedTask
from engine.database import Database
from engine.errors import BadRequest, Conflict, UnknownFlow
from engine.flows import Registration
from engine.growth import plan_checks
from engine.ids import new_claim_id, new_flow_id
from engine.keys import Fence, Key
from engine.remote import claiming, outcomes, settling, waiting
from engine.remote.settling import Answer, Told
from engine.remote.workers import Worker
from engine.states import Reason, Status
from engine.tables import flow_stat, task_definition, task_option, task_stat

PREFIX: Final = "waterflow-"
END: Final = "waterflow."
"""What sorts right behind everything that begins with PREFIX."""
FETCH: Final = "waterflow:fetch_dag"
RUN: Final = "waterflow:run_task"
FETCH_FIRST: Final = -20
"""The priority of what fetches a DAG: that comes before the tasks of other jobs."""
MAX_TASKS: Final = 4_096
MAX_NAME: Final = 128
_UNCLAIMED: Final = "0" * 24


class Given(NamedTuple):
    """One task of a DAG as a client sends it; `after` are the places of what it waits for."""

    name: str | None
    parameters: Mapping[str, Any]
    after: Sequence[int]


@dataclass(frozen=True)
class Job:
    """A job, as its flow and the task that fetches its DAG say it."""

    flow: Row[Any]
    fetch: Row[Any]

    @property
    def job_id(self) -> str:
        return str(self.flow.task_flow_id)

    @property
    def queue(self) -> str:
        return str(self.flow.task_id).removeprefix(PREFIX)

    @property
    def parameters(self) -> dict[str, Any]:
        return jsontext.loads_object(self.flow.parameters or "{}")


def workflow_of(queue: str) -> str:
    """The workflow, and the queue, of one of Waterflow's queues. Errors: BadRequest."""
    number = queue.isascii() and queue.isdigit()
    if number and (len(queue) > 3 or int(queue) > 255):
        raise BadRequest("work_queue", f"{queue[:20]!r} is outside 0 .. 255")
    if not 1 <= len(queue) <= 54 or "," in queue or "\x00" in queue or not queue.isprintable():
        raise BadRequest("work_queue", "is a number from 0 to 255, or a name of at most 54 characters")
    return PREFIX + (str(int(queue)) if number else queue)


def define(db: Database, workflow: str) -> None:
    """Insert the definition of this queue's workflow, unless it is there."""
    key = {"task_id": workflow, "task_seq": 1}

    def work(conn: Connection) -> None:
        step = {**key, "program": FETCH, "task_priority": FETCH_FIRST}
        conn.execute(db.dialect.insert_missing(task_definition), [step])
        conn.execute(db.dialect.insert_missing(task_option), [{**key, "name": "fetch_dag", "queue": workflow}])

    db.transact(work)


def registration(workflow: str, job: Mapping[str, Any], tags: Sequence[str], by: str | None) -> Registration:
    """The flow of a new job; its id has the 32 digits that Waterflow's have."""
    flow_id = new_flow_id().replace("-", "")
    return Registration(workflow, dict(job), tags=tuple(tags), by=by, flow_id=flow_id)


def find(conn: Connection, job_id: str, reach: Reach) -> Job:
    """Errors: UnknownFlow, also for a flow that is no job, or that the caller does not reach."""
    if len(job_id) > 256 or "\x00" in job_id:
        raise UnknownFlow(job_id[:256])
    flow = conn.execute(select(flow_stat).where(flow_stat.c.task_flow_id == job_id)).first()
    if flow is None or not flow.task_id.startswith(PREFIX) or not reach.covers(flow.task_id):
        raise UnknownFlow(job_id)
    fetch = conn.execute(select(task_stat).where(*_is(Key(job_id, 1)))).first()
    if fetch is None:
        raise UnknownFlow(job_id)
    return Job(flow, fetch)


def task_of(conn: Connection, job_id: str, task_id: str) -> Row[Any]:
    """The row of a task of a job. Errors: UnknownFlow, naming both."""
    seq = int(task_id[:8], 16) if len(task_id) == 32 and _is_hex(task_id) else 0
    row = conn.execute(select(task_stat).where(*_is(Key(job_id, seq)))).first() if seq > 1 else None
    if row is None:
        raise UnknownFlow(f"{job_id}/{task_id[:64]}")
    return row


def id_of(row: Any) -> str:
    """What a client calls a task: its number in the flow, and the claim that it was handed out under last."""
    return f"{row.task_exec_seq:08x}{_short(row.claim_id)}"


def handed_out(task: ClaimedTask) -> str:
    """The same, of a task that was just claimed."""
    return f"{task.key.seq:08x}{_short(task.claim_id)}"


def holds(row: Row[Any], task_id: str) -> bool:
    """Does this id name the row's last claim?"""
    return task_id[8:].lower() == _short(row.claim_id)


def take(db: Database, queue: str, worker: str, most: int, lease_s: float) -> list[ClaimedTask]:
    """Claim up to `most` items for a worker of this queue, whose lease begins anew. Units: lease_s in seconds."""
    workflow = workflow_of(queue)
    programs = frozenset((FETCH, RUN))
    with db.read() as conn:
        if not waiting.ready(conn, [workflow], programs, 1):
            return []
    worker_id = PREFIX + hashlib.sha256(f"{workflow}/{worker}".encode("utf-8", "replace")).hexdigest()[:40]
    known = Worker(worker_id, (workflow,), programs, most, lease_s)

    def lives(conn: Connection, one: Worker) -> None:
        if not leases.beat(conn, worker_id, lease_s):
            label = jsontext.clean_text(worker, 256)
            leases.enlist(
                conn, worker_id, lease_s, label=label, host="waterflow", queues=one.queues, programs=programs, slots=1
            )

    return claiming.take(db, known, new_claim_id(), most, lives=lives, exclusive=True)


def set_dag(db: Database, job: Job, tasks: Sequence[Given], raw: Mapping[str, Any], claim_id: str | None) -> None:
    """Settle the fetching of a job's DAG with its tasks. A DAG that cannot run fails the job.

    Errors: Conflict, unless the job's DAG is being fetched; BadRequest for a DAG that cannot run.
    """
    if job.fetch.exec_status != Status.RUNNING or (claim_id is not None and claim_id != job.fetch.claim_id):
        raise Conflict(f"job {job.job_id}", "does not await its DAG", "one that get_work has handed out takes it, once")
    names = [task.name for task in tasks]
    planned = [
        outcomes.Task(
            RUN,
            task.parameters,
            task.name if _is_name(task.name) and names.count(task.name) == 1 else None,
            task.after,
            0,
            {"queue": job.flow.task_id},
        )
        for task in tasks
    ]
    problem = _problem(planned)
    outcome: outcomes.Outcome = outcomes.Plan(planned, dict(raw))
    if problem is not None:
        outcome = outcomes.Fail(f"the DAG is refused: {problem}", retry=False)
    _settle(db, job.fetch, outcome)
    if problem is not None:
        raise BadRequest("tasks", f"{problem}; the job has failed")


def complete(db: Database, row: Row[Any]) -> None:
    """Finish a running task under its claim. Errors: Conflict."""
    _settle(db, row, outcomes.Finish())


def fail(db: Database, row: Row[Any], message: str, thing: str | None) -> None:
    """Fail a running task under its claim; `thing` is kept with the try. Errors: Conflict."""
    _settle(db, row, outcomes.Fail(message or "the worker gave no message", retry=False, traceback=thing))


def keep_alive(db: Database, row: Row[Any], lease_s: float) -> None:
    """Extend the lease of whoever runs this task. Errors: Conflict, if nobody does."""
    if row.exec_status != Status.RUNNING or not row.owner:
        raise Conflict(f"task {id_of(row)}", "does not run", "ask for work")
    if not db.transact(lambda conn: leases.beat(conn, row.owner, lease_s)):
        raise Conflict(f"task {id_of(row)}", "has lost its worker", "it is handed out again")


def _settle(db: Database, row: Row[Any], outcome: outcomes.Outcome) -> None:
    if row.claim_id is None:
        raise Conflict(f"task {id_of(row)}", "was never handed out", "ask for work")
    fence = Fence(row.task_flow_id, row.task_exec_seq, row.claim_id)
    lapsed = row.exec_status == Status.WAIT and row.reason == Reason.LAPSED
    attempt = row.attempt + (1 if row.exec_status == Status.RUNNING or lapsed else 0)
    (answer,) = settling.settle_told(db, row.owner or "", [Told(fence, max(attempt, 1), outcome)])
    if answer is not Answer.SETTLED:
        raise Conflict(f"task {id_of(row)}", "was taken from this worker", "nothing was changed")


def _problem(planned: Sequence[outcomes.Task]) -> str | None:
    try:
        plan_checks.check(planned)
    except plan_checks.BadPlan as error:
        return str(error)
    return None


def _is_name(name: str | None) -> bool:
    return name is not None and 1 <= len(name) <= MAX_NAME and jsontext.clean_text(name, MAX_NAME) == name


def _is(key: Key) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return task_stat.c.task_flow_id == key.flow_id, task_stat.c.task_exec_seq == key.seq


def _short(claim_id: str | None) -> str:
    return _UNCLAIMED if not claim_id else claim_id.replace("-", "")[:24].ljust(24, "0")


def _is_hex(text: str) -> bool:
    return all(digit in "0123456789abcdefABCDEF" for digit in text)
