"""Sub-flows: a task that awaits a whole flow. The flow is registered in the transaction that settles the task, which
waits in kr_wait for its end; whoever closes the ended flow tells the task, and its program runs once more."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, exists, select

from engine import jsontext
from engine.database import Database
from engine.errors import BadRequest
from engine.flows import Registered, Registration, register
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.graph.edges import IS_FORWARD
from engine.inputs import document
from engine.keys import Key, among, chunks, pair_among
from engine.states import Status
from engine.tables import IS_ACTIVE, flow_stat, run_edge, task_stat, wait
from engine.waiting.waits import Closing, close
from engine.wishes import WaitWish

KIND: Final = "flow"
MAX_LEVELS: Final = 20
"""How deep sub-flows may be nested, the flow that a person registered included."""
_DETAILS: Final = ("parameters", "run_key", "priority")
_ENDED: Final = (int(Status.FINISH), int(Status.IGNORE))


def begin(conn: Connection, db: Database, wishes: Mapping[Key, WaitWish]) -> tuple[dict[Key, WaitWish], dict[Key, str]]:
    """Register the flows that these tasks are to await, in the transaction that settles the tasks.

    Shape: the wishes with the id of the new flow as their key; and, for those whose flow cannot be registered, the
    words for a person.
    """
    levels = _levels(conn, {key.flow_id for key in wishes})
    wanted: dict[Key, Registration] = {}
    refused: dict[Key, str] = {}
    for key, wish in sorted(wishes.items()):
        if levels[key.flow_id] >= MAX_LEVELS:
            why = f"it would be on level {levels[key.flow_id] + 1}, and there are {MAX_LEVELS}; does it start itself?"
            refused[key] = f"the sub-flow {wish.name!r}: {why}"
            continue
        try:
            wanted[key] = _registration(key, wish)
        except (BadRequest, jsontext.NotJSON) as error:
            refused[key] = f"the sub-flow {wish.name!r}: {error}"
    answers = register(conn, db, list(wanted.values())) if wanted else {}
    begun: dict[Key, WaitWish] = {}
    for key, registration in wanted.items():
        answer = answers[registration.flow_id]
        if isinstance(answer, Registered):
            begun[key] = replace(wishes[key], key=answer.flow_id)
        else:
            refused[key] = f"the sub-flow {registration.task_id!r}: {answer}"
    return begun, refused


def tell_parents(conn: Connection, db: Database, flow_ids: Collection[str], policy: Policy = DEFAULT_POLICY) -> int:
    """Tell the tasks that await these flows what became of them. Flows that have not ended, and flows that no task
    awaits any more, are left out. Returns how many tasks were told. Locks the tasks, and no flow."""
    flow = flow_stat.c
    columns = flow.task_flow_id, flow.flow_status, flow.reason, flow.result, flow.parent_flow_id, flow.parent_exec_seq
    ended = flow.flow_status.in_(_ENDED), flow.parent_flow_id.isnot(None), flow.parent_exec_seq.isnot(None)
    closings: list[Closing] = []
    for part in chunks(sorted(flow_ids)):
        rows = conn.execute(select(*columns).where(flow.task_flow_id.in_(part), *ended)).all()
        if not rows:
            continue
        waits = _waits_for(conn, rows)
        bare = [row.task_flow_id for row in rows if row.result is None and row.flow_status == Status.FINISH]
        results = last_results(conn, bare)
        for row in rows:
            if wait_id := waits.get(row.task_flow_id):
                payload = _payload(row, results.get(row.task_flow_id, row.result))
                closings.append(Closing(wait_id, "arrived", payload, row.task_flow_id))
    return close(conn, db, closings, policy) if closings else 0


def last_results(conn: Connection, flow_ids: Collection[str]) -> dict[str, str | None]:
    """What the last finished task of each flow returned, as JSON text: the one with the highest run number of those
    that nothing waits for. A flow without such a task is left out."""
    last, edge, flow = task_stat.alias("last"), run_edge.c, flow_stat.c
    after = task_stat.alias("after")
    is_followed = exists().where(
        after.c.task_flow_id == last.c.task_flow_id, after.c.depends_task_exec_seq == last.c.task_exec_seq
    )
    has_edge = exists().where(
        edge.task_flow_id == last.c.task_flow_id, edge.depends_task_exec_seq == last.c.task_exec_seq, IS_FORWARD
    )
    highest = (
        select(last.c.task_exec_seq)
        .where(last.c.task_flow_id == flow.task_flow_id, last.c.exec_status == int(Status.FINISH))
        .where(~is_followed, ~has_edge)
        .order_by(last.c.task_exec_seq.desc())
        .limit(1)
        .correlate(flow_stat)
        .scalar_subquery()
    )
    found: dict[str, str | None] = {}
    for part in chunks(sorted(flow_ids)):
        numbers = conn.execute(select(flow.task_flow_id, highest.label("seq")).where(flow.task_flow_id.in_(part)))
        if keys := [Key(flow_id, seq) for flow_id, seq in numbers if seq is not None]:
            results = conn.execute(select(task_stat.c.task_flow_id, task_stat.c.result).where(among(keys)))
            found |= dict(results.all())
    return found


def children_of(conn: Connection, flow_ids: Collection[str]) -> dict[str, Key]:
    """The flows under way that tasks of these flows have started, each with its task: what a cancellation passes down
    to. Their own children are asked for with the answer."""
    flow = flow_stat.c
    columns = flow.task_flow_id, flow.parent_flow_id, flow.parent_exec_seq
    found: dict[str, Key] = {}
    for part in chunks(sorted(flow_ids)):
        rows = conn.execute(select(*columns).where(flow.parent_flow_id.in_(part), IS_ACTIVE))
        found |= {child: Key(parent, seq) for child, parent, seq in rows}
    return found


def _registration(key: Key, wish: WaitWish) -> Registration:
    details = jsontext.loads_object(wish.details or "{}")
    if unknown := sorted(details.keys() - set(_DETAILS)):
        raise BadRequest("details", f"{unknown[0]!r} is none of {', '.join(_DETAILS)}")
    parameters, run_key, priority = (details.get(name) for name in _DETAILS)
    if parameters is not None and not isinstance(parameters, dict):
        raise BadRequest("parameters", "must be an object")
    if run_key is not None and not isinstance(run_key, str):
        raise BadRequest("run_key", "must be a text")
    if priority is not None and (isinstance(priority, bool) or not isinstance(priority, int)):
        raise BadRequest("priority", "must be a whole number")
    return Registration(wish.name or "", parameters, priority, run_key, parent=key)


def _levels(conn: Connection, flow_ids: Collection[str]) -> dict[str, int]:
    """On which level each flow stands: 1 for one that no task has started; never more than one above the most."""
    flow = flow_stat.c
    parents: dict[str, str | None] = {}
    asked = set(flow_ids)
    for _ in range(MAX_LEVELS):
        for part in chunks(sorted(asked)):
            known = conn.execute(select(flow.task_flow_id, flow.parent_flow_id).where(flow.task_flow_id.in_(part)))
            parents |= {row[0]: row[1] for row in known}
        asked = {parent for flow_id in asked if (parent := parents.get(flow_id)) and parent not in parents}
        if not asked:
            break
    levels: dict[str, int] = {}
    for flow_id in flow_ids:
        level, above = 1, parents.get(flow_id)
        while above is not None and level <= MAX_LEVELS:
            level, above = level + 1, parents.get(above)
        levels[flow_id] = level
    return levels


def _waits_for(conn: Connection, children: Collection[Any]) -> dict[str, str]:
    """The open wait of each child's parent, by the child."""
    tasks = {Key(row.parent_flow_id, row.parent_exec_seq) for row in children}
    found: dict[str, str] = {}
    for part in chunks(sorted(tasks)):
        # the state as a parameter: an index of all open waits would be read from end to end
        theirs = pair_among(wait.c.task_flow_id, wait.c.task_exec_seq, part), wait.c.state == "open"
        query = select(wait.c.correlation_key, wait.c.wait_id).where(*theirs, wait.c.kind == KIND)
        found |= dict(conn.execute(query).all())
    return found


def _payload(row: Any, result: str | None) -> str:
    told = {"flow_id": row.task_flow_id, "status": row.flow_status, "reason": row.reason, "result": document(result)}
    return jsontext.dumps(told)
