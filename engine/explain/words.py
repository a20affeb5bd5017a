"""A row of v_waiting -> a cause with the names, numbers and times that it is about, in words for a person."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row

from engine.explain.findings import Cause, instant
from engine.explain.standing import FAR, Standing, gives_up_at
from engine.inputs import document
from engine.keys import Key
from engine.limits.rows import WORKFLOW
from engine.states import Reason

SHORT: Final = 300
"""Characters of an error, or of a person's words, that stand in a sentence; the whole is in the facts."""


@dataclass(frozen=True)
class Known:
    """What the words are made of: where to ask, the task itself, and the tasks that it needs."""

    standing: Standing
    task: Row[Any]
    needed: Mapping[int, Row[Any]]

    @property
    def key(self) -> Key:
        return Key(self.task.task_flow_id, self.task.task_exec_seq)


def cause_of(row: Row[Any], known: Known) -> Cause:
    """What keeps the task, of one row of v_waiting."""
    tell = _TELLERS.get(row.cause)
    what, unblocks, facts = tell(row, known) if tell else (f"it waits for a {row.cause}", row.remedy, {})
    given = {name: value for name, value in facts.items() if value is not None}
    return Cause(row.cause, what, unblocks, row.since_ts, row.until_ts, row.by_whom, given)


def uncounted(task: Row[Any]) -> Cause:
    """A task that waits, and nobody can see for what."""
    what = f"wait_count is {task.wait_count}, and nothing is found that it awaits"
    ignored = "where watchers run with --ignore-blocks, what is behind an ignored task never runs"
    unblocks = f"penstock fsck --repair counts anew; {ignored}"
    return Cause("uncounted", what, unblocks, facts={"wait_count": task.wait_count})


def label(row: Any) -> str:
    """How sentences name a task."""
    name = row.name or row.program
    return f"task {row.task_exec_seq}" + (f" ({name})" if name else "")


Told = tuple[str, str, dict[str, Any]]


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
    return f"it waits for a time{_at(row)}", "its time must come; ignore or finish it by hand to go on now", _wait(row)


def _message(row: Row[Any], known: Known) -> Told:
    what = f"it waits for a message {row.wait_name!r} with the key {row.wait_key!r}{_until(row)}"
    return what, f"send a message {row.wait_name!r} with the key {row.wait_key!r}", _wait(row)


def _person(row: Row[Any], known: Known) -> Told:
    details = document(row.details)
    details = details if isinstance(details, dict) else {}
    candidates = details.get("candidates")
    names = ", ".join(map(str, candidates)) if isinstance(candidates, list) and candidates else "anybody who may"
    asked = "an approval" if row.cause == "approval" else "a form"
    facts = _wait(row) | {"candidates": candidates, "prompt": details.get("prompt")}
    return f"it waits for {asked} by {names}{_until(row)}", f"answer wait {row.wait_id}", facts


def _callback(row: Row[Any], known: Known) -> Told:
    what = f"it waits for a call-back{_until(row)}"
    return what, "whoever was given the token must call back", _wait(row) | {"key": None}


def _flow(row: Row[Any], known: Known) -> Told:
    facts = {"flow_id": row.needs_flow_id, "task_id": row.wait_name, "status": row.needs_status}
    what = (
        f"its sub-flow {row.needs_flow_id} ({row.wait_name}) has to end first, and is {row.needs_status or 'MISSING'}"
    )
    return what, f"see why that has not ended: penstock why {row.needs_flow_id}", facts


def _turn(row: Row[Any], known: Known) -> Told:
    most, place, active = known.standing.turn(row.wait_name, row.task_flow_id)
    told = f"place {place}" if place else f"beyond place {FAR:,}"
    what = f"its flow waits its turn ({told}): workflow {row.wait_name!r} may have {most} flows under way"
    facts = {"task_id": row.wait_name, "max_active_flows": most, "place": place, "under_way": active}
    return what, f"one of {', '.join(active) or 'them'} must end, or max_active_flows be raised", facts


def _retry(row: Row[Any], known: Known) -> Told:
    task = known.task
    what = f"try {task.attempt} of {task.max_attempts or 1} failed: {_short(row.details)}; the next is due{_at(row)}"
    facts = {"attempt": task.attempt, "max_attempts": task.max_attempts or 1, "error": row.details}
    return what, "its time must come; retry it to try at once", facts


def _poke(row: Row[Any], known: Known) -> Told:
    ends = gives_up_at(known.standing.conn, known.key)
    until = f", and gives up at {instant(ends)}" if ends else ""
    what = f"it found nothing the last time; it looks again{_at(row)}{until}"
    return what, "its time must come", {"gives_up_at": instant(ends), "claims": known.task.claims}


def _due(row: Row[Any], known: Known) -> Told:
    return f"it is not to begin before a time{_at(row)}", "its time must come, or set due_ts to NULL", {}


def _by_hand(row: Row[Any], known: Known) -> Told:
    what = "a person made it or set it back by SQL, and no watcher has taken it in yet"
    return what, "a watcher does so within a poll: start one if none runs", {}


def _queued(row: Row[Any], known: Known) -> Told:
    task, standing = known.task, known.standing
    rank = standing.rank(row.queue, known.key)
    count, slots, busy = standing.workers(row.queue, row.program)
    place = f"{rank} of queue {row.queue!r}" if rank else f"beyond {FAR:,} of queue {row.queue!r}"
    aged = f", raised by {task.aged} for its waiting" if task.aged else ""
    what = f"ready: place {place}, priority {task.task_priority}{aged}; {busy} of {slots} workers are busy"
    facts = {
        "queue": row.queue,
        "rank": rank,
        "rank_is_beyond": None if rank else FAR,
        "priority": task.task_priority,
        "aged": task.aged,
        "watchers": count,
        "workers": slots,
        "busy": busy,
    }
    unblocks = (
        "a worker must become free; watchers may have caps of their own (--limit, --max-active), which no row tells of"
    )
    return what, unblocks, facts


def _limited(row: Row[Any], known: Known) -> Told:
    holders = known.standing.holders(row.limit_scope, row.limit_name)
    facts = {
        "scope": row.limit_scope,
        "name": row.limit_name,
        "max_running": row.limit_most,
        "running": row.limit_running,
        "holders": [{"flow_id": key.flow_id, "seq": key.seq} for key in holders],
    }
    which = f"{row.limit_scope} {row.limit_name!r}"
    if not row.limit_most:
        return f"the limit of {which} is 0, which is a pause", "raise that limit, or drop it", facts
    held = ", ".join(f"{key.flow_id}/{key.seq}" for key in holders)
    what = f"{which} may run {row.limit_most} at once; {row.limit_running} are running: {held}"
    return what, "one of these must end, or the limit be raised", facts


def _rate(row: Row[Any], known: Known) -> Told:
    which = f"{row.limit_scope} {row.limit_name!r}"
    what = f"the rate of {which} lets the next start{_at(row)}"
    return what, "its time must come, or the rate be raised", {"scope": row.limit_scope, "name": row.limit_name}


def _paused(row: Row[Any], known: Known) -> Told:
    which = f"{row.limit_scope} {row.limit_name!r}"
    by = f" by {row.by_whom}" if row.by_whom else ""
    why = f": {_short(row.details)}" if row.details else ""
    verb = "resume the workflow" if row.limit_scope == WORKFLOW else f"resume the {row.limit_scope}"
    facts = {"scope": row.limit_scope, "name": row.limit_name, "reason": row.details}
    return f"{which} was paused{by}{why}", verb, facts


def _no_watcher(row: Row[Any], known: Known) -> Told:
    what = f"no live watcher serves the queue {row.queue!r}"
    return what, f"start one: penstock watch --queue {row.queue}", {"queue": row.queue}


def _no_program(row: Row[Any], known: Known) -> Told:
    what = f"no live watcher of the queue {row.queue!r} has the program {row.program!r}"
    unblocks = "install its plugin where a watcher runs, and start that anew; or correct the program of the task"
    return what, unblocks, {"queue": row.queue, "program": row.program}


def _exclusive(row: Row[Any], known: Known) -> Told:
    what = f"it is exclusive, and watcher {row.watcher_id} still has its former run"
    return what, f"that run must stop, or the lease end{_at(row)}", {"watcher_id": row.watcher_id}


def _running(row: Row[Any], known: Known) -> Told:
    task = known.task
    tries = f"try {task.attempt + 1}" + (f" of {task.max_attempts}" if task.max_attempts else "")
    since = f" since {instant(row.since_ts)}" if row.since_ts else ""
    facts = {
        "watcher_id": row.watcher_id,
        "attempt": task.attempt + 1,
        "max_attempts": task.max_attempts,
        "claims": task.claims,
        "losses": task.losses,
        "timeout_s": task.timeout_s,
    }
    unblocks = "its program must end" + (f", which it may for {task.timeout_s:g} s" if task.timeout_s else "")
    return f"it runs{since} on watcher {row.watcher_id} ({tries})", unblocks, facts


def _silent(row: Row[Any], known: Known) -> Told:
    ended = f" since {instant(row.until_ts)}" if row.until_ts else ""
    what = f"its watcher {row.watcher_id} has no valid lease{ended}"
    unblocks = "a live watcher sets it back to wait, and it runs again: start one if none runs"
    return what, unblocks, {"watcher_id": row.watcher_id, "losses": known.task.losses}


def _suspended(row: Row[Any], known: Known) -> Told:
    facts = {"reason": row.reason, "error": row.details, "attempt": known.task.attempt}
    words = f": {_short(row.details)}" if row.details else ""
    if row.reason in (Reason.PAUSED, None):
        by = f" by {row.by_whom}" if row.by_whom else ""
        return f"it was paused{by}{words}", "resume it", facts | {"verbs": ["resume", "ignore", "finish", "cancel"]}
    verbs = {"verbs": ["retry", "recover", "ignore", "finish", "cancel"]}
    if row.reason == Reason.STOPPED:
        what = "another task of its flow failed, and the workflow stops then"
        return what, "mend the task that failed, then recover the flow", facts | verbs
    return (
        f"it needs a person ({row.reason}){words}",
        "mend the cause, then retry it; or finish or ignore it",
        facts | verbs,
    )


def _wait(row: Row[Any]) -> dict[str, Any]:
    return {"wait_id": row.wait_id, "name": row.wait_name, "key": row.wait_key}


def _at(row: Row[Any]) -> str:
    return f" at {instant(row.until_ts)}" if row.until_ts else ""


def _until(row: Row[Any]) -> str:
    return f", until {instant(row.until_ts)}" if row.until_ts else ""


def _short(text: str | None) -> str:
    words = " ".join((text or "").split())
    return words if len(words) <= SHORT else words[: SHORT - 3] + "..."


_TELLERS: Final[Mapping[str, Callable[[Row[Any], Known], Told]]] = {
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
    "queued": _queued,
    "limit": _limited,
    "rate": _rate,
    "paused": _paused,
    "no watcher": _no_watcher,
    "no program": _no_program,
    "exclusive": _exclusive,
    "running": _running,
    "silent": _silent,
    "suspended": _suspended,
}
