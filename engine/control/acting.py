"""What all operator verbs share: find and lock what is meant, apply, count the flows anew, record who did it.

A verb works on any number of flows in one transaction: one flow and two hundred of them are the same code. Locks are
taken in the engine's one order: task rows by key, successors by key, flow rows by key.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, func, select

from engine import attempts, flow_counts, history
from engine.database import Database
from engine.errors import BadRequest, Conflict, PenstockError, UnknownFlow
from engine.graph import routing
from engine.graph.dependencies import Policy
from engine.keys import KEY_COLUMNS, Fence, Key, among, chunks, key_of
from engine.states import Status
from engine.tables import flow_stat, task_stat
from engine.waiting import waits

OPEN = (Status.WAIT, Status.RUNNING, Status.SUSPEND)
ENDED = (Status.FINISH, Status.IGNORE)
_task = task_stat.c
COLUMNS = (
    *KEY_COLUMNS,
    _task.task_id,
    _task.task_seq,
    _task.exec_status,
    _task.task_priority,
    _task.wait_count,
    _task.program,
    _task.name,
    _task.phase,
    _task.reason,
    _task.due_ts,
    _task.started_ts,
    _task.claims,
    _task.attempt,
    _task.owner,
    _task.claim_id,
    _task.made_by_exec_seq,
    _task.iteration,
    _task.generation,
)
"""What verbs decide by: everything of a task that is small."""
TaskRow = Row[Any]


@dataclass(frozen=True)
class Meant:
    """Which tasks a verb is for: those of these flows, or of them only those named, or only those that the conditions
    and the texts (a step's name or its program must be one of them) let through."""

    flow_ids: tuple[str, ...]
    seqs: frozenset[int] | None = None
    conditions: tuple[ColumnElement[bool], ...] = ()
    texts: frozenset[str] | None = None

    @property
    def is_whole(self) -> bool:
        return self.seqs is None and not self.conditions and self.texts is None

    def narrowed(self, query: Select[Any], *, named: bool = True) -> Select[Any]:
        if named and self.seqs is not None:
            query = query.where(_task.task_exec_seq.in_(sorted(self.seqs)))
        return query.where(*self.conditions)

    def fits(self, row: TaskRow) -> bool:
        return self.texts is None or row.name in self.texts or row.program in self.texts


@dataclass
class Chosen:
    """What a verb acts on: the tasks that it answers with, others that it changes along, and flows that it refused."""

    rows: list[TaskRow] = field(default_factory=list)
    others: list[TaskRow] = field(default_factory=list)
    flow_ids: list[str] = field(default_factory=list)
    """The flows that are acted on, in order."""
    refused: dict[str, PenstockError] = field(default_factory=dict)
    superseded: list[TaskRow] = field(default_factory=list)
    """Tasks that will be made anew by those that run again."""
    texts: dict[Key, str] = field(default_factory=dict)
    """What the verb will write into a task, or (as number 0) into a flow, where that differs from one to another."""
    was: dict[Key, str | None] = field(default_factory=dict)
    """What stood there."""

    def seqs_of(self, flow_id: str) -> list[int]:
        return sorted(row.task_exec_seq for row in self.rows if row.task_flow_id == flow_id)

    def take(self, rows: Iterable[TaskRow]) -> None:
        """Act on these tasks and on their flows."""
        self.rows += rows
        self.flow_ids = sorted({*self.flow_ids, *(row.task_flow_id for row in self.rows)})

    def refuse(self, flow_id: str, error: PenstockError) -> None:
        """Leave this flow as it is, all of it."""
        self.refused[flow_id] = error
        self.rows = [row for row in self.rows if row.task_flow_id != flow_id]
        self.flow_ids = [other for other in self.flow_ids if other != flow_id]


class Verb:
    """One operator verb with its arguments: which tasks it takes, and what it does to them."""

    what: str
    """The word in the event."""
    statuses: tuple[Status, ...] = OPEN
    """The statuses that it is for; tasks in others are left alone."""

    of_flows: ClassVar[bool] = False
    """Does it act on flows as a whole, rather than on single tasks?"""

    column: ClassVar[Column[Any] | None] = _task.exec_status
    """The column of tasks that it is about, for the record of what it changed; None: of flows only."""

    def interest(self) -> ColumnElement[bool] | None:
        """What of a task, or of a flow, makes it worth a look; None: anything."""
        return None if self.of_flows else _task.exec_status.in_([int(status) for status in self.statuses])

    def choose(self, conn: Connection, db: Database, meant: Meant, *, lock: bool) -> Chosen:
        """The tasks that are meant and in the right status, locked unless this is a dry run."""
        chosen = Chosen(refused=missing(conn, meant.flow_ids))
        rows = read_tasks(conn, db, meant, self.statuses, lock=lock)
        chosen.take(row for row in rows if row.exec_status in self.statuses and meant.fits(row))
        return chosen

    def apply(self, conn: Connection, db: Database, chosen: Chosen, actor: str) -> None:
        raise NotImplementedError

    def details(self, row: TaskRow) -> dict[str, Any]:
        """What the event of one task says beside actor and note."""
        return {}

    def was(self, chosen: Chosen, row: TaskRow) -> Any:
        """That column of a task before the verb changed it."""
        return None if self.column is None else row._mapping[self.column.name]

    def events(self, chosen: Chosen, actor: str, said: Mapping[str, Any]) -> list[history.Event]:
        return [history.about(key_of(row), self.what, actor, **self.details(row), **said) for row in chosen.rows]


def perform(conn: Connection, db: Database, verb: Verb, meant: Meant, actor: str, note: str | None) -> Chosen:
    """Do it, in `conn`'s transaction. What is refused is left as it is and named in the answer."""
    chosen = verb.choose(conn, db, meant, lock=True)
    if not chosen.flow_ids:
        return chosen
    verb.apply(conn, db, chosen, actor)
    flow_counts.recount(conn, db, {*chosen.flow_ids, *(row.task_flow_id for row in chosen.others)})
    history.record(conn, verb.events(chosen, actor, {"note": note} if note else {}))
    db.dialect.notify(conn)
    return chosen


def perform_on(
    db: Database,
    verb: Verb,
    flow_id: str,
    seqs: Collection[int] | None,
    actor: str,
    note: str | None,
    *,
    texts: frozenset[str] | None = None,
) -> list[int]:
    """Do it to one flow, in a transaction of its own. Shape: the run numbers acted on, ascending. Errors: what the verb
    refuses, and UnknownFlow; nothing is changed then."""
    meant = Meant((flow_id,), None if seqs is None else frozenset(seqs), texts=texts)

    def work(conn: Connection) -> list[int]:
        chosen = perform(conn, db, verb, meant, actor, note)
        if chosen.refused:
            raise chosen.refused[flow_id]
        return chosen.seqs_of(flow_id)

    return db.transact(work)


def refuse_others(conn: Connection, db: Database, meant: Meant, chosen: Chosen, remedy: str) -> None:
    """Refuse the flow if the verb does not fit all tasks that were named."""
    if meant.seqs is None or chosen.refused:
        return
    (flow_id,) = meant.flow_ids
    left_out = sorted(meant.seqs - {row.task_exec_seq for row in chosen.rows})
    if left_out:
        rows = {row.task_exec_seq: row for row in read_tasks(conn, db, meant, OPEN, lock=False)}
        chosen.refuse(flow_id, not_for(flow_id, left_out[0], rows.get(left_out[0]), remedy))


def not_for(flow_id: str, seq: int, row: TaskRow | None, remedy: str) -> PenstockError:
    """Why a named task cannot be acted on."""
    if row is None:
        return BadRequest("seqs", f"flow {flow_id!r} has no task {seq}")
    why = f" ({row.reason})" if row.reason else ""
    return Conflict(f"task {seq} of flow {flow_id!r}", f"is in {Status(row.exec_status).name}{why}", remedy)


def missing(conn: Connection, flow_ids: Collection[str]) -> dict[str, PenstockError]:
    known: set[str] = set()
    for part in chunks(sorted(flow_ids)):
        known |= set(conn.scalars(select(flow_stat.c.task_flow_id).where(flow_stat.c.task_flow_id.in_(part))))
    return {flow_id: UnknownFlow(flow_id) for flow_id in flow_ids if flow_id not in known}


def read_tasks(
    conn: Connection, db: Database, meant: Meant, statuses: Sequence[Status], *, lock: bool
) -> list[TaskRow]:
    """The tasks that are meant, by key; named ones whatever their status, as the verb may want to say what it is."""
    rows: list[TaskRow] = []
    for part in chunks(sorted(meant.flow_ids)):
        query = meant.narrowed(select(*COLUMNS).where(_task.task_flow_id.in_(part)))
        if meant.seqs is None:
            query = query.where(_task.exec_status.in_([int(status) for status in statuses]))
        rows += _locking(conn, db, query, lock=lock)
    return rows


def read_keys(conn: Connection, db: Database, of: Collection[Key]) -> list[TaskRow]:
    """These tasks, locked, by key."""
    rows: list[TaskRow] = []
    for part in chunks(sorted(of)):
        rows += _locking(conn, db, select(*COLUMNS).where(among(part)), lock=True)
    return rows


def read_whole(
    conn: Connection, db: Database, flow_ids: Collection[str], *only: ColumnElement[bool], lock: bool
) -> list[TaskRow]:
    """Every task of these flows, or only such tasks, by key. A plan may have added some while we waited for the locks:
    then we look again."""
    rows: list[TaskRow] = []
    for part in chunks(sorted(flow_ids)):
        these = _task.task_flow_id.in_(part), *only
        found = _locking(conn, db, select(*COLUMNS).where(*these), lock=lock)
        while lock and conn.scalar(select(func.count()).select_from(task_stat).where(*these)) != len(found):
            found = _locking(conn, db, select(*COLUMNS).where(*these), lock=lock)
        rows += found
    return rows


def _locking(conn: Connection, db: Database, query: Select[Any], *, lock: bool) -> list[TaskRow]:
    query = query.order_by(*KEY_COLUMNS)
    if lock and db.can.row_locks:
        query = query.with_for_update()
    return list(conn.execute(query))


def keys(rows: Iterable[TaskRow]) -> list[Key]:
    return [key_of(row) for row in rows]


def tell(conn: Connection, db: Database, settled: Collection[Key], status: Status, policy: Policy) -> None:
    """Tell what waits behind tasks that a verb has settled. Flows are counted anew by `perform`."""
    if policy.satisfied_by(status):
        routing.route(conn, db, dict.fromkeys(settled, routing.ending_of(status, None)), policy)


def take_away(conn: Connection, rows: Sequence[TaskRow], by: str, actor: str) -> None:
    """A task is settled or set back over the head of the try that runs: that is recorded as coming too late. What
    else the tasks awaited is closed."""
    tries = [
        attempts.Attempt(
            fence=Fence(*key_of(row), row.claim_id),
            claim_no=row.claims,
            outcome="stale",
            accepted=False,
            watcher_id=row.owner,
            claimed_ts=row.started_ts,
            error=f"{by} by {actor} while it ran",
            generation=row.generation,
        )
        for row in rows
        if row.exec_status == Status.RUNNING and row.claim_id is not None
    ]
    attempts.record(conn, tries)
    waits.cancel(conn, keys(rows))
