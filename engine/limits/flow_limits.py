"""How many flows of a workflow may be under way at once (`ms_workflow`: max_active_flows, on_limit).

A registration beyond the limit waits its turn, is refused, or has the oldest flows cancelled. A flow that waits its
turn is registered whole; each of its tasks that would be ready awaits one thing more, a row of kr_wait of the kind
`turn`. What decides is the rows, counted under the lock of the workflow's row; no counter is kept.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, delete, exists, func, select, update

from engine.database import Database
from engine.errors import TooManyFlows
from engine.keys import KEY_COLUMNS, among, chunks, key_of
from engine.tables import IS_ACTIVE, IS_READY, IS_TURN, flow_stat, task_stat, wait, workflow
from engine.waiting import waits
from engine.waiting.waits import Closing, NewWait

TURN: Final = "turn"
QUEUE, REFUSE, CANCEL_OLDEST = "queue", "refuse", "cancel oldest"
BATCH: Final = 200
_NONE: Final = ""
"""`correlation_key` of every turn: it stands before the time in the index, and must not come between the order."""


@dataclass(frozen=True)
class FlowLimit:
    """What ms_workflow says of one workflow."""

    most: int
    on_limit: str


@dataclass
class Admission:
    """What becomes of new flows. `refused`: flow id -> why; `queued`: flow id -> workflow, of those that wait;
    `crowded`: workflow -> how many flows may be under way, where the oldest are to go."""

    refused: dict[str, TooManyFlows] = field(default_factory=dict)
    queued: dict[str, str] = field(default_factory=dict)
    crowded: dict[str, int] = field(default_factory=dict)


def admit(conn: Connection, db: Database, fresh: Sequence[tuple[str, str]]) -> Admission:
    """Judge new flows of workflows that have a limit, given as (flow id, task_id) in the order of their registration,
    whose flow rows are inserted and whose tasks are not. Rows of refused flows are deleted.

    The row of each workflow stays locked until the transaction ends, so that two registers cannot both see the last
    place.
    """
    admission = Admission()
    if not fresh:
        return admission
    limits = _limits(conn, db, {task_id for _, task_id in fresh})
    for task_id, limit in limits.items():
        flow_ids = [flow_id for flow_id, of in fresh if of == task_id]
        if limit.on_limit == CANCEL_OLDEST:
            admission.crowded[task_id] = limit.most
            continue
        beyond = flow_ids[_room(conn, task_id, limit, flow_ids) :]
        if limit.on_limit == REFUSE:
            admission.refused |= {flow_id: TooManyFlows(task_id, limit.most) for flow_id in beyond}
        else:
            admission.queued |= dict.fromkeys(beyond, task_id)
    for part in chunks(sorted(admission.refused)):
        conn.execute(delete(flow_stat).where(flow_stat.c.task_flow_id.in_(part)))
    return admission


def enforce(conn: Connection, db: Database, admission: Admission) -> None:
    """The other half, once the tasks are there: queued flows are held back, and flows beyond the limit cancelled."""
    _hold(conn, admission.queued)
    for task_id, most in admission.crowded.items():
        if flow_ids := _oldest_beyond(conn, task_id, most):
            from engine.control import cancel_flows  # which registers flows itself, when it runs one again

            note = f"workflow {task_id!r} may have {most} flows under way"
            cancel_flows(conn, db, flow_ids, actor="register", note=note)


def give_turns(db: Database) -> int:
    """Let the flows go that have waited longest, as many as there is room for by now. Returns how many flows.

    Cheap while there is no room: a look at one entry of an index and a bounded count for each workflow that queues.
    """
    return sum(_give(db, task_id) for task_id in _queueing(db))


def _queueing(db: Database) -> list[str]:
    """The workflows that have flows in the queue, each found by one step in the index, however many flows wait."""
    found: list[str] = []
    with db.read() as conn:
        later: list[ColumnElement[bool]] = []
        while (name := conn.scalar(select(func.min(wait.c.name)).where(IS_TURN, *later))) is not None:
            later = [wait.c.name > name]
            if _room_now(conn, name, _read_limits(conn, [name]).get(name)):
                found.append(name)
    return found


def _give(db: Database, task_id: str) -> int:
    def work(conn: Connection) -> int:
        limit = _limits(conn, db, [task_id]).get(task_id)
        flow_ids = _next_in_turn(conn, task_id, _room_now(conn, task_id, limit))
        turns: list[str] = []
        for part in chunks(flow_ids):
            turns += conn.scalars(select(wait.c.wait_id).where(IS_TURN, wait.c.task_flow_id.in_(part)))
        waits.close(conn, db, [Closing(wait_id, "arrived") for wait_id in turns])
        return len(flow_ids)

    return db.transact(work)


def _limits(conn: Connection, db: Database, task_ids: Collection[str]) -> dict[str, FlowLimit]:
    """The limits of those workflows that have one, with their rows locked; read anew once they are."""
    limits = _read_limits(conn, task_ids)
    if not limits or not db.can.row_locks:
        return limits
    locked = select(workflow.c.task_id).where(workflow.c.task_id.in_(sorted(limits)))
    conn.execute(locked.order_by(workflow.c.task_id).with_for_update()).all()
    return _read_limits(conn, limits)


def _read_limits(conn: Connection, task_ids: Collection[str]) -> dict[str, FlowLimit]:
    of = workflow.c
    query = select(of.task_id, of.max_active_flows, of.on_limit).where(of.max_active_flows.isnot(None))
    rows: list[Any] = [
        row for part in chunks(sorted(task_ids)) for row in conn.execute(query.where(of.task_id.in_(part)))
    ]
    return {row.task_id: FlowLimit(row.max_active_flows, row.on_limit or QUEUE) for row in rows}


def _room(conn: Connection, task_id: str, limit: FlowLimit, own: Collection[str]) -> int:
    """How many new flows may begin. None may where flows queue already: they were first."""
    if limit.on_limit == QUEUE and conn.scalar(select(exists(select(1).where(*_turns_of(task_id))))):
        return 0
    return max(0, limit.most - _active(conn, task_id, limit.most, but=own))


def _room_now(conn: Connection, task_id: str, limit: FlowLimit | None) -> int:
    """How many queued flows may go; all of them where the limit has been taken away."""
    return BATCH if limit is None else min(BATCH, max(0, limit.most - _active(conn, task_id, limit.most)))


def _active(conn: Connection, task_id: str, most: int, *, but: Collection[str] = ()) -> int:
    """How many flows of a workflow are under way, without those that wait their turn; counted up to `most` only."""
    query = select(flow_stat.c.task_flow_id).where(flow_stat.c.task_id == task_id, IS_ACTIVE, ~_in_turn())
    found = set(conn.scalars(query.limit(most + len(but))))
    return len(found - set(but))


def _in_turn() -> ColumnElement[bool]:
    """The state is a parameter: the index of open waits would be read from end to end, for each flow."""
    of_flow = wait.c.task_flow_id == flow_stat.c.task_flow_id, wait.c.state == "open", wait.c.kind == TURN
    return exists(select(1).where(*of_flow)).correlate(flow_stat)


def _turns_of(task_id: str) -> tuple[ColumnElement[bool], ...]:
    return IS_TURN, wait.c.name == task_id, wait.c.correlation_key == _NONE


def _next_in_turn(conn: Connection, task_id: str, most: int) -> list[str]:
    """The flows that have waited longest. A flow may have several turns, one for each of its first tasks."""
    oldest = select(wait.c.task_flow_id).where(*_turns_of(task_id)).order_by(wait.c.created_ts, wait.c.task_flow_id)
    found = dict.fromkeys(conn.scalars(oldest.limit(BATCH))) if most else {}
    return list(found)[:most]


def _hold(conn: Connection, queued: Mapping[str, str]) -> None:
    for part in chunks(sorted(queued)):
        first = select(*KEY_COLUMNS).where(task_stat.c.task_flow_id.in_(part), IS_READY).order_by(*KEY_COLUMNS)
        keys = [key_of(row) for row in conn.execute(first)]
        for some in chunks(keys):
            conn.execute(update(task_stat).where(among(some)).values(wait_count=task_stat.c.wait_count + 1))
        waits.open_waits(conn, [NewWait(key, TURN, queued[key.flow_id], _NONE) for key in keys])


def _oldest_beyond(conn: Connection, task_id: str, most: int) -> list[str]:
    """The flows under way, oldest first, less the `most` newest."""
    flow = flow_stat.c
    query = select(flow.task_flow_id).where(flow.task_id == task_id, IS_ACTIVE, ~_in_turn())
    oldest = list(conn.scalars(query.order_by(flow.registered_ts, flow.task_flow_id)))
    return oldest[: max(0, len(oldest) - most)]
