"""What tasks await, as rows of `kr_wait`: opened, closed once each, and cancelled.

An open wait is one of the things that `wait_count` of its task counts, except a poke (engine/waiting/pokes.py), which
is a time limit and nothing awaited. Whoever opens or closes a wait holds the lock of its task first: a wait is closed
once, and each closing lowers the counter by one in the same transaction. Order of locks: tasks by key, waits, messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, case, insert, or_, select, update

from engine.database import Database
from engine.dialects.clock import bounded, later, now
from engine.failpoints import hit
from engine.graph.dependencies import DEFAULT_POLICY, Policy, lock_tasks
from engine.ids import new_wait_id
from engine.keys import KEY_COLUMNS, Key, among, chunks, key_of, pair_among
from engine.tables import IS_OPEN_WAIT, task_stat, wait

BATCH: Final = 200
TIMER, POKE = "timer", "poke"
_COLUMNS: Final = (
    wait.c.wait_id,
    wait.c.task_flow_id,
    wait.c.task_exec_seq,
    wait.c.kind,
    wait.c.state,
    wait.c.created_ts,
    wait.c.payload.isnot(None).label("is_answered"),
)


@dataclass(frozen=True)
class NewWait:
    """A wait to be opened. `details` is a JSON object as text. Units: delay_s in seconds from the database's now;
    due_at is an instant and wins; with neither the wait has no end of its own."""

    key: Key
    kind: str
    name: str | None = None
    correlation_key: str | None = None
    details: str | None = None
    delay_s: float | None = None
    due_at: datetime | None = None
    wait_id: str = field(default_factory=new_wait_id)


@dataclass(frozen=True)
class Closing:
    """How a wait ends: `state` is arrived, expired or cancelled; `payload` is JSON as text, `by` who did it."""

    wait_id: str
    state: str
    payload: str | None = None
    by: str | None = None


def open_waits(conn: Connection, news: Collection[NewWait]) -> None:
    """Insert open waits. The caller holds the locks of their tasks and has raised each `wait_count` by one for every
    wait that is no poke, or does so in the same transaction."""
    groups: dict[bool, list[dict[str, Any]]] = {}
    for new in news:
        row = {
            "wait_id": new.wait_id,
            "task_flow_id": new.key.flow_id,
            "task_exec_seq": new.key.seq,
            "kind": new.kind,
            "name": new.name,
            "correlation_key": new.correlation_key,
            "details": new.details,
        }
        if new.due_at is None:
            row["delay_s"] = None if new.delay_s is None else bounded(new.delay_s)
        else:
            row["due_ts"] = new.due_at
        groups.setdefault(new.due_at is None, []).append(row)
    for is_relative, rows in groups.items():
        statement = insert(wait).values(created_ts=now(), state="open")
        conn.execute(statement.values(due_ts=later("delay_s")) if is_relative else statement, rows)


def close(conn: Connection, db: Database, closings: Collection[Closing], policy: Policy = DEFAULT_POLICY) -> int:
    """Close waits that are still open, lower the counters of their tasks, and tell watchers what became ready.

    Locks the tasks. A wait is closed once, whoever else closes it at the same time. Returns how many this call closed.
    """
    asked = {closing.wait_id: closing for closing in closings}
    rows = take_open(conn, db, asked)
    groups: dict[tuple[str, str | None, str | None], list[str]] = {}
    for row in rows:
        closing = asked[row.wait_id]
        groups.setdefault((closing.state, closing.payload, closing.by), []).append(row.wait_id)
    for (state, payload, by), wait_ids in groups.items():
        write(conn, wait_ids, state, payload=payload, closed_by=by)
    lower(conn, db, rows)
    return len(rows)


def fire_waits(db: Database, policy: Policy = DEFAULT_POLICY) -> int:
    """Close waits whose time has come by the database's clock: a timer arrives, everything else expires.

    A wait that a person answered by SQL, by giving it a payload and a time that is past, arrives with it. Tasks that
    somebody else holds are left for the next sweep. Returns how many waits were closed.
    """
    return db.transact(lambda conn: _fire(conn, db))


def _fire(conn: Connection, db: Database) -> int:
    is_due = IS_OPEN_WAIT, wait.c.due_ts.isnot(None), wait.c.due_ts <= now(), wait.c.kind != POKE
    due = conn.execute(select(*_COLUMNS).where(*is_due).order_by(wait.c.due_ts).limit(BATCH)).all()
    if not due:
        return 0
    held, gone = lock_free(conn, db, {key_of(row) for row in due})
    hit("waits.after_select")
    cancelled = cancel(conn, gone)
    rows = [row for row in _read(conn, [row.wait_id for row in due if key_of(row) in held]) if row.state == "open"]
    has_come = {row.wait_id for row in rows if row.kind == TIMER or row.is_answered}
    write(conn, has_come, "arrived")
    write(conn, {row.wait_id for row in rows} - has_come, "expired")
    lower(conn, db, rows)
    hit("waits.before_commit")
    return len(rows) + cancelled


def lock_free(conn: Connection, db: Database, keys: Collection[Key]) -> tuple[set[Key], set[Key]]:
    """Lock those of the tasks that nobody else holds. Returns them, and those that do not exist any more."""
    held: set[Key] = set()
    for part in chunks(sorted(keys)):
        query = select(*KEY_COLUMNS).where(among(part)).order_by(*KEY_COLUMNS)
        if db.can.row_locks:
            query = query.with_for_update(skip_locked=db.can.skip_locked)
        held |= {key_of(row) for row in conn.execute(query)}
    there: set[Key] = set()
    for part in chunks(sorted(set(keys) - held)):
        there |= {key_of(row) for row in conn.execute(select(*KEY_COLUMNS).where(among(part)))}
    return held, set(keys) - held - there


def write(conn: Connection, wait_ids: Collection[str], state: str, **columns: Any) -> None:
    """Close these open waits, whose tasks are locked. Counters are the caller's."""
    for part in chunks(sorted(wait_ids)):
        closed = update(wait).where(wait.c.wait_id.in_(part), IS_OPEN_WAIT)
        conn.execute(closed.values(state=state, closed_ts=now(), **columns))


def take_open(conn: Connection, db: Database, wait_ids: Collection[str]) -> list[Row[Any]]:
    """Lock the tasks of these waits, so that nobody else closes one; return those that are still open, oldest first."""
    known = _read(conn, wait_ids)
    lock_tasks(conn, db, {key_of(row) for row in known})
    return [row for row in _read(conn, [row.wait_id for row in known]) if row.state == "open"]


def lower(conn: Connection, db: Database, closed: Iterable[Row[Any]]) -> int:
    """Lower the counters of the tasks of waits that were closed; the tasks are locked. Returns how many became ready.

    A row whose counter is NULL or negative was changed by hand: it is counted anew, or has been settled.
    """
    lowering = Counter(key_of(row) for row in closed if row.kind != POKE)
    groups: dict[int, list[Key]] = {}
    opened = 0
    for key, count in _counts(conn, lowering).items():
        if count is not None and count > 0:
            by = min(lowering[key], count)
            groups.setdefault(by, []).append(key)
            opened += count == by
    for by, keys in groups.items():
        for part in chunks(sorted(keys)):
            enough = task_stat.c.wait_count >= by
            conn.execute(update(task_stat).where(among(part), enough).values(wait_count=task_stat.c.wait_count - by))
    if opened:
        db.dialect.notify(conn)
    return opened


def cancel(conn: Connection, keys: Collection[Key]) -> int:
    """Close whatever these tasks still await, as cancelled: they were settled in another way, or are set back.

    Counters are left alone: the caller, who holds the locks of the tasks, writes them. Returns how many were closed.
    """
    return _cancel(conn, keys, "open")


def forget(conn: Connection, keys: Collection[Key]) -> int:
    """Make all that these tasks ever awaited history, as cancelled: they begin anew, and an answer that the earlier run
    was given must not count for the next. What came stays readable in the rows. Returns how many were changed."""
    return _cancel(conn, keys, "open", "arrived", "expired")


def forget_expired(conn: Connection, keys: Collection[Key]) -> int:
    """The same for what did not come in time: the task failed of it, and its next try awaits it anew. What did come
    stays, for it will not come twice."""
    return _cancel(conn, keys, "expired")


def _cancel(conn: Connection, keys: Collection[Key], *states: str) -> int:
    """The time limit of pokes was never awaited, so one that is over stays what it is."""
    cancelled = 0
    meant = wait.c.state.in_(states), or_(wait.c.state == "open", wait.c.kind != POKE)
    closed_ts = case((wait.c.closed_ts.is_(None), now()), else_=wait.c.closed_ts)
    for part in chunks(sorted(keys)):
        of_tasks = pair_among(wait.c.task_flow_id, wait.c.task_exec_seq, part)
        cancelled += conn.execute(
            update(wait).where(of_tasks, *meant).values(closed_ts=closed_ts, state="cancelled")
        ).rowcount
    return cancelled


def _read(conn: Connection, wait_ids: Collection[str]) -> list[Row[Any]]:
    found: list[Row[Any]] = []
    for part in chunks(sorted(wait_ids)):
        found += conn.execute(select(*_COLUMNS).where(wait.c.wait_id.in_(part)))
    return sorted(found, key=lambda row: (row.created_ts, row.wait_id))


def _counts(conn: Connection, keys: Mapping[Key, int]) -> dict[Key, int | None]:
    found: dict[Key, int | None] = {}
    for part in chunks(sorted(keys)):
        counts = conn.execute(select(*KEY_COLUMNS, task_stat.c.wait_count).where(among(part)))
        found |= {Key(flow_id, seq): count for flow_id, seq, count in counts}
    return found
