"""In words: what keeps a task that is ready from being started."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Row

from engine.explain.known import Known, Tellers, Told, at, shortened
from engine.explain.standing import FAR
from engine.limits.rows import KEY


def _queued(row: Row[Any], known: Known) -> Told:
    task, standing = known.task, known.standing
    rank = standing.rank(row.queue, known.key)
    count, slots, busy = standing.workers(row.queue, row.program)
    place = f"rank {rank}" if rank else f"beyond rank {FAR:,}"
    aged = f", raised by {task.aged} for its waiting" if task.aged else ""
    workers = f"{busy} of {slots} workers are busy"
    what = f"ready: {place} in queue {row.queue!r}, priority {task.task_priority}{aged}; {workers}"
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
    what = f"{which} may run {row.limit_most} at once; {row.limit_running} are running" + (f": {held}" if held else "")
    return what, "one of these must end, or the limit be raised", facts


def _rate(row: Row[Any], known: Known) -> Told:
    which = f"{row.limit_scope} {row.limit_name!r}"
    what = f"the rate of {which} lets the next start{at(row)}"
    return what, "its time must come, or the rate be raised", {"scope": row.limit_scope, "name": row.limit_name}


def _paused(row: Row[Any], known: Known) -> Told:
    which = f"{row.limit_scope} {row.limit_name!r}"
    by = f" by {row.by_whom}" if row.by_whom else ""
    why = f": {shortened(row.details)}" if row.details else ""
    verb = "set its paused_ts in ms_limit to NULL" if row.limit_scope == KEY else f"resume the {row.limit_scope}"
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
    return what, f"that run must stop, or the lease end{at(row)}", {"watcher_id": row.watcher_id}


HELD_BACK: Final[Tellers] = {
    "queued": _queued,
    "limit": _limited,
    "rate": _rate,
    "paused": _paused,
    "no watcher": _no_watcher,
    "no program": _no_program,
    "exclusive": _exclusive,
}
