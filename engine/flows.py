"""Definition rows -> run rows: many registrations share one transaction, and each flow is there whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, tuple_

from engine import jsontext
from engine.database import Database
from engine.definition import copies, parameter_schema, product, versions
from engine.definition.copies import Wanted
from engine.definition.reading import Check, Definition, as_json, read_definitions
from engine.dialects.clock import MAX_DELAY_S
from engine.errors import BadDefinition, BadRequest, KeyReused, PenstockError, UnknownWorkflow
from engine.failpoints import hit
from engine.ids import new_flow_id
from engine.keys import Key
from engine.limits import flow_limits
from engine.states import PRIORITY_MAX, PRIORITY_MIN, Status
from engine.tables import flow_stat, flow_tag, run_edge, task_stat

MAX_ID = 256
MAX_KEY = 255
MAX_TAG = 255
MAX_TAGS = 50
MAX_PARAMETERS = 1_000
"""Names of one registration; a value may be as large as the whole."""


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
    parent: Key | None = None
    """The task that awaits the flow: it is told when the flow ends."""
    tags: tuple[str, ...] = ()
    """Words that the flow can be found by."""
    by: str | None = None
    """Who asked for it, where that is known."""

    def __post_init__(self) -> None:
        _check_text("taskId", self.task_id, MAX_ID)
        _check_text("runKey", self.run_key, MAX_ID)
        _check_text("Idempotency-Key", self.idempotency_key, MAX_KEY)
        _check_text("registeredBy", self.by, MAX_ID)
        for tag in self.tags:
            _check_text("tags", tag, MAX_TAG)
        if len(self.tags) > MAX_TAGS:
            raise BadRequest("tags", f"are {len(self.tags):,}, more than {MAX_TAGS}")
        if self.priority is not None and not PRIORITY_MIN <= self.priority <= PRIORITY_MAX:
            raise BadRequest("priority", f"{self.priority} is outside {PRIORITY_MIN} .. {PRIORITY_MAX}")
        if self.parameters:
            _check_parameters(self.parameters)

    @property
    def request_hash(self) -> str:
        """What makes two requests the same request: everything but the ids that were made up for this one."""
        wish: list[Any] = [self.task_id, dict(self.parameters or {}), self.priority, self.run_key]
        if self.tags:
            wish.append(sorted(set(self.tags)))
        same = json.dumps(jsontext.loads(jsontext.dumps(wish)), sort_keys=True)  # the order of keys means nothing
        return hashlib.sha256(same.encode()).hexdigest()


@dataclass(frozen=True)
class Registered:
    """A flow that exists. `replayed` says that an earlier request with the same key made it."""

    flow_id: str
    task_id: str
    replayed: bool = False


Answer = Registered | PenstockError


def register(
    conn: Connection, db: Database, wishes: Sequence[Registration], check: Check | None = None
) -> dict[str, Answer]:
    """Make the flows in `conn`'s transaction. Shape: flow id of the wish -> what became of it, errors included: an
    unknown workflow, a reused key or a full workflow spoils its own registration alone. Source: Flower's
    insertExecutableTasks.

    `check` looks at the programs of each step; without it every program is taken to be known to some watcher.
    """
    definitions = read_definitions(conn, {wish.task_id for wish in wishes}, check)
    answers: dict[str, Answer] = {}
    runnable: list[Wanted] = []
    for wish in wishes:
        try:
            runnable.append(_wanted(wish, definitions.get(wish.task_id)))
        except (UnknownWorkflow, BadDefinition, BadRequest) as error:
            answers[wish.flow_id] = error
    if not runnable:
        return answers
    instant = versions.store(conn, db, {item.definition.task_id: item.definition for item in runnable}.values())
    fresh = _insert_flows(conn, db, runnable, answers, instant)
    hit("register.after_flow_rows")
    limited = [item.wish for item in fresh if item.definition.workflow.max_active_flows is not None]
    admission = flow_limits.admit(conn, db, [(wish.flow_id, wish.task_id) for wish in limited])
    answers |= admission.refused
    fresh = [item for item in fresh if item.wish.flow_id not in admission.refused]
    _insert_tags(conn, fresh)
    _insert_tasks(conn, fresh, instant)
    hit("register.after_task_rows")
    flow_limits.enforce(conn, db, admission)
    for item in fresh:
        answers[item.wish.flow_id] = Registered(item.wish.flow_id, item.wish.task_id)
    if fresh:
        db.dialect.notify(conn)
    hit("register.before_commit")
    return answers


def find_registered(conn: Connection, wishes: Sequence[Registration]) -> dict[str, Answer]:
    """Which of these wishes exist already: asked when the answer to their COMMIT was lost."""
    ids = select(flow_stat.c.task_flow_id).where(flow_stat.c.task_flow_id.in_([wish.flow_id for wish in wishes]))
    there = set(conn.scalars(ids))
    return {wish.flow_id: Registered(wish.flow_id, wish.task_id) for wish in wishes if wish.flow_id in there}


def _wanted(wish: Registration, definition: Definition | BadDefinition | None) -> Wanted:
    """The wish with all that its flow needs. Errors: whatever spoils this registration alone."""
    if definition is None:
        raise UnknownWorkflow(wish.task_id)
    if isinstance(definition, BadDefinition):
        raise definition
    extras = definition.workflow
    merged = {**extras.parameters, **(wish.parameters or {})}
    schema = extras.parameter_schema
    if schema is not None and (misfits := parameter_schema.misfits(wish.task_id, schema, merged)):
        raise BadRequest("parameters", "; ".join(misfits))
    priority = wish.priority if wish.priority is not None else extras.flow_priority
    return Wanted(wish, definition, merged, priority, copies.limit_keys_of(definition, wish.parameters or {}, merged))


def _insert_flows(
    conn: Connection, db: Database, wanted: Sequence[Wanted], answers: dict[str, Answer], instant: datetime
) -> list[Wanted]:
    """Insert the flow rows, and say which are new; wishes whose key is taken get their answer here."""
    keyed = [item for item in wanted if item.wish.idempotency_key is not None]
    plain = [item for item in wanted if item.wish.idempotency_key is None]
    extras = {item.wish.flow_id: _flow_extras(item, instant) for item in wanted}
    nothing = dict.fromkeys(product.columns_of(extras.values()))

    def rows(items: Sequence[Wanted]) -> list[dict[str, Any]]:
        return [{**_flow_row(item), **nothing, **extras[item.wish.flow_id]} for item in items]

    product.insert_rows(conn, flow_stat, rows(plain), registered_ts=instant)
    if not keyed:
        return plain
    # the unique key decides, not an earlier look: two registers may race for one key
    missing = db.dialect.insert_missing(flow_stat).values(registered_ts=instant)
    conn.execute(missing, rows(keyed))
    owners = _owners(conn, [item.wish for item in keyed])
    fresh: list[Wanted] = []
    for item in keyed:
        wish = item.wish
        flow_id, request_hash = owners[wish.task_id, wish.idempotency_key or ""]
        if flow_id == wish.flow_id:
            fresh.append(item)
        elif request_hash == wish.request_hash:
            answers[wish.flow_id] = Registered(flow_id, wish.task_id, replayed=True)
        else:
            answers[wish.flow_id] = KeyReused(wish.idempotency_key or "", flow_id)
    return plain + fresh


def _owners(conn: Connection, keyed: Sequence[Registration]) -> dict[tuple[str, str], tuple[str, str]]:
    flow = flow_stat.c
    pairs = sorted({(wish.task_id, wish.idempotency_key or "") for wish in keyed})
    query = select(flow.task_id, flow.idempotency_key, flow.task_flow_id, flow.request_hash)
    rows = conn.execute(query.where(tuple_(flow.task_id, flow.idempotency_key).in_(pairs)))
    return {(task_id, key): (flow_id, request_hash) for task_id, key, flow_id, request_hash in rows}


def _flow_row(item: Wanted) -> dict[str, Any]:
    """What every flow has, but for the time of the registration."""
    wish = item.wish
    return {
        "task_flow_id": wish.flow_id,
        "task_id": wish.task_id,
        "flow_status": int(Status.WAIT),
        "flow_priority": item.priority,
        "parameters": as_json(item.parameters) if item.parameters else None,
        "run_key": wish.run_key,
        "idempotency_key": wish.idempotency_key,
        "request_hash": wish.request_hash if wish.idempotency_key is not None else None,
        "task_count": len(item.definition.drafts),
        "version_id": item.definition.version_id,
    }


def _flow_extras(item: Wanted, instant: datetime) -> dict[str, Any]:
    """What only the flows of some workflows have."""
    workflow = item.definition.workflow
    found: dict[str, Any] = {"failure_policy": workflow.failure_policy} if workflow.failure_policy else {}
    if workflow.timeout_s is not None:
        found["deadline_ts"] = instant + timedelta(seconds=min(workflow.timeout_s, MAX_DELAY_S))
    if item.wish.parent is not None:
        found |= {"parent_flow_id": item.wish.parent.flow_id, "parent_exec_seq": item.wish.parent.seq}
    if item.wish.by is not None:
        found["registered_by"] = item.wish.by
    return found | ({"closing": 1} if workflow.closes or item.wish.parent is not None else {})


def _insert_tags(conn: Connection, wanted: Sequence[Wanted]) -> None:
    rows = [{"task_flow_id": item.wish.flow_id, "tag": tag} for item in wanted for tag in sorted(set(item.wish.tags))]
    if rows:
        conn.execute(insert(flow_tag), rows)


def _insert_tasks(conn: Connection, wanted: Sequence[Wanted], instant: datetime) -> None:
    alike, others = copies.alike(wanted)
    for definition, flows in alike.items():
        product.insert_product(conn, task_stat, flows, copies.bases(definition), registered_ts=instant)
        if edges := copies.edge_bases(definition):
            product.insert_product(conn, run_edge, flows, edges)
    product.insert_rows(conn, task_stat, copies.task_rows(others), registered_ts=instant)
    product.insert_rows(conn, run_edge, copies.edge_rows(others))


def _check_text(name: str, value: str | None, longest: int) -> None:
    if value is None:
        return
    if not value or len(value) > longest:
        raise BadRequest(name, f"must have 1 to {longest} characters, has {len(value)}")
    if "\x00" in value or not (value.isascii() or jsontext.clean_text(value, longest) == value):
        raise BadRequest(name, "holds a character that no database can store")


def _check_parameters(given: Mapping[str, Any]) -> None:
    if len(given) > MAX_PARAMETERS:
        raise BadRequest(
            "parameters", f"has {len(given):,} names, more than {MAX_PARAMETERS:,}: put many values into a list"
        )
    try:
        jsontext.dumps(dict(given), max_bytes=jsontext.MAX_RESULT_BYTES)
    except jsontext.NotJSON as error:
        raise BadRequest("parameters", str(error)) from error
