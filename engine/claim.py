"""Ready rows -> RUNNING under a watcher's lease."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, or_, select, tuple_

from engine import flow_counts, retry
from engine.claim_limits import Limits, Room
from engine.database import Database
from engine.keys import KEY_COLUMNS, Fence, Key, among, key_of
from engine.retry import NO_RETRY, RetryRule
from engine.states import WAITING_REASONS, Status
from engine.tables import CLAIM_ORDER, IS_READY, IS_RUNNING, flow_stat, task_stat
from engine.transitions import move

NO_LIMITS = Limits()


@dataclass(frozen=True)
class ClaimedTask:
    """A task instance that this watcher holds: what to run, with which parameters, under which claim."""

    key: Key
    claim_id: str
    task_id: str
    task_seq: int
    program: str | None
    parameters: str | None
    flow_parameters: str | None
    claim_no: int
    attempt: int
    retry: RetryRule = NO_RETRY
    name: str | None = None
    templates: str | None = None
    input_mapping: str | None = None
    output_mapping: str | None = None

    @property
    def fence(self) -> Fence:
        return Fence(*self.key, self.claim_id)


def claim_ready(
    conn: Connection,
    db: Database,
    watcher_id: str,
    claim_id: str,
    limit: int,
    *,
    queues: Sequence[str] = ("default",),
    limits: Limits = NO_LIMITS,
) -> list[ClaimedTask]:
    """Take up to `limit` ready task instances for one watcher, all under one new claim id.

    Shape: list of ClaimedTask, most urgent first, maybe empty. Several queues are asked in the order given.
    Errors: none for a lost race, the row is simply absent. Source: Flower's GetExecutableTask, with leases.
    """
    room = _room(conn, db, limits)
    rows: list[Row[Any]] = []
    for queue in dict.fromkeys(queues):
        if len(rows) < limit:
            rows += _select(conn, db, queue, limit - len(rows), room)
    if not rows:
        return []
    claimed = _take(conn, watcher_id, claim_id, rows)
    flow_counts.start(conn, {row.task_flow_id for row in claimed if row.flow_status == Status.WAIT})
    by_hand = {row.task_flow_id for row in claimed if row.was_suspended or row.flow_status is None}
    if by_hand:  # a person set a suspended row back to 0: the flow's counters do not know yet
        flow_counts.recount(conn, db, by_hand)
    return [_claimed_task(row, claim_id) for row in claimed]


def claimed_under(conn: Connection, claim_id: str) -> list[ClaimedTask]:
    """What a claim took: asked when the answer to its COMMIT was lost."""
    rows = conn.execute(_details().where(task_stat.c.claim_id == claim_id, IS_RUNNING).order_by(*CLAIM_ORDER))
    return [_claimed_task(row, claim_id, claimed=True) for row in rows]


def _room(conn: Connection, db: Database, limits: Limits) -> Room | None:
    """What the limits leave free, over all queues of this claim; None without limits."""
    if not limits.any:
        return None
    db.dialect.claim_lock(conn)
    return Room(conn, limits)


def _select(conn: Connection, db: Database, queue: str, limit: int, room: Room | None) -> list[Row[Any]]:
    ready = _details().where(IS_READY, task_stat.c.queue == queue).order_by(*CLAIM_ORDER)
    if db.can.row_locks:
        ready = ready.with_for_update(skip_locked=db.can.skip_locked, of=None)
    if room is None:
        return list(conn.execute(ready.limit(limit)))
    return _within(conn, ready, limit, room)


def _within(conn: Connection, ready: Select[Any], limit: int, room: Room) -> list[Row[Any]]:
    """Read candidates page by page, leaving out workflows that are full; each page closes at least one of them."""
    chosen: list[Row[Any]] = []
    wanted = room.left(limit)
    while len(chosen) < wanted:
        open_ones = ready.where(task_stat.c.task_id.not_in(full)) if (full := room.full()) else ready
        if chosen:
            open_ones = open_ones.where(tuple_(*KEY_COLUMNS).not_in([key_of(row) for row in chosen]))
        page = list(conn.execute(open_ones.limit(wanted - len(chosen))))
        taken = [row for row in page if room.take(row.task_id)]
        chosen += taken
        if len(taken) == len(page):
            break
    return chosen


def _details() -> Select[Any]:
    """The flow's columns come by subqueries, which a locking read does not lock; a join would lock flow rows too."""
    task = task_stat.c
    of_flow = flow_stat.c.task_flow_id == task.task_flow_id
    return select(
        *KEY_COLUMNS,
        task.task_id,
        task.task_seq,
        task.program,
        task.parameters,
        task.claims,
        task.attempt,
        task.name,
        task.templates,
        task.input_mapping,
        task.output_mapping,
        *(task[column] for column in retry.COLUMNS),
        or_(task.suspended_ts.isnot(None), task.reason.not_in(WAITING_REASONS)).label("was_suspended"),
        select(flow_stat.c.parameters).where(of_flow).scalar_subquery().label("flow_parameters"),
        select(flow_stat.c.flow_status).where(of_flow).scalar_subquery().label("flow_status"),
    )


def _take(conn: Connection, watcher_id: str, claim_id: str, rows: Iterable[Row[Any]]) -> list[Row[Any]]:
    """The guarded update is the lock. Where it moved fewer rows than were read, somebody else was faster (there was no
    SKIP LOCKED to tell us), and the claim id on the rows says which are ours."""
    rows = list(rows)
    keys = [key_of(row) for row in rows]
    moved = move(conn, "claim", keys, IS_READY, claim_id=claim_id, owner=watcher_id, claims=task_stat.c.claims + 1)
    if moved == len(rows):
        return rows
    mine = select(*KEY_COLUMNS).where(among(keys), task_stat.c.claim_id == claim_id)
    won = {Key(*row) for row in conn.execute(mine)}
    return [row for row in rows if key_of(row) in won]


def _claimed_task(row: Row[Any], claim_id: str, *, claimed: bool = False) -> ClaimedTask:
    return ClaimedTask(
        key=key_of(row),
        claim_id=claim_id,
        task_id=row.task_id,
        task_seq=row.task_seq,
        program=row.program,
        parameters=row.parameters,
        flow_parameters=row.flow_parameters,
        claim_no=row.claims if claimed else row.claims + 1,
        attempt=row.attempt + 1,
        retry=retry.rule_of(row._mapping),
        name=row.name,
        templates=row.templates,
        input_mapping=row.input_mapping,
        output_mapping=row.output_mapping,
    )
