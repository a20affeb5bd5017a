"""Definition rows -> run rows: many registrations share one transaction, and each flow is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, tuple_

from engine import flow_limits, jsontext, retry, versions
from engine.database import Database
from engine.definitions import Definition, Step, as_json, read_definitions
from engine.dialects.clock import now
from engine.errors import BadDefinition, BadRequest, KeyReused, PenstockError, UnknownWorkflow
from engine.ids import new_flow_id
from engine.states import PRIORITY_MAX, PRIORITY_MIN, Status
from engine.tables import flow_stat, run_edge, task_stat

MAX_ID = 256
MAX_KEY = 255
_NO_OPTIONS: Mapping[str, Any] = {"queue": "default", **dict.fromkeys(retry.COLUMNS)}
"""Every row of one INSERT names the same columns; these are what a step without options has in them."""


@dataclass(frozen=True)
class Registration:
    """A wish for one flow. The flow id is chosen before the first try, so that a lost answer can be looked up.

    `parameters` replace a step's own of the same name, and fill those that a program declares and the step leaves
    open; `priority` replaces that of every step; `run_key` is the period or business key that the flow stands for.
    """

    task_id: str
    parameters: Mapping[str, Any] | None = None
    priority: int | None = None
    run_key: str | None = None
    idempotency_key: str | None = None
    flow_id: str = field(default_factory=new_flow_id)

    def __post_init__(self) -> None:
        _check_text("taskId", self.task_id, MAX_ID)
        _check_text("runKey", self.run_key, MAX_ID)
        _check_text("Idempotency-Key", self.idempotency_key, MAX_KEY)
        if self.priority is not None and not PRIORITY_MIN <= self.priority <= PRIORITY_MAX:
            raise BadRequest("priority", f"{self.priority} is outside {PRIORITY_MIN} .. {PRIORITY_MAX}")
        try:
            jsontext.dumps(dict(self.parameters or {}), max_bytes=jsontext.MAX_RESULT_BYTES)
        except jsontext.NotJSON as error:
            raise BadRequest("parameters", str(error)) from error

    @property
    def request_hash(self) -> str:
        """What makes two requests the same request: everything but the ids that were made up for this one."""
        wish = [self.task_id, dict(self.parameters or {}), self.priority, self.run_key]
        same = json.dumps(jsontext.loads(jsontext.dumps(wish)), sort_keys=True)  # the order of keys means nothing
        return hashlib.sha256(same.encode()).hexdigest()


@dataclass(frozen=True)
class Registered:
    """A flow that exists. `replayed` says that an earlier request with the same key made it."""

    flow_id: str
    task_id: str
    replayed: bool = False


Answer = Registered | PenstockError


def register(conn: Connection, db: Database, wishes: Sequence[Registration]) -> dict[str, Answer]:
    """Make the flows in `conn`'s transaction. Shape: flow id of the wish -> what became of it, errors included: an
    unknown workflow, a reused key or a full workflow spoils its own registration alone. Source: Flower's
    insertExecutableTasks."""
    definitions = read_definitions(conn, {wish.task_id for wish in wishes})
    answers: dict[str, Answer] = {}
    runnable: list[tuple[Registration, Definition]] = []
    for wish in wishes:
        definition = definitions.get(wish.task_id)
        if definition is None:
            answers[wish.flow_id] = UnknownWorkflow(wish.task_id)
        elif isinstance(definition, BadDefinition):
            answers[wish.flow_id] = definition
        else:
            runnable.append((wish, definition))
    if not runnable:
        return answers
    # read first and then bound: an expression in VALUES keeps PyMySQL from sending many rows in one statement
    instant = conn.scalar(select(now()))
    versions.store(conn, db, {definition.task_id: definition for _, definition in runnable}.values(), instant)
    fresh = _insert_flows(conn, db, runnable, answers, instant)
    admission = flow_limits.admit(conn, db, [(wish.flow_id, wish.task_id) for wish, _ in fresh])
    answers |= admission.refused
    fresh = [item for item in fresh if item[0].flow_id not in admission.refused]
    _insert_tasks(conn, fresh, instant)
    flow_limits.enforce(conn, db, admission)
    for wish, _ in fresh:
        answers[wish.flow_id] = Registered(wish.flow_id, wish.task_id)
    if fresh:
        db.dialect.notify(conn)
    return answers


def find_registered(conn: Connection, wishes: Sequence[Registration]) -> dict[str, Answer]:
    """Which of these wishes exist already: asked when the answer to their COMMIT was lost."""
    ids = select(flow_stat.c.task_flow_id).where(flow_stat.c.task_flow_id.in_([wish.flow_id for wish in wishes]))
    there = set(conn.scalars(ids))
    return {wish.flow_id: Registered(wish.flow_id, wish.task_id) for wish in wishes if wish.flow_id in there}


Wanted = tuple[Registration, Definition]


def _insert_flows(
    conn: Connection, db: Database, wanted: Sequence[Wanted], answers: dict[str, Answer], instant: datetime | None
) -> list[Wanted]:
    """Insert the flow rows, and say which are new; wishes whose key is taken get their answer here."""
    keyed = [item for item in wanted if item[0].idempotency_key is not None]
    plain = [item for item in wanted if item[0].idempotency_key is None]
    if plain:
        conn.execute(insert(flow_stat), [_flow_row(*item, instant) for item in plain])
    if not keyed:
        return plain
    # the unique key decides, not an earlier look: two registers may race for one key
    conn.execute(db.dialect.insert_missing(flow_stat), [_flow_row(*item, instant) for item in keyed])
    owners = _owners(conn, keyed)
    fresh: list[Wanted] = []
    for item in keyed:
        wish = item[0]
        flow_id, request_hash = owners[wish.task_id, wish.idempotency_key or ""]
        if flow_id == wish.flow_id:
            fresh.append(item)
        elif request_hash == wish.request_hash:
            answers[wish.flow_id] = Registered(flow_id, wish.task_id, replayed=True)
        else:
            answers[wish.flow_id] = KeyReused(wish.idempotency_key or "", flow_id)
    return plain + fresh


def _owners(conn: Connection, keyed: Sequence[Wanted]) -> dict[tuple[str, str], tuple[str, str]]:
    flow = flow_stat.c
    pairs = sorted({(wish.task_id, wish.idempotency_key or "") for wish, _ in keyed})
    query = select(flow.task_id, flow.idempotency_key, flow.task_flow_id, flow.request_hash)
    rows = conn.execute(query.where(tuple_(flow.task_id, flow.idempotency_key).in_(pairs)))
    return {(task_id, key): (flow_id, request_hash) for task_id, key, flow_id, request_hash in rows}


def _flow_row(wish: Registration, definition: Definition, instant: datetime | None) -> dict[str, Any]:
    return {
        "task_flow_id": wish.flow_id,
        "task_id": wish.task_id,
        "flow_status": int(Status.WAIT),
        "flow_priority": wish.priority,
        "parameters": as_json(wish.parameters) if wish.parameters else None,
        "run_key": wish.run_key,
        "idempotency_key": wish.idempotency_key,
        "request_hash": wish.request_hash if wish.idempotency_key is not None else None,
        "task_count": len(definition.steps),
        "registered_ts": instant,
        "version_id": definition.version_id,
    }


def _insert_tasks(conn: Connection, wanted: Sequence[Wanted], instant: datetime | None) -> None:
    tasks = [_task_row(wish, step, instant) for wish, definition in wanted for step in definition.steps]
    edges = [
        {"task_flow_id": wish.flow_id, "task_exec_seq": step.exec_seq, "depends_task_exec_seq": parent}
        for wish, definition in wanted
        for step in definition.steps
        for parent in step.further_parents
    ]
    if tasks:
        conn.execute(insert(task_stat), tasks)
    if edges:
        conn.execute(insert(run_edge), edges)


def _task_row(wish: Registration, step: Step, instant: datetime | None) -> dict[str, Any]:
    own = step.parameters
    replaced = {key: value for key, value in (wish.parameters or {}).items() if key in own}
    return {
        "task_flow_id": wish.flow_id,
        "task_exec_seq": step.exec_seq,
        "depends_task_exec_seq": step.first_parent,
        "task_id": wish.task_id,
        "task_seq": step.task_seq,
        "exec_status": int(Status.WAIT),
        "task_priority": step.priority if wish.priority is None else wish.priority,
        "parameters": as_json({**own, **replaced}),
        "program": step.program,
        "wait_count": len(step.depends),
        "registered_ts": instant,
        **_NO_OPTIONS,
        **step.options,
    }


def _check_text(name: str, value: str | None, longest: int) -> None:
    if value is None:
        return
    if not value or len(value) > longest:
        raise BadRequest(name, f"must have 1 to {longest} characters, has {len(value)}")
    if "\x00" in value or jsontext.clean_text(value, longest) != value:
        raise BadRequest(name, "holds a character that no database can store")
