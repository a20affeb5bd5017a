"""Priorities that rise with waiting, so that nothing starves behind a stream of more urgent tasks.

A ready task gains one step for every so many seconds that it has been ready, up to the most urgent priority. `aged`
counts its steps, so that a re-run can give them back. A sweep reads the head of each priority level only, in the order
of the claim: what stands behind the head is claimed after it in any case, and comes to the head when that has risen.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, Row, func, select, update

from engine.database import Database
from engine.dialects.clock import MAX_DELAY_S, later, time_now
from engine.graph.dependencies import predecessors
from engine.keys import KEY_COLUMNS, Key, among, chunks, key_of, pair_among
from engine.states import PRIORITY_MIN
from engine.tables import CLAIM_ORDER, IS_READY, task_stat, wait

BATCH: Final = 500
"""Tasks that a sweep looks at in each level of each queue."""
GIVEN_BACK: Final[Mapping[str, Any]] = {"task_priority": task_stat.c.task_priority + task_stat.c.aged, "aged": 0}
"""What a re-run sets, so that a task begins with the priority it was given."""


def raise_waiting(db: Database, queues: Sequence[str], ageing_s: float) -> int:
    """Raise the priority of ready tasks by one step for every `ageing_s` seconds that they have waited.

    Levels are taken from the most urgent on, so that a task that rises is not met again; each is a transaction of its
    own. Returns how many tasks were raised. Units: ageing_s in seconds of the database's clock, more than 0.
    """
    raised, step = 0, timedelta(seconds=min(ageing_s, MAX_DELAY_S))
    for queue in dict.fromkeys(queues):
        for level in _levels(db, queue):
            raised += db.transact(partial(_raise, queue=queue, level=level, step=step))
    return raised


def _levels(db: Database, queue: str) -> Iterator[int]:
    """The priorities below the most urgent that have ready tasks, each found by one step in the index of the claim."""
    level: int | None = PRIORITY_MIN
    while level is not None:
        below = select(func.min(task_stat.c.task_priority)).where(IS_READY, task_stat.c.queue == queue)
        with db.read() as conn:
            level = conn.scalar(below.where(task_stat.c.task_priority > level))
        if level is not None:
            yield level


def _raise(conn: Connection, queue: str, level: int, step: timedelta) -> int:
    """Tasks of equal steps share a statement; its guards leave out what was claimed or raised by another meanwhile."""
    task = task_stat.c
    head = _head(conn, queue, level, step)
    instant = time_now(conn)
    since = _ready_since(conn, head)
    groups: dict[tuple[int, int], list[Key]] = {}
    for row in head:
        waited = instant - since[key_of(row)]
        steps = min(waited // step - row.aged, level - PRIORITY_MIN)
        if steps > 0:
            groups.setdefault((steps, row.aged), []).append(key_of(row))
    raised = 0
    for (steps, aged), keys in sorted(groups.items()):
        for part in chunks(sorted(keys)):
            unchanged = among(part), IS_READY, task.task_priority == level, task.aged == aged
            higher = {"task_priority": level - steps, "aged": aged + steps}
            raised += conn.execute(update(task_stat).where(*unchanged).values(higher)).rowcount
    return raised


def _head(conn: Connection, queue: str, level: int, step: timedelta) -> list[Row[Any]]:
    """The first ready tasks of a level whose flow is old enough that they may have waited for a step."""
    task = task_stat.c
    query = select(*KEY_COLUMNS, task.registered_ts, task.started_ts, task.aged)
    query = query.where(IS_READY, task.queue == queue, task.task_priority == level)
    query = query.where(task.registered_ts <= later(-step.total_seconds()))
    rows: list[Row[Any]] = list(conn.execute(query.order_by(*CLAIM_ORDER).limit(BATCH)))
    return [row for row in rows if row.registered_ts is not None]  # a time by hand that Python cannot hold


def _ready_since(conn: Connection, rows: Sequence[Row[Any]]) -> dict[Key, datetime]:
    """When each became ready: no column says so, but the last of these does that happened: it was registered, its last
    try began, a predecessor finished, a wait was closed."""
    found = {key_of(row): max(row.registered_ts, row.started_ts or row.registered_ts) for row in rows}
    for key, instant in (*_predecessors_finished(conn, found), *_waits_closed(conn, found)):
        if instant is not None:
            found[key] = max(found[key], instant)
    return found


def _predecessors_finished(conn: Connection, keys: Collection[Key]) -> list[tuple[Key, datetime | None]]:
    parents = predecessors(conn, keys)
    finished: dict[Key, datetime | None] = {}
    for part in chunks(sorted({parent for before in parents.values() for parent in before})):
        for row in conn.execute(select(*KEY_COLUMNS, task_stat.c.finished_ts).where(among(part))):
            finished[key_of(row)] = row.finished_ts
    return [(key, finished.get(parent)) for key, before in parents.items() for parent in before]


def _waits_closed(conn: Connection, keys: Collection[Key]) -> list[tuple[Key, datetime | None]]:
    found: list[tuple[Key, datetime | None]] = []
    for part in chunks(sorted(keys)):
        of_tasks = pair_among(wait.c.task_flow_id, wait.c.task_exec_seq, part)
        last = select(wait.c.task_flow_id, wait.c.task_exec_seq, func.max(wait.c.closed_ts)).where(of_tasks)
        rows = conn.execute(last.group_by(wait.c.task_flow_id, wait.c.task_exec_seq))
        found += [(Key(flow_id, seq), instant) for flow_id, seq, instant in rows]
    return found
