"""The sweep: rows of silent watchers go back, due times fire, and what a person changed by SQL is obeyed.

Every step is its own transaction of a bounded number of rows, and any watcher may do it: the guards on each update make
further sweepers harmless.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, null, or_, select, true, update

from engine import attempts, flow_counts, history, leases
from engine.database import Database
from engine.dialects.clock import later, now, time_now
from engine.ending import failure
from engine.failpoints import hit
from engine.graph import routing
from engine.graph.branching import Ended, Ending
from engine.graph.dependencies import DEFAULT_POLICY, Policy, count_awaited, lock_tasks, raise_behind
from engine.keys import KEY_COLUMNS, Fence, Key, among, key_of
from engine.lookout import set_back
from engine.states import PASSED_ON, READY, WAITING_REASONS, Reason, Status
from engine.tables import IS_RUNNING, IS_SET_BACK, IS_SUSPENDED, IS_UNEXPLAINED, IS_UNTOLD, task_stat, watcher
from engine.transitions import move
from engine.waiting import waits

BATCH = 200
MAX_LOSSES = 10
"""Lost watchers that one task may have before a person must look at it."""
MAX_COUNT = 2_000_000_000
_LOST = "lost its watcher {} times: does it end it?"


def fire_due(db: Database, policy: Policy = DEFAULT_POLICY) -> int:
    """Open tasks whose due time has come, unless they await something else; the due time is used up by it.

    Counters are counted anew rather than lowered: a due time set by hand on a waiting row was never counted.
    Returns how many due times were met.
    """

    def work(conn: Connection) -> int:
        task = task_stat.c
        due = select(*KEY_COLUMNS).where(task.due_ts.isnot(None), task.due_ts <= now()).order_by(task.due_ts)
        keys = _take(conn, db, due)
        if not keys:
            return 0
        hit("due.after_select")
        groups: dict[int, list[Key]] = {}
        for key, awaited in count_awaited(conn, keys, policy).items():
            groups.setdefault(awaited.total, []).append(key)
        is_open = task.exec_status.in_([int(Status.WAIT), int(Status.SUSPEND)])
        count = 0
        for left, alike in groups.items():
            fired = update(task_stat).where(among(alike), is_open, task.wait_count > 0, task.due_ts <= now())
            count += conn.execute(fired.values(wait_count=left, due_ts=None)).rowcount
        if count:
            db.dialect.notify(conn)
        # a due time on a row that awaits nothing was set by hand on a ready or settled row: it is void
        conn.execute(update(task_stat).where(among(keys), task.due_ts <= now()).values(due_ts=None))
        hit("due.before_commit")
        return count

    return db.transact(work)


def pass_on(db: Database, policy: Policy = DEFAULT_POLICY) -> int:
    """Tell the successors of rows that a person set to FINISH or IGNORE. Returns how many rows were told."""

    def work(conn: Connection) -> int:
        task = task_stat.c
        rows = _take_rows(
            conn, db, select(*KEY_COLUMNS, task.exec_status, task.reason).where(IS_UNTOLD).order_by(*KEY_COLUMNS)
        )
        if not rows:
            return 0
        keys = [key_of(row) for row in rows]
        stamps = {"registered_ts": func.coalesce(task.registered_ts, now()), "suspended_ts": null()}
        finished = {**stamps, "finished_ts": func.coalesce(task.finished_ts, now())}
        told = update(task_stat).where(among(keys), IS_UNTOLD)
        conn.execute(told.where(task.exec_status == int(Status.FINISH)).values(wait_count=PASSED_ON, **finished))
        ignored = {**stamps, "reason": func.coalesce(task.reason, Reason.IGNORED)}
        conn.execute(told.where(task.exec_status == int(Status.IGNORE)).values(wait_count=PASSED_ON, **ignored))
        endings = {key_of(row): routing.ending_of(row.exec_status, row.reason) for row in rows}
        told_of = {key: ending for key, ending in endings.items() if _satisfies(ending, policy)}
        waits.cancel(conn, keys)
        routing.route(conn, db, told_of, policy)
        flow_counts.recount(conn, db, {key.flow_id for key in keys})
        history.record(conn, [history.about(key, _BY_HAND[how], "sql") for key, how in _made_by_hand(endings)])
        return len(keys)

    return db.transact(work)


_BY_HAND = {Ended.FINISHED: "task finished by hand", Ended.IGNORED: "task ignored by hand"}


def _made_by_hand(endings: Mapping[Key, Ending]) -> list[tuple[Key, Ended]]:
    """Of these, those that a person settled; the others were skipped by the engine, which left the rest to a sweep."""
    return [(key, ending.how) for key, ending in endings.items() if ending.how in _BY_HAND]


def _satisfies(ending: Ending, policy: Policy) -> bool:
    return ending.how is not Ended.IGNORED or policy.ignore_satisfies


def note_paused(db: Database, policy: Policy = DEFAULT_POLICY) -> int:
    """Give rows that a person set to SUSPEND their reason and time, so that they explain themselves, and take these
    from rows that a person set back to WAIT; their flows count anew. Returns how many rows were noted."""
    return db.transact(lambda conn: _note_suspended(conn, db, policy) + _note_set_back(conn, db))


def _note_suspended(conn: Connection, db: Database, policy: Policy) -> int:
    task = task_stat.c
    rows = _take_rows(conn, db, select(*KEY_COLUMNS, task.wait_count).where(IS_UNEXPLAINED).order_by(*KEY_COLUMNS))
    if not rows:
        return 0
    keys = [key_of(row) for row in rows]
    own = or_(task.reason.is_(None), task.reason.in_(WAITING_REASONS))
    stamps = {
        "reason": case((own, Reason.PAUSED), else_=task.reason),
        "suspended_ts": func.coalesce(task.suspended_ts, now()),
    }
    conn.execute(update(task_stat).where(among(keys), IS_UNEXPLAINED).values(**stamps))
    told = [key for key, row in zip(keys, rows, strict=True) if row.wait_count is not None and row.wait_count < 0]
    if told:  # a settled row was suspended: what waits behind it waits for it again
        raise_behind(conn, db, told, policy)
        conn.execute(update(task_stat).where(among(told), IS_SUSPENDED).values(wait_count=null()))
    flow_counts.recount(conn, db, {key.flow_id for key in keys})
    history.record(conn, [history.about(key, "task paused by hand", "sql") for key in keys])
    return len(keys)


def _note_set_back(conn: Connection, db: Database) -> int:
    keys = sorted(Key(*row) for row in conn.execute(set_back().limit(BATCH)))
    if not keys:
        return 0
    lock_tasks(conn, db, keys)
    conn.execute(
        update(task_stat).where(among(keys), IS_SET_BACK).values(suspended_ts=null(), reason=null(), owner=null())
    )
    flow_counts.recount(conn, db, {key.flow_id for key in keys})
    history.record(conn, [history.about(key, "task resumed by hand", "sql") for key in keys])
    db.dialect.notify(conn)
    return len(keys)


class _Unsure(Exception):
    """The leases may have been judged by a clock that had jumped, or after a lock that kept everybody from beating."""


def reap(
    db: Database,
    *,
    grace_s: float,
    max_losses: int = MAX_LOSSES,
    policy: Policy = DEFAULT_POLICY,
    only: Collection[Key] | None = None,
    is_sure: Callable[[datetime], bool] = lambda time_now: True,
) -> int:
    """Take running tasks back from watchers whose lease has ended by the database's clock. Returns how many.

    A row set to RUNNING by hand, without an owner, counts as held for `grace_s` seconds from its start. The caller
    reaps only after it has itself been in contact for one lease: after an outage the others need that time to beat.
    `only`: of these tasks. `is_sure` is given the database's time before anything is committed, after all locks that
    this had to wait for; at its no, nothing was done.
    """
    meant = true() if only is None else among(only)

    def work(conn: Connection) -> int:
        taken = _reap(conn, db, grace_s, max_losses, policy, meant)
        if taken and not is_sure(time_now(conn)):
            raise _Unsure
        return taken

    try:
        taken = db.transact(work)
    except _Unsure:
        return 0
    if taken:
        hit("reap.after_commit")
    return taken


def _reap(
    conn: Connection, db: Database, grace_s: float, max_losses: int, policy: Policy, meant: ColumnElement[bool]
) -> int:
    task = task_stat.c
    since = func.coalesce(task.started_ts, task.registered_ts)
    orphaned = and_(task.owner.isnot(None), ~leases.owner_is_alive())
    ownerless = and_(task.owner.is_(None), or_(since.is_(None), since < later(-grace_s)))
    query = select(*KEY_COLUMNS, task.claim_id, task.claims, task.owner, task.losses, task.started_ts, task.generation)
    query = query.add_columns(task.wait_count)
    rows = _take_rows(conn, db, query.where(IS_RUNNING, meant, or_(orphaned, ownerless)).order_by(*KEY_COLUMNS))
    if not rows:
        return 0
    hit("reap.after_select")
    ends = _lease_ends(conn, {row.owner for row in rows if row.owner})  # before a late beat can move them
    still = or_(orphaned, ownerless)  # a beat that came just now wins: the guard looks at the lease again
    lost = _take_back(conn, "lose", [row for row in rows if _losses(row) + 1 >= max_losses], still)
    back = _take_back(conn, "lapse", [row for row in rows if _losses(row) + 1 < max_losses], still)
    _count_anew(conn, [key_of(row) for row in (*back, *lost) if (row.wait_count or READY) > READY], policy)
    waits.cancel(conn, [key_of(row) for row in lost])  # a time limit of pokes: whoever recovers it begins anew
    told = [_lost(row, ends.get(row.owner)) for row in (*back, *lost) if row.claim_id]
    changes = Counter(row.task_flow_id for row in lost)
    flow_counts.add(conn, db, {flow: flow_counts.Change(suspended=count) for flow, count in changes.items()})
    failure.apply(conn, db, [key_of(row) for row in lost], [key_of(row) for row in back], policy)
    attempts.record(conn, told)
    history.record(conn, [_event(row, "task lapsed") for row in back] + [_event(row, "task lost") for row in lost])
    if back:
        db.dialect.notify(conn)
    hit("reap.before_commit")
    return len(back) + len(lost)


def _take_back(conn: Connection, name: str, rows: Sequence[Row[Any]], still: Any) -> list[Row[Any]]:
    """Move these locked rows, and say which moved. `wait_count` stays as it is: 0 on a row that was claimed."""
    groups: dict[int, list[Key]] = {}
    for row in rows:
        groups.setdefault(_losses(row) + 1, []).append(key_of(row))
    kept: set[Key] = set()
    for count, keys in groups.items():
        reason, words = (Reason.LAPSED, None) if name == "lapse" else (Reason.LOST, _LOST.format(count))
        if move(conn, name, keys, still, reason=reason, losses=count, error=words) < len(keys):
            kept |= {Key(*key) for key in conn.execute(select(*KEY_COLUMNS).where(among(keys), IS_RUNNING))}
    return [row for row in rows if key_of(row) not in kept]


def _count_anew(conn: Connection, keys: Sequence[Key], policy: Policy) -> None:
    """Whatever a person left in `wait_count` of a row that he set to RUNNING: nothing might ever lower it."""
    due = case((task_stat.c.due_ts.isnot(None), 1), else_=0)
    for key, awaited in count_awaited(conn, keys, policy).items() if keys else ():
        conn.execute(update(task_stat).where(among([key])).values(wait_count=awaited.total + due))


def _losses(row: Row[Any]) -> int:
    """How often it was lost before. A figure that means nothing, on a row made by hand, is none."""
    return row.losses if isinstance(row.losses, int) and 0 <= row.losses < MAX_COUNT else 0


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
        generation=row.generation,
    )


def _event(row: Row[Any], what: str) -> history.Event:
    return history.about(key_of(row), what, watcher=row.owner, losses=_losses(row) + 1)


def _lease_ends(conn: Connection, owners: Iterable[str]) -> dict[str, Any]:
    query = select(watcher.c.watcher_id, watcher.c.lease_until_ts).where(watcher.c.watcher_id.in_(sorted(owners)))
    return {row.watcher_id: row.lease_until_ts for row in conn.execute(query)}


def _take(conn: Connection, db: Database, query: Any) -> list[Key]:
    return [key_of(row) for row in _take_rows(conn, db, query)]


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


def let_go(db: Database, fences: Iterable[Fence]) -> int:
    """Say of exclusive tasks that were set back to 0 by hand that their programs have stopped: they may be claimed."""
    fences = sorted(fences)
    is_waiting = task_stat.c.exec_status == int(Status.WAIT)

    def work(conn: Connection) -> int:
        done = conn.execute(update(task_stat).where(among(fences), is_waiting).values(owner=None)).rowcount
        if done:
            db.dialect.notify(conn)
        return done

    return db.transact(work)


def give_back(db: Database, fences: Iterable[Fence]) -> int:
    """Return rows that name a watcher which does not run them: their claim's COMMIT was answered by nobody."""
    fences = list(fences)
    return db.transact(lambda conn: move(conn, "release", fences, reason=Reason.RELEASED))
