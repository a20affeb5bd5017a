"""In words: what a task awaits, before it can be ready."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Row

from engine.explain.findings import instant
from engine.explain.known import PAST, Known, Tellers, Told, at, label, shortened, until
from engine.explain.standing import FAR, gives_up_at
from engine.inputs import document


def _dependency(row: Row[Any], known: Known) -> Told:
    there = known.needed.get(row.needs_exec_seq)
    facts = {"flow_id": row.needs_flow_id, "seq": row.needs_exec_seq, "status": row.needs_status}
    if there is None:
        what = f"task {row.needs_exec_seq} has to end first, and the flow has no such task"
        return what, "insert that task, or take the edge away", facts
    facts |= {"name": there.name, "program": there.program, "reason": there.reason}
    why = f", {there.reason}" if there.reason else ""
    state = f"{label(there)} has to end first, and is {row.needs_status}{why}"
    if row.needs_status in ("FINISH", "IGNORE"):
        if there.wait_count is not None and there.wait_count < 0:
            return f"{label(there)} is over, and its edge is not decided yet", "penstock fsck, if it stays so", facts
        return f"{label(there)} is over, and has not told it yet", "a watcher does so within a poll", facts
    if row.needs_status == "SUSPEND":
        return state, f"recover or resume task {row.needs_exec_seq}, or finish or ignore it by hand", facts
    return state, f"nothing to do but wait, or see why task {row.needs_exec_seq} is where it is", facts


def _timer(row: Row[Any], known: Known) -> Told:
    unblocks = "its time must come; to go on now, set due_ts of its row in kr_wait to a time that is past"
    return f"it waits for a time{at(row)}", unblocks, _wait(row)


def _message(row: Row[Any], known: Known) -> Told:
    what = f"it waits for a message {row.wait_name!r} with the key {row.wait_key!r}{until(row)}"
    return what, f"send a message {row.wait_name!r} with the key {row.wait_key!r}", _wait(row)


def _person(row: Row[Any], known: Known) -> Told:
    details = document(row.details)
    details = details if isinstance(details, dict) else {}
    candidates = details.get("candidates")
    listed = candidates if isinstance(candidates, list) else []
    names = shortened(", ".join(map(str, listed))) or "anybody who may"
    asked = "an approval" if row.cause == "approval" else "a form"
    facts = _wait(row) | {"candidates": candidates, "prompt": details.get("prompt")}
    return f"it waits for {asked} by {names}{until(row)}", f"answer wait {row.wait_id}", facts


def _callback(row: Row[Any], known: Known) -> Told:
    what = f"it waits for a call-back{until(row)}"
    return what, "whoever was given the token must call back", _wait(row) | {"key": None}


def _flow(row: Row[Any], known: Known) -> Told:
    facts = {"flow_id": row.needs_flow_id, "task_id": row.wait_name, "status": row.needs_status}
    state = row.needs_status or "MISSING"
    what = f"its sub-flow {row.needs_flow_id} ({row.wait_name}) has to end first, and is {state}"
    return what, f"see why that has not ended: penstock why {row.needs_flow_id}", facts


def _turn(row: Row[Any], known: Known) -> Told:
    most, rank, active = known.standing.turn(row.wait_name, row.task_flow_id)
    told = f"rank {rank}" if rank else f"beyond rank {FAR:,}"
    what = f"its flow waits its turn ({told}): workflow {row.wait_name!r} may have {most} flows under way"
    facts = {"task_id": row.wait_name, "max_active_flows": most, "rank": rank, "under_way": active}
    return what, f"one of {', '.join(active) or 'them'} must end, or max_active_flows be raised", facts


def _retry(row: Row[Any], known: Known) -> Told:
    task = known.task
    what = f"try {task.attempt} of {task.max_attempts or 1} failed: {shortened(row.details)}; the next is due{at(row)}"
    facts = {"attempt": task.attempt, "max_attempts": task.max_attempts or 1, "error": row.details}
    return what, f"its time must come; to try at once, {PAST}", facts


def _poke(row: Row[Any], known: Known) -> Told:
    ends = gives_up_at(known.standing.conn, known.key)
    limit = f", and gives up at {instant(ends)}" if ends else ""
    what = f"it found nothing the last time; it looks again{at(row)}{limit}"
    facts = {"gives_up_at": instant(ends), "claims": known.task.claims}
    return what, f"its time must come; to look at once, {PAST}", facts


def _due(row: Row[Any], known: Known) -> Told:
    return f"it is not to begin before a time{at(row)}", f"its time must come; to go on now, {PAST}", {}


def _by_hand(row: Row[Any], known: Known) -> Told:
    what = "a person made it or set it back by SQL, and no watcher has taken it in yet"
    return what, "a watcher does so within a poll: start one if none runs", {}


def _wait(row: Row[Any]) -> dict[str, Any]:
    return {"wait_id": row.wait_id, "name": row.wait_name, "key": row.wait_key}


AWAITED: Final[Tellers] = {
    "dependency": _dependency,
    "timer": _timer,
    "message": _message,
    "approval": _person,
    "form": _person,
    "callback": _callback,
    "flow": _flow,
    "turn": _turn,
    "retry": _retry,
    "poke": _poke,
    "due": _due,
    "by hand": _by_hand,
}
