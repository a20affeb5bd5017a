"""A row of v_waiting -> a cause with the names, numbers and times that it is about, in words for a person."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Row

from engine.explain.awaited import AWAITED
from engine.explain.findings import Cause, instant
from engine.explain.held_back import HELD_BACK
from engine.explain.known import Known, Tellers, Told, shortened
from engine.states import Reason


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
    lease = f", lease until {instant(row.until_ts)}" if row.until_ts else ""
    return f"it runs{since} on watcher {row.watcher_id} ({tries}{lease})", unblocks, facts


def _silent(row: Row[Any], known: Known) -> Told:
    ended = f" since {instant(row.until_ts)}" if row.until_ts else ""
    what = f"its watcher {row.watcher_id} has no valid lease{ended}"
    unblocks = "a live watcher sets it back to wait, and it runs again: start one if none runs"
    return what, unblocks, {"watcher_id": row.watcher_id, "losses": known.task.losses}


def _suspended(row: Row[Any], known: Known) -> Told:
    facts = {"reason": row.reason, "error": row.details, "attempt": known.task.attempt}
    words = f": {shortened(row.details)}" if row.details else ""
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


_TELLERS: Final[Tellers] = {
    **AWAITED,
    **HELD_BACK,
    "running": _running,
    "silent": _silent,
    "suspended": _suspended,
}
