"""The sweep: rows of silent watchers go back, due times fire, and what a person changed by SQL is obeyed.

Every step is its own transaction of a bounded number of rows, and any watcher may do it: the guards on each update make
further sweepers harmless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select, update

from engine import attempts, flow_counts, history, leases
from engine.database import Database
from engine.dependencies import DEFAULT_POLICY, Policy
from engine.dialects.clock import later, now
from engine.keys import KEY_COLUMNS, Fence, Key, among
from engine.states import PASSED_ON, READY, Reason, Status
from engine.tables import IS_RUNNING, IS_SUSPENDED, IS_UNTOLD, task_stat, watcher
from engine.transitions import move
from engine.unlock import unlock

BATCH = 200
MAX_LOSSES = 10
"""Lost watchers that one task may have before a person must look at it."""


def fire_due(db: Database) -> int:
    """Lower the counter of tasks whose due time has come; the due time is used up by it. Returns how many."""

    def work(conn: Connection) -> int:
        task = task_stat.c
        due = select(*KEY_COLUMNS).where(task.due_ts.isnot(None), task.due_ts <= now()).order_by(task.due_ts)
        keys = _take(conn, db, due)
        if not keys:
            return 0
        still = task.due_ts <= now(), task.wait_count > 0
        fired = update(task_stat).where(among(keys), *still).values(wait_count=task.wait_count - 1, due_ts=None)
        count = conn.execute(fired).rowcount
        # a due time on a row that awaits nothing was set by hand on a ready or settled row: it is void
        conn.execute(update(task_stat).where(among(keys), task.due_ts <= now()).values(due_ts=None))
        return count

    return db.transact(work)


def pass_on(db: Database, policy: Policy = DEFAULT_POLICY) -> int:
    """Tell the successors of rows that a person set to FINISH or IGNORE. Returns how many rows were told."""

    def work(conn: Connection) -> int:
        task = task_stat.c
        rows = _take_rows(conn, db, select(*KEY_COLUMNS, task.exec_status).where(IS_UNTOLD).order_by(*KEY_COLUMNS))
        if not rows:
            return 0
        keys = [Key(row.task_flow_id, row.task_exec_seq) for row in rows]
        stamps = {"registered_ts": func.coalesce(task.registered_ts, now())}
        finished = {**stamps, "finished_ts": func.coalesce(task.finished_ts, now())}
        told = update(task_stat).where(among(keys), IS_UNTOLD)
        conn.execute(told.where(task.exec_status == int(Status.FINISH)).values(wait_count=PASSED_ON, **finished))
        ignored = {**stamps, "reason": func.coalesce(task.reason, Reason.IGNORED)}
        conn.execute(told.where(task.exec_status == int(Status.IGNORE)).values(wait_count=PASSED_ON, **ignored))
        satisfied = [key for key, row in zip(keys, rows, strict=True) if policy.satisfied_by(row.exec_status)]
        if satisfied:
            unlock(conn, db, satisfied)
        flow_counts.recount(conn, db, {key.flow_id for key in keys})
        words = {int(Status.FINISH): "task finished by hand", int(Status.IGNORE): "task ignored by hand"}
        events = [history.about(key, words[row.exec_status], "sql") for key, row in zip(keys, rows, strict=True)]
        history.record(conn, events)
        return len(keys)

    return db.transact(work)


def note_paused(db: Database) -> int:
    """Give rows that a person set to SUSPEND their reason and time, so that they explain themselves."""

    def work(conn: Connection) -> int:
        task = task_stat.c
        unexplained = select(*KEY_COLUMNS).where(IS_SUSPENDED, task.reason.is_(None)).order_by(*KEY_COLUMNS)
        keys = _take(conn, db, unexplained)
        if not keys:
            return 0
        stamps = {"suspended_ts": func.coalesce(task.suspended_ts, now()), "reason": Reason.PAUSED}
        conn.execute(update(task_stat).where(among(keys), IS_SUSPENDED, task.reason.is_(None)).values(**stamps))
        flow_counts.recount(conn, db, {key.flow_id for key in keys})
        history.record(conn, [history.about(key, "task paused by hand", "sql") for key in keys])
        return len(keys)

    return db.transact(work)


def reap(db: Database, *, grace_s: float, max_losses: int = MAX_LOSSES) -> int:
    """Take running tasks back from watchers whose lease has ended by the database's clock. Returns how many.

    A row set to RUNNING by hand, without an owner, counts as held for `grace_s` seconds from its start. The caller
    reaps only after it has itself been in contact for one lease: after an outage the others need that time to beat.
    """
    return db.transact(lambda conn: _reap(conn, db, grace_s, max_losses))


def _reap(conn: Connection, db: Database, grace_s: float, max_losses: int) -> int:
    task = task_stat.c
    since = func.coalesce(task.started_ts, task.registered_ts)
    orphaned = and_(task.owner.isnot(None), ~leases.owner_is_alive())
    ownerless = and_(task.owner.is_(None), or_(since.is_(None), since < later(-grace_s)))
    query = select(*KEY_COLUMNS, task.claim_id, task.claims, task.owner, task.losses, task.started_ts)
    rows = _take_rows(conn, db, query.where(IS_RUNNING, or_(orphaned, ownerless)).order_by(*KEY_COLUMNS))
    if not rows:
        return 0
    still = or_(orphaned, ownerless)  # a beat that came just now wins: the guard looks at the lease again
    lost = [row for row in rows if row.losses + 1 >= max_losses and _take_back(conn, "lose", row, still)]
    back = [row for row in rows if row.losses + 1 < max_losses and _take_back(conn, "lapse", row, still)]
    ends = _lease_ends(conn, {row.owner for row in rows if row.owner})
    told = [_lost(row, ends.get(row.owner)) for row in (*back, *lost) if row.claim_id]
    changes = Counter(row.task_flow_id for row in lost)
    flow_counts.add(conn, db, {flow: flow_counts.Change(suspended=count) for flow, count in changes.items()})
    attempts.record(conn, told, again=True)
    history.record(conn, [_event(row, "task lapsed") for row in back] + [_event(row, "task lost") for row in lost])
    if back:
        db.dialect.notify(conn)
    return len(back) + len(lost)


def _take_back(conn: Connection, name: str, row: Row[Any], still: Any) -> bool:
    held = task_stat.c.claim_id.is_(None) if row.claim_id is None else task_stat.c.claim_id == row.claim_id
    count = row.losses + 1
    told = {"lapse": (Reason.LAPSED, None), "lose": (Reason.LOST, f"lost its watcher {count} times: does it end it?")}
    reason, words = told[name]
    key = Key(row.task_flow_id, row.task_exec_seq)
    return move(conn, name, [key], held, still, wait_count=READY, reason=reason, losses=count, error=words) == 1


def _lost(row: Row[Any], lease_end: Any) -> attempts.Attempt:
    return attempts.Attempt(
        fence=Fence(row.task_flow_id, row.task_exec_seq, row.claim_id),
        claim_no=row.claims,
        outcome="lost",
        accepted=False,
        watcher_id=row.owner,
        claimed_ts=row.started_ts,
        lease_until_ts=lease_end,
        error="the watcher stopped beating, and its lease ended",
    )


def _event(row: Row[Any], what: str) -> history.Event:
    return history.about(Key(row.task_flow_id, row.task_exec_seq), what, watcher=row.owner, losses=row.losses + 1)


def _lease_ends(conn: Connection, owners: Iterable[str]) -> dict[str, Any]:
    query = select(watcher.c.watcher_id, watcher.c.lease_until_ts).where(watcher.c.watcher_id.in_(sorted(owners)))
    return {watcher_id: end for watcher_id, end in conn.execute(query)}


def _take(conn: Connection, db: Database, query: Any) -> list[Key]:
    return [Key(row.task_flow_id, row.task_exec_seq) for row in _take_rows(conn, db, query)]


def _take_rows(conn: Connection, db: Database, query: Any) -> list[Row[Any]]:
    """At most a batch of rows, locked; rows that somebody else holds are left for the next sweep."""
    query = query.limit(BATCH)
    if db.can.row_locks:
        query = query.with_for_update(skip_locked=db.can.skip_locked)
    return sorted(conn.execute(query), key=lambda row: (row.task_flow_id, row.task_exec_seq))


def held_by(conn: Connection, watcher_id: str) -> set[Fence]:
    """What the rows say that this watcher runs, to compare with what it does run."""
    query = select(*KEY_COLUMNS, task_stat.c.claim_id).where(IS_RUNNING, task_stat.c.owner == watcher_id)
    return {Fence(*row) for row in conn.execute(query)}


def give_back(db: Database, fences: Iterable[Fence]) -> int:
    """Return rows that name a watcher which does not run them: their claim's COMMIT was answered by nobody."""
    fences = list(fences)
    return db.transact(lambda conn: move(conn, "release", fences, wait_count=READY, reason=Reason.RELEASED))

