"""Outcome -> next status, for a batch of tasks and with the next claim in the same transaction.

Locks are taken in one order everywhere: own rows by key, successors by key, flow rows by key, the claim last.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, null, select

from engine import (
    attempts,
    awaiting,
    branching,
    choosing,
    edges,
    failure,
    flow_counts,
    history,
    plans,
    pokes,
    routing,
    subflows,
)
from engine.branching import Ended, Ending
from engine.claim import ClaimedTask
from engine.database import Database
from engine.dependencies import DEFAULT_POLICY, Policy
from engine.dialects.clock import later
from engine.errors import BrokenPromise
from engine.keys import KEY_COLUMNS, Fence, Key, among, chunks, key_of
from engine.states import FAILURES, PASSED_ON, READY, Reason, Status
from engine.tables import task_stat
from engine.transitions import move
from engine.wishes import PlanWish, WaitWish

Chosen = Mapping[Key, frozenset[Key]]
"""The tasks that each task which made a choice goes on with."""


class Verdict(enum.Enum):
    """What became of a settlement."""

    ACCEPTED = "accepted"
    ALREADY = "accepted before: the answer to that COMMIT was lost"
    STALE = "superseded: another claim, or a person, has the row now"


@dataclass(frozen=True)
class Settlement:
    """What one attempt asks for. `kind` is finish, suspend, again, retry, await or release; the rest belongs to it.

    `choose` names the steps that are to follow, by name or `task_seq`; None lets all follow. Units: delay_s in seconds
    from the database's now; due_at is an instant and wins over delay_s; poke_s in seconds from the first `again`.
    `overdue`: the task was not running, but waiting for its next poke when its time for that was over.
    """

    task: ClaimedTask
    kind: str
    result: str | None = None
    reason: str | None = None
    error: str | None = None
    traceback: str | None = None
    log: str | None = None
    delay_s: float = 0.0
    due_at: datetime | None = None
    poke_s: float | None = None
    choose: tuple[str | int, ...] | None = None
    wait: WaitWish | None = None
    plan: PlanWish | None = None
    overdue: bool = False


@dataclass
class Settled:
    """The verdict of each settlement, in the order given."""

    verdicts: list[Verdict] = field(default_factory=list)
    opened: int = 0
    """How many waiting tasks became ready."""


def settle(
    conn: Connection,
    db: Database,
    watcher_id: str,
    settlements: Sequence[Settlement],
    *,
    policy: Policy = DEFAULT_POLICY,
    keep_all_attempts: bool = False,
) -> Settled:
    """Write the outcomes of a batch: statuses, counters of successors, flows, attempts and events, all in `conn`'s
    transaction. A settlement whose claim is no longer the row's last changes nothing but the record of attempts.

    Errors: BrokenPromise if a locked row moved all the same.
    """
    rows = _lock(conn, db, [item.task.key for item in settlements])
    verdicts = _judged(settlements, rows)
    settlements = pokes.timed_out(conn, settlements, verdicts)
    settlements = _feasible(conn, db, settlements, verdicts)
    settlements, chosen = _resolved(conn, settlements, verdicts)
    accepted = [item for item, verdict in zip(settlements, verdicts, strict=True) if verdict is Verdict.ACCEPTED]
    for kind, apply in _APPLY.items():
        if batch := [item for item in accepted if item.kind == kind]:
            apply(conn, batch)
    opened = _tell(conn, db, accepted, chosen, policy)
    opened += awaiting.follow(conn, db, accepted)
    _heed_failures(conn, db, accepted, policy)
    told = [
        _attempt(item, verdict, watcher_id, rows.get(item.task.key))
        for item, verdict in zip(settlements, verdicts, strict=True)
        if verdict is not Verdict.ALREADY
        and (_worth_keeping(item, verdict, keep_all_attempts) or _is_late(rows.get(item.task.key)))
    ]
    attempts.record(conn, told)
    history.record(conn, [_suspended(item) for item in accepted if item.kind == "suspend"])
    return Settled(verdicts, opened)


def _lock(conn: Connection, db: Database, keys: Iterable[Key]) -> dict[Key, Row[Any]]:
    task = task_stat.c
    rows: dict[Key, Row[Any]] = {}
    for part in chunks(sorted(keys)):
        query = select(*KEY_COLUMNS, task.exec_status, task.claim_id, task.reason, task.attempt, task.started_ts)
        query = query.where(among(part)).order_by(*KEY_COLUMNS)
        if db.can.row_locks:
            query = query.with_for_update()
        found: list[Any] = list(conn.execute(query))
        rows |= {key_of(row): row for row in found}
    return rows


def _judged(settlements: Sequence[Settlement], rows: Mapping[Key, Row[Any]]) -> list[Verdict]:
    verdicts: list[Verdict] = []
    settled: set[Fence] = set()
    for item in settlements:
        verdict = _judge(item, rows.get(item.task.key))
        if verdict is Verdict.ACCEPTED and item.task.fence in settled:
            verdict = Verdict.ALREADY  # earlier in this batch
        settled.add(item.task.fence)
        verdicts.append(verdict)
    return verdicts


def _judge(item: Settlement, row: Row[Any] | None) -> Verdict:
    if row is None or row.claim_id != item.task.claim_id:
        return Verdict.STALE
    if row.exec_status == Status.RUNNING:
        return Verdict.ACCEPTED
    if row.exec_status == Status.WAIT and row.reason == Reason.LAPSED and item.kind != "release":
        return Verdict.ACCEPTED  # the lease lapsed, but nobody has claimed the task since
    if row.exec_status == Status.WAIT and row.reason == Reason.AGAIN and item.overdue:
        return Verdict.ACCEPTED
    return Verdict.ALREADY if _looks_settled(item, row) else Verdict.STALE


def _feasible(
    conn: Connection, db: Database, settlements: Sequence[Settlement], verdicts: Sequence[Verdict]
) -> list[Settlement]:
    """The settlements, those suspended instead that ask for what the rows do not allow. Sub-flows begin here."""
    accepted = [item for item, verdict in zip(settlements, verdicts, strict=True) if verdict is Verdict.ACCEPTED]
    wishes = {item.task.key: item.plan for item in accepted if item.plan is not None}
    refused = plans.unjoinable(conn, wishes) if wishes else {}
    of_flows = {item.task.key: item.wait for item in accepted if item.wait and item.wait.kind == subflows.KIND}
    begun: dict[Key, WaitWish] = {}
    if of_flows:
        begun, impossible = subflows.begin(conn, db, of_flows)
        refused |= impossible
    feasible: list[Settlement] = []
    for item, verdict in zip(settlements, verdicts, strict=True):
        key, is_accepted = item.task.key, verdict is Verdict.ACCEPTED
        if is_accepted and key in refused:
            item = _refused(item, refused[key])
        elif is_accepted and key in begun:
            item = replace(item, wait=begun[key])
        feasible.append(item)
    return feasible


def _refused(item: Settlement, words: str) -> Settlement:
    wish = replace(item, result=None, choose=None, wait=None, plan=None)
    return replace(wish, kind="suspend", reason=Reason.BAD_RESULT, error=words)


def _looks_settled(item: Settlement, row: Row[Any]) -> bool:
    """A person who set the same status left other traces: the try is not charged, the reason is another one."""
    if item.kind in _BACK_TO_WAIT and row.exec_status == Status.WAIT and row.reason == _BACK_TO_WAIT[item.kind]:
        return True
    if item.kind == "again":  # it may have come after the time limit of its pokes
        is_over = row.reason in (Reason.TIMED_OUT, Reason.RETRY) and row.exec_status in (Status.SUSPEND, Status.WAIT)
        return bool(is_over and row.attempt == item.task.attempt)
    if item.kind in _BACK_TO_WAIT:
        return False
    if item.kind == "retry":
        is_waiting = row.exec_status == Status.WAIT and row.reason == Reason.RETRY
        return bool(is_waiting and row.attempt == item.task.attempt)
    was_handled = item.kind == "suspend" and row.exec_status == Status.IGNORE and row.reason in FAILURES.values()
    after = Status.FINISH if item.kind == "finish" else Status.SUSPEND
    return bool((row.exec_status == after or was_handled) and row.attempt == item.task.attempt)


def _resolved(
    conn: Connection, settlements: Sequence[Settlement], verdicts: Sequence[Verdict]
) -> tuple[list[Settlement], Chosen]:
    """The settlements as they are to be written: a choice of a step that is not there is a failure, and a failure that
    an edge handles needs no person."""
    accepted = {
        item.task.key: item for item, verdict in zip(settlements, verdicts, strict=True) if verdict is Verdict.ACCEPTED
    }
    changed: dict[Key, Settlement] = {}
    choices = {key: item.choose for key, item in accepted.items() if item.choose is not None}
    chosen, wrong = choosing.resolve(conn, choices) if choices else ({}, {})
    for key, words in wrong.items():
        changed[key] = replace(accepted[key], kind="suspend", result=None, reason=Reason.BAD_RESULT, error=words)
    failed = {key: item for key, item in (accepted | changed).items() if _has_failed(item)}
    if failed:
        out = [edge for edge in edges.behind(conn, failed) if edge.kind != edges.NORMAL]
        errors = {key: (item.reason or "", item.error or "") for key, item in failed.items()}
        for key in branching.handled(conn, out, errors):
            changed[key] = replace(failed[key], kind="handle", reason=FAILURES[failed[key].reason or ""])
    if not changed:
        return list(settlements), chosen
    return [
        changed.get(item.task.key, item) if accepted.get(item.task.key) is item else item for item in settlements
    ], chosen


def _has_failed(item: Settlement) -> bool:
    return item.kind == "suspend" and item.reason in FAILURES


_BACK_TO_WAIT = {"again": Reason.AGAIN, "release": Reason.RELEASED, "await": Reason.AWAITING}


def _apply_move(conn: Connection, name: str, batch: Sequence[Settlement], **columns: Any) -> None:
    fences: list[Fence] = [item.task.fence for item in batch]
    moved = move(conn, name, fences, **columns)
    if moved != len(fences):
        raise BrokenPromise(f"{name}: {len(fences)} locked rows, {moved} moved; first {fences[0]}")


def _finish(conn: Connection, batch: Sequence[Settlement]) -> None:
    for results, alike in _grouped(batch, lambda item: item.result):
        charged = task_stat.c.attempt + 1
        _apply_move(conn, "finish", alike, wait_count=PASSED_ON, result=results, due_ts=null(), attempt=charged)


def _suspend(conn: Connection, batch: Sequence[Settlement]) -> None:
    for (reason, error), alike in _grouped(batch, lambda item: (item.reason, item.error)):
        charged = task_stat.c.attempt + 1
        waiting_for_nothing = {"wait_count": READY, "due_ts": null()}
        _apply_move(conn, "suspend", alike, **waiting_for_nothing, reason=reason, error=error, attempt=charged)


def _handle(conn: Connection, batch: Sequence[Settlement]) -> None:
    """It failed, and the flow goes on by the edge for that: nobody needs to repair it."""
    for (reason, error), alike in _grouped(batch, lambda item: (item.reason, item.error)):
        ended = {"wait_count": PASSED_ON, "due_ts": null(), "attempt": task_stat.c.attempt + 1}
        _apply_move(conn, "handle", alike, reason=reason, error=error, **ended)


def _again(conn: Connection, batch: Sequence[Settlement]) -> None:
    """Back to waiting, with one more thing awaited: the due time. It is not charged as a try."""
    for (delay_s, due_at), alike in _grouped(batch, lambda item: (item.delay_s, item.due_at)):
        due = later(delay_s) if due_at is None else due_at
        _apply_move(conn, "again", alike, wait_count=READY + 1, due_ts=due, reason=Reason.AGAIN)


def _retry(conn: Connection, batch: Sequence[Settlement]) -> None:
    """Back to waiting for the rule's delay, charged, with what went wrong to be read meanwhile."""
    for (delay_s, error), alike in _grouped(batch, lambda item: (item.delay_s, item.error)):
        charged = task_stat.c.attempt + 1
        waiting = {"wait_count": READY + 1, "due_ts": later(delay_s), "attempt": charged}
        _apply_move(conn, "retry", alike, reason=Reason.RETRY, error=error, **waiting)


def _await(conn: Connection, batch: Sequence[Settlement]) -> None:
    """Back to waiting, with one more thing awaited, whose row is made below. It is not charged as a try."""
    _apply_move(conn, "await", batch, wait_count=READY + 1, reason=Reason.AWAITING)


def _release(conn: Connection, batch: Sequence[Settlement]) -> None:
    _apply_move(conn, "release", batch, reason=Reason.RELEASED)


_APPLY: dict[str, Callable[[Connection, Sequence[Settlement]], None]] = {
    "finish": _finish,
    "suspend": _suspend,
    "handle": _handle,
    "again": _again,
    "retry": _retry,
    "await": _await,
    "release": _release,
}


def _grouped(batch: Sequence[Settlement], by: Callable[[Settlement], Any]) -> Iterable[tuple[Any, list[Settlement]]]:
    groups: dict[Any, list[Settlement]] = {}
    for item in batch:
        groups.setdefault(by(item), []).append(item)
    return groups.items()


def _tell(conn: Connection, db: Database, accepted: Sequence[Settlement], chosen: Chosen, policy: Policy) -> int:
    endings = {item.task.key: ending for item in accepted if (ending := _ending(item, chosen)) is not None}
    wishes = {item.task.key: item.plan for item in accepted if item.plan is not None}
    added = plans.insert(conn, db, wishes, endings) if wishes else {}
    routed = routing.route(conn, db, endings, policy)
    changes = routed.changes()
    for flow_id, count in added.items():
        changes[flow_id] = changes.get(flow_id, flow_counts.Change()).plus(flow_counts.Change(added=count))
    for item in accepted:
        change = _COUNTED.get(item.kind, flow_counts.Change())
        flow_id = item.task.key.flow_id
        changes[flow_id] = changes.get(flow_id, flow_counts.Change()).plus(change)
    flow_counts.add(conn, db, changes)
    return routed.opened


_COUNTED = {
    "finish": flow_counts.Change(finished=1),
    "suspend": flow_counts.Change(suspended=1),
    "handle": flow_counts.Change(ignored=1),
}


def _ending(item: Settlement, chosen: Chosen) -> Ending | None:
    if item.kind == "finish":
        return Ending(Ended.FINISHED, chosen.get(item.task.key))
    if item.kind == "handle":
        return Ending(Ended.HANDLED)
    return Ending(Ended.FAILED) if _has_failed(item) else None


def _heed_failures(conn: Connection, db: Database, accepted: Sequence[Settlement], policy: Policy) -> None:
    """Where the workflow has a failure policy, failures concern the whole flow, and so does what settles after one."""
    failed = [item.task.key for item in accepted if item.kind == "suspend" and item.reason in failure.FAILURES]
    others = [item.task.key for item in accepted if item.task.failure_policy in failure.GUARDED]
    if failed or others:
        failure.apply(conn, db, failed, set(others) - set(failed), policy)


def _is_late(row: Row[Any] | None) -> bool:
    """Supervise has stored this try as lost already; what became of it after all is written over that."""
    return row is not None and row.exec_status == Status.WAIT and row.reason == Reason.LAPSED


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
