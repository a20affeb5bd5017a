"""What a failure that nothing handles means for the rest of its flow (`failure_policy`): nothing, a stop, a roll-back.

Stop: what has not begun is suspended, and only what listens to failures still begins. Roll back: what has not begun is
closed, what runs may end, and the sweep then undoes what was done (engine/ending/rollback.py).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from sqlalchemy import Connection, Row, select, update

from engine import flow_counts, history, states
from engine.control.flows import cancel_flows, open_sub_flows
from engine.database import Database
from engine.definition.step import POST, ROLLBACK
from engine.graph import routing
from engine.graph.branching import Ended, Ending
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.graph.trigger_rules import LISTENING
from engine.keys import KEY_COLUMNS, Key, chunks, key_of
from engine.states import PASSED_ON, WAITING_REASONS, Reason, Status
from engine.tables import flow_stat, task_stat
from engine.transitions import move
from engine.waiting import waits

STOP: Final = "stop"
GUARDED: Final = (STOP, ROLLBACK)
"""Policies under which a failure concerns the whole flow."""
FAILURES: Final = (*states.FAILURES, Reason.LOST, Reason.LOOP_LIMIT)
"""Reasons of a suspended task that count as its failure. A pause is none, nor is what a person must mend before
the task can be tried: a program that is not installed, parameters that do not fit, a condition that raises."""
_task = task_stat.c


def apply(
    conn: Connection,
    db: Database,
    failed: Collection[Key],
    others: Collection[Key] = (),
    policy: Policy = DEFAULT_POLICY,
) -> set[str]:
    """Do what the policies of these flows ask for. `failed`: tasks suspended just now because they failed; `others`:
    tasks of such flows that settled otherwise, or went back to waiting, and may have opened what must not begin.

    Called in the transaction that settles, after successors were told. Returns the flows that were changed.
    """
    flow_ids = {key.flow_id for key in (*failed, *others)}
    changed: set[str] = set()
    for flow in _guarded(conn, db, flow_ids):
        fresh = sorted(key.seq for key in failed if key.flow_id == flow.task_flow_id)
        seqs = sorted(key.seq for key in others if key.flow_id == flow.task_flow_id)
        if flow.failure_policy == STOP:
            done = _stop(conn, db, flow, fresh, seqs)
        else:
            done = _roll_back(conn, db, flow, fresh, policy)
        if done:
            changed.add(flow.task_flow_id)
    flow_counts.recount(conn, db, changed)
    return changed


def _guarded(conn: Connection, db: Database, flow_ids: Collection[str]) -> Iterator[Any]:
    """The flows with a policy, locked: of two tasks that settle together, the second must see what the first began."""
    flow = flow_stat.c
    query = select(flow.task_flow_id, flow.failure_policy, flow.reason, flow.suspend_count)
    if db.can.row_locks:
        query = query.with_for_update()
    for part in chunks(sorted(flow_ids)):
        meant = query.where(flow.task_flow_id.in_(part), flow.failure_policy.in_(GUARDED))
        yield from conn.execute(meant.order_by(flow.task_flow_id)).all()


def _open(conn: Connection, db: Database, flow_id: str, *statuses: Status) -> list[Row[Any]]:
    """The tasks of a flow in these statuses, locked."""
    columns = select(
        *KEY_COLUMNS, _task.exec_status, _task.reason, _task.phase, _task.trigger_rule, _task.made_by_exec_seq
    )
    query = columns.where(_task.task_flow_id == flow_id, _task.exec_status.in_([int(status) for status in statuses]))
    if db.can.row_locks:
        query = query.with_for_update()
    return list(conn.execute(query.order_by(*KEY_COLUMNS)))


def _listens(row: Row[Any]) -> bool:
    """Does it run because of failures, or in spite of them?"""
    return row.phase in (POST, ROLLBACK) or row.trigger_rule in LISTENING


# --- stop -------------------------------------------------------------------------------------------------------------


def _stop(conn: Connection, db: Database, flow: Row[Any], fresh: Collection[int], others: Collection[int]) -> bool:
    """Suspend what has not begun. A flow that stopped before is stopped anew by a further failure only; what a task of
    it adds is suspended whenever it comes, and what a person resumed meanwhile stays resumed."""
    if not fresh and not (flow.suspend_count and _has_failed(conn, flow.task_flow_id)):
        return False
    meant = [
        row
        for row in _open(conn, db, flow.task_flow_id, Status.WAIT)
        if not _listens(row) and row.reason not in WAITING_REASONS and (fresh or row.made_by_exec_seq in others)
    ]
    move(conn, "stop", [key_of(row) for row in meant], reason=Reason.STOPPED)
    if meant or fresh:
        details = {"failed": list(fresh), "suspended": len(meant)}
        history.record(conn, [history.Event("flow stopped", flow.task_flow_id, 0, "watcher", details)])
    return bool(meant)


def _has_failed(conn: Connection, flow_id: str) -> bool:
    failed = _task.exec_status == int(Status.SUSPEND), _task.reason.in_(FAILURES)
    return conn.scalar(select(_task.task_exec_seq).where(_task.task_flow_id == flow_id, *failed).limit(1)) is not None


# --- roll back --------------------------------------------------------------------------------------------------------


def _roll_back(conn: Connection, db: Database, flow: Row[Any], fresh: Collection[int], policy: Policy) -> bool:
    """Close whatever has not begun, and the failed tasks themselves, which keep their reason and error."""
    begins = flow.reason is None
    if flow.reason not in (None, Reason.ROLLING_BACK) or (begins and not fresh):
        return False
    rows = [row for row in _open(conn, db, flow.task_flow_id, Status.WAIT, Status.SUSPEND) if not _listens(row)]
    failed = [key_of(row) for row in rows if row.exec_status == Status.SUSPEND and row.reason in FAILURES]
    doomed = [key for row in rows if (key := key_of(row)) not in failed]
    move(conn, "cancel", failed, wait_count=PASSED_ON, due_ts=None)
    move(conn, "cancel", doomed, wait_count=PASSED_ON, due_ts=None, reason=Reason.ROLLED_BACK)
    waits.cancel(conn, [*failed, *doomed])
    if children := open_sub_flows(conn, rows):
        cancel_flows(conn, db, children, actor="watcher", note="its parent is rolled back")
    _tell(conn, db, failed, doomed, policy)
    if begins:
        this = flow_stat.c.task_flow_id == flow.task_flow_id, flow_stat.c.reason.is_(None)
        # no deadline any more: a roll-back that is cut off half-way would be worse than a late one
        begun = {"reason": Reason.ROLLING_BACK, "closing": 1, "deadline_ts": None}
        conn.execute(update(flow_stat).where(*this).values(**begun))
        details = {"failed": list(fresh), "closed": len(doomed)}
        history.record(conn, [history.Event("flow rolling back", flow.task_flow_id, 0, "watcher", details)])
    return bool(rows) or begins


def _tell(conn: Connection, db: Database, failed: Collection[Key], doomed: Collection[Key], policy: Policy) -> None:
    """Let what listens know: which tasks failed, and that no edge out of any of these will be taken any more."""
    routing.route(conn, db, dict.fromkeys(failed, Ending(Ended.FAILED)), policy)
    routing.route(conn, db, dict.fromkeys([*failed, *doomed], Ending(Ended.SKIPPED)), policy)
