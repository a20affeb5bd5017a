"""Outcome -> next status, for a batch of tasks and with the next claim in the same transaction.

Locks are taken in one order everywhere: own rows by key, successors by key, flow rows by key, the claim last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from engine import attempts, flow_counts, history
from engine.database import Database
from engine.ending import failure
from engine.failpoints import hit
from engine.graph import routing
from engine.graph.branching import Ended, Ending
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.growth import loops, plans
from engine.settling import moves, plain, resolving, verdicts
from engine.settling.plain import LongWayError
from engine.settling.resolving import Resolved
from engine.settling.settlement import Settled, Settlement, Verdict
from engine.waiting import awaiting, pokes

__all__ = ["LongWayError", "Settled", "Settlement", "Verdict", "settle"]


def settle(
    conn: Connection,
    db: Database,
    watcher_id: str,
    settlements: Sequence[Settlement],
    *,
    policy: Policy = DEFAULT_POLICY,
    keep_all_attempts: bool = False,
    shortly: bool = False,
) -> Settled:
    """Write the outcomes of a batch: statuses, counters of successors, flows, attempts and events, all in `conn`'s
    transaction. A settlement whose claim is no longer the row's last changes nothing but the record of attempts.

    `shortly`: they fit the short way (engine/settling/plain.py): go it, which may raise LongWayError.
    Errors: BrokenPromise if a locked row moved all the same.
    """
    hit("settle.before")
    if shortly and not keep_all_attempts:
        plain.settle(conn, db, settlements)
        hit("settle.before_commit")
        return Settled([Verdict.ACCEPTED] * len(settlements))
    rows = verdicts.lock(conn, db, [item.task.key for item in settlements])
    judged = verdicts.judged(settlements, rows)
    settlements = pokes.timed_out(conn, settlements, judged)
    resolved = resolving.resolve(conn, db, settlements, judged, rows)
    settlements = resolved.settlements
    accepted = [item for item, verdict in zip(settlements, judged, strict=True) if verdict is Verdict.ACCEPTED]
    moves.apply(conn, accepted)
    hit("settle.after_moves")
    _tell(conn, db, accepted, resolved, policy)
    awaiting.follow(conn, db, accepted)
    _heed_failures(conn, db, accepted, policy)
    told = [
        _attempt(item, verdict, watcher_id, rows.get(item.task.key))
        for item, verdict in zip(settlements, judged, strict=True)
        if verdict is not Verdict.ALREADY
        and (_worth_keeping(item, verdict, keep_all_attempts) or verdicts.is_late(rows.get(item.task.key)))
    ]
    attempts.record(conn, told)
    hit("settle.after_attempts")
    history.record(conn, [_suspended(item) for item in accepted if item.kind == "suspend"])
    hit("settle.before_commit")
    return Settled(judged)


def _tell(conn: Connection, db: Database, accepted: Sequence[Settlement], resolved: Resolved, policy: Policy) -> None:
    """What follows: plans are added, loops go round, and everything behind is told."""
    turning = {loop.key for loop in resolved.turning}
    endings = {item.task.key: ending for item in accepted if (ending := _ending(item, resolved)) is not None}
    wishes = {item.task.key: item.plan for item in accepted if item.plan is not None}
    added = plans.insert(conn, db, wishes, endings) if wishes else {}
    made = loops.turn(conn, db, resolved.turning) if turning else {}
    told = {key: ending for key, ending in endings.items() if key not in turning}
    routed = routing.route(conn, db, told, policy, [edge for edge in resolved.out if edge.parent in told])
    hit("settle.after_successors")
    changes = routed.changes()
    for flow_id in added.keys() | made.keys():
        more = added.get(flow_id, 0) + made.get(flow_id, 0)
        flow_counts.note(changes, flow_id, flow_counts.Change(added=more))
    for item in accepted:
        flow_counts.note(changes, item.task.key.flow_id, _COUNTED.get(item.kind, flow_counts.Change()))
    flow_counts.add(conn, db, changes)
    hit("settle.after_counters")


_COUNTED = {
    "finish": flow_counts.Change(finished=1),
    "suspend": flow_counts.Change(suspended=1),
    "handle": flow_counts.Change(ignored=1),
}


def _ending(item: Settlement, resolved: Resolved) -> Ending | None:
    if item.kind == "finish":
        return Ending(Ended.FINISHED, resolved.chosen.get(item.task.key), planned=item.plan is not None)
    if item.kind == "handle":
        return Ending(Ended.HANDLED)
    return Ending(Ended.FAILED) if resolving.has_failed(item) else None


def _heed_failures(conn: Connection, db: Database, accepted: Sequence[Settlement], policy: Policy) -> None:
    """Where the workflow has a failure policy, failures concern the whole flow, and so does what settles after one."""
    failed = [item.task.key for item in accepted if item.kind == "suspend" and item.reason in failure.FAILURES]
    others = [item.task.key for item in accepted if item.task.failure_policy in failure.GUARDED]
    if failed or others:
        failure.apply(conn, db, failed, set(others) - set(failed), policy)


def _worth_keeping(item: Settlement, verdict: Verdict, keep_all: bool) -> bool:
    plain = verdict is Verdict.ACCEPTED and item.kind == "finish"
    return keep_all or not plain or bool(item.log)


_OUTCOMES = {
    "finish": "finished",
    "suspend": "failed",
    "handle": "failed",
    "again": "again",
    "retry": "failed",
    "await": "awaiting",
    "release": "released",
}


def _attempt(item: Settlement, verdict: Verdict, watcher_id: str, row: Row[Any] | None) -> attempts.Attempt:
    accepted = verdict is Verdict.ACCEPTED
    mine = row is not None and row.claim_id == item.task.claim_id
    return attempts.Attempt(
        fence=item.task.fence,
        claim_no=item.task.claim_no,
        outcome=_OUTCOMES[item.kind] if accepted else "stale",
        accepted=accepted and item.kind in ("finish", "suspend", "handle"),
        watcher_id=watcher_id,
        claimed_ts=row.started_ts if row is not None and mine else None,
        error=item.error,
        traceback=item.traceback,
        log=item.log,
        generation=item.task.generation,
    )


def _suspended(item: Settlement) -> history.Event:
    return history.about(item.task.key, "task suspended", reason=item.reason, error=(item.error or "")[:1000])
