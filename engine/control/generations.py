"""A task that runs again: the row starts anew, and what it was stays readable in kr_task_attempt.

The row itself is set back, so that everything that points to it (edges, plans, people) still does; `generation` counts
how often. `claims` goes on counting, `claim_id` is forgotten: no claim of an earlier generation can settle this one.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    String,
    and_,
    cast,
    exists,
    false,
    insert,
    literal,
    null,
    or_,
    select,
    true,
    update,
)

from engine.control.acting import TaskRow, keys, take_away
from engine.control.selection import step_of
from engine.database import Database
from engine.graph import edges, routing
from engine.graph.dependencies import Policy, count_awaited, raise_behind
from engine.graph.edge_outcomes import withdraw
from engine.keys import Key, among, chunks, key_of, pair_among
from engine.limits import ageing
from engine.states import CLOSED_EARLY, PASSED_ON, Reason, Status
from engine.tables import attempt, flow_stat, run_edge, task_stat
from engine.transitions import move
from engine.waiting import waits

BY_HAND = "by hand"
"""`outcome` of a generation whose result no try gave; the row's claim_id says which generation it was."""
_UNDONE = (Reason.ROLLING_BACK, Reason.ROLLED_BACK)


def set_back(
    conn: Connection,
    db: Database,
    again: Sequence[TaskRow],
    superseded: Sequence[TaskRow],
    *,
    policy: Policy,
    actor: str,
) -> None:
    """Give these locked tasks a new generation that waits for what they depend on; what they told is forgotten.

    `superseded` are tasks that will be made anew (by a plan, by a loop): they end as IGNORE and hold nobody up.
    """
    moved, dropped = keys(again), keys(superseded)
    take_away(conn, [*again, *superseded], "set back", actor)
    waits.forget(conn, moved)  # an answer that the earlier generation was given must not count for this one
    _keep(conn, [*moved, *dropped])
    blank = {"claim_id": null(), "due_ts": null(), "result": null()}
    move(conn, "supersede", dropped, wait_count=PASSED_ON, reason=Reason.SUPERSEDED, owner=null(), **blank)
    fresh = {"attempt": 0, "losses": 0, **ageing.GIVEN_BACK, "generation": task_stat.c.generation + 1}
    move(conn, "rerun", moved, wait_count=null(), owner=null(), **fresh, **blank)
    _lead_back(conn, again, superseded)
    withdraw(conn, moved, loops=True)
    _recount(conn, db, moved, policy)
    raise_behind(conn, db, [*moved, *dropped], policy, but=moved)
    _revive(conn, sorted({key.flow_id for key in moved}))


def _lead_back(conn: Connection, again: Sequence[TaskRow], superseded: Sequence[TaskRow]) -> None:
    """What was made to wait for a later iteration of a loop waits for the one that runs again, and so do loops further
    out: only the last step of a body has edges that leave it, so there are few."""
    first = {step_of(row): row.task_exec_seq for row in again if row.made_by_exec_seq is None}
    gone = set(keys(superseded))
    moves: dict[Key, int] = {}
    for row in superseded:
        now_runs = first.get(step_of(row))
        if row.made_by_exec_seq is None and now_runs is not None:
            moves[key_of(row)] = now_runs
    for edge in edges.behind(conn, moves, loops=True) if moves else ():
        if edge.child in gone:
            continue
        for table in (task_stat, run_edge):
            old = table.c.task_flow_id == edge.child.flow_id, table.c.task_exec_seq == edge.child.seq
            leads_back = update(table).where(*old, table.c.depends_task_exec_seq == edge.parent.seq)
            conn.execute(leads_back.values(depends_task_exec_seq=moves[edge.parent]))


def _keep(conn: Connection, of: Collection[Key]) -> None:
    """Make history of what finished: the try that won gets its row (a plain finish has none) and the result."""
    task = task_stat.c
    mine = and_(
        attempt.c.task_flow_id == task.task_flow_id,
        attempt.c.task_exec_seq == task.task_exec_seq,
        attempt.c.claim_id == task.claim_id,
    )
    won = exists(select(1).where(mine, attempt.c.accepted, attempt.c.outcome == "finished"))
    unrecorded = task.claim_id.isnot(None), ~exists(select(1).where(mine))
    times = task.started_ts, task.finished_ts, task.generation, task.result
    by_try = task.claim_id, task.claims, task.owner, literal("finished"), true(), *times
    name = literal("generation ") + cast(task.generation, String(12))
    by_hand = name, literal(0), null(), literal(BY_HAND), false(), null(), *times[1:]  # no try, so no time of a claim
    finished = task.exec_status == int(Status.FINISH)
    for part in chunks(sorted(of)):
        these = among(part), finished
        _insert(conn, by_try, *these, *unrecorded)
        _insert(conn, by_hand, *these, or_(task.claim_id.is_(None), ~won))
        result = select(task.result).where(mine, finished).scalar_subquery()
        was = pair_among(attempt.c.task_flow_id, attempt.c.task_exec_seq, part), attempt.c.accepted
        current = exists(select(1).where(mine, finished))
        conn.execute(
            update(attempt)
            .where(*was, attempt.c.outcome == "finished", attempt.c.result.is_(None), current)
            .values(result=result)
        )


def _insert(conn: Connection, values: Sequence[Any], *where: ColumnElement[bool]) -> None:
    names = (
        "claim_id",
        "claim_no",
        "watcher_id",
        "outcome",
        "accepted",
        "claimed_ts",
        "ended_ts",
        "generation",
        "result",
    )
    rows = select(task_stat.c.task_flow_id, task_stat.c.task_exec_seq, *values).where(*where)
    conn.execute(insert(attempt).from_select(["task_flow_id", "task_exec_seq", *names], rows))


def _recount(conn: Connection, db: Database, of: Collection[Key], policy: Policy) -> None:
    """Count what the tasks wait for. One whose predecessor has been deleted is left to the adopter, which says so."""
    groups: dict[int | None, list[Key]] = {}
    counted = count_awaited(conn, of, policy)
    for key, awaited in counted.items():
        groups.setdefault(None if awaited.missing else awaited.open_count, []).append(key)
    for count, alike in groups.items():
        for part in chunks(sorted(alike)):
            conn.execute(update(task_stat).where(among(part)).values(wait_count=count))
    routing.catch_up(conn, db, counted.values(), policy)


def _revive(conn: Connection, flow_ids: Sequence[str]) -> None:
    """A flow that goes on has no reason to end otherwise than by finishing, unless tasks of it stay as that left them;
    and it is closed once more when it ends."""
    flow, task = flow_stat.c, task_stat.c
    own = task.task_flow_id == flow.task_flow_id
    live = or_(task.reason.is_(None), task.reason != Reason.SUPERSEDED)
    cancelled = exists(select(1).where(own, task.exec_status == int(Status.IGNORE), task.reason.in_(CLOSED_EARLY)))
    undone = exists(select(1).where(own, task.phase == "rollback", live))
    for part in chunks(flow_ids):
        these = flow.task_flow_id.in_(part)
        for reasons, still in ((CLOSED_EARLY, cancelled), (_UNDONE, undone)):
            conn.execute(update(flow_stat).where(these, flow.reason.in_(reasons), ~still).values(reason=null()))
        conn.execute(update(flow_stat).where(these, flow.closing == 2).values(closing=1))
