"""Tasks of silent watchers are taken back, or, when too many watchers were lost with one, left to a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, case, func, or_, select, true, update

from engine import attempts, flow_counts, history, leases, task_logs
from engine.database import Database
from engine.dialects.clock import later, time_now
from engine.ending import failure
from engine.failpoints import hit
from engine.graph.dependencies import DEFAULT_POLICY, Policy, count_awaited
from engine.keys import KEY_COLUMNS, Fence, Key, among, key_of
from engine.states import READY, Reason
from engine.supervise.batches import take_rows
from engine.tables import IS_RUNNING, task_stat, watcher
from engine.transitions import move
from engine.waiting import waits

MAX_LOSSES = 10
"""Lost watchers that one task may have before a person must look at it."""
MAX_COUNT = 2_000_000_000
_LOST = "lost its watcher {} times: does it end it?"


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
    rows = take_rows(conn, db, query.where(IS_RUNNING, meant, or_(orphaned, ownerless)).order_by(*KEY_COLUMNS))
    if not rows:
        return 0
    hit("reap.after_select")
    ends = _lease_ends(conn, {row.owner for row in rows if row.owner})  # before a late beat can move them
    still = or_(orphaned, ownerless)  # a beat that came just now wins: the guard looks at the lease again
    lost = _take_back(conn, "lose", [row for row in rows if _losses(row) + 1 >= max_losses], still)
    back = _take_back(conn, "lapse", [row for row in rows if _losses(row) + 1 < max_losses], still)
    _count_anew(conn, [key_of(row) for row in (*back, *lost) if (row.wait_count or READY) > READY], policy)
    waits.cancel(conn, [key_of(row) for row in lost])  # a time limit of pokes: whoever recovers it begins anew
    held = [row for row in (*back, *lost) if row.claim_id]
    logs = task_logs.take(conn, [_fence(row) for row in held])
    told = [_lost(row, ends.get(row.owner), logs.get(_fence(row))) for row in held]
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


def _fence(row: Row[Any]) -> Fence:
    return Fence(row.task_flow_id, row.task_exec_seq, row.claim_id)


def _lost(row: Row[Any], lease_end: Any, log: str | None) -> attempts.Attempt:
    return attempts.Attempt(
        fence=_fence(row),
        claim_no=row.claims,
        outcome="lost",
        accepted=False,
        watcher_id=row.owner,
        claimed_ts=row.started_ts,
        lease_until_ts=lease_end,
        error="the watcher stopped beating, and its lease ended",
        log=log,
        generation=row.generation,
    )


def _event(row: Row[Any], what: str) -> history.Event:
    return history.about(key_of(row), what, watcher=row.owner, losses=_losses(row) + 1)


def _lease_ends(conn: Connection, owners: Iterable[str]) -> dict[str, Any]:
    query = select(watcher.c.watcher_id, watcher.c.lease_until_ts).where(watcher.c.watcher_id.in_(sorted(owners)))
    return {row.watcher_id: row.lease_until_ts for row in conn.execute(query)}
