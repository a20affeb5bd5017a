"""Settlements from what a try came to, as plain data: pure, without a database."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from engine import jsontext
from engine.claimed import ClaimedTask
from engine.growth import plan_checks
from engine.settling.settlement import Settlement
from engine.states import Reason
from engine.wishes import WaitWish

MAX_ERROR_CHARS: Final = 4_000


def finished(task: ClaimedTask, result: Any = None) -> Settlement:
    """Done; a result that no row can carry suspends the task."""
    if result is None:
        return Settlement(task, "finish")
    try:
        return Settlement(task, "finish", result=jsontext.dumps(result, max_bytes=jsontext.MAX_RESULT_BYTES))
    except jsontext.NotJSON as error:
        return suspended(task, Reason.BAD_RESULT, f"the result {error}")


def failed(
    task: ClaimedTask, words: str, trace: str | None = None, *, retry: bool = True, reason: str = Reason.FAILED
) -> Settlement:
    """Another try if the program and the row's rule allow it, else a person's."""
    settlement = suspended(task, reason, words, trace)
    if retry and task.retry.allows_after(task.attempt):
        return settlement._replace(kind="retry", reason=None, delay_s=task.retry.delay_after(task.attempt))
    return settlement


def suspended(task: ClaimedTask, reason: str, words: str, trace: str | None = None) -> Settlement:
    clean = jsontext.clean_text(words, MAX_ERROR_CHARS)
    return Settlement(task, "suspend", reason=reason, error=clean, traceback=trace and jsontext.clean_text(trace))


def released(task: ClaimedTask) -> Settlement:
    """Hand a task back that was not begun, or was interrupted: it does not count as a try."""
    return Settlement(task, "release")


def again(task: ClaimedTask, after_s: float, at: datetime | None, timeout_s: float | None) -> Settlement:
    """Not yet. Units: seconds from now, or an instant with a zone; `timeout_s` from the first time it was said."""
    return Settlement(task, "again", delay_s=after_s, due_at=at and in_utc(at), poke_s=timeout_s)


def chosen(task: ClaimedTask, steps: tuple[str | int, ...], result: Any) -> Settlement:
    """Done, and of what follows only these steps."""
    return finished(task, result)._replace(choose=steps)


def awaiting(
    task: ClaimedTask,
    kind: str,
    name: str | None,
    key: str | None,
    until: datetime | float | None,
    details: Mapping[str, Any],
) -> Settlement:
    """Not before this has come. `until`: an instant with a zone, or seconds from now."""
    at = in_utc(until) if isinstance(until, datetime) else None
    delay_s = until if isinstance(until, int | float) else None
    try:
        text = jsontext.dumps(dict(details), max_bytes=jsontext.MAX_RESULT_BYTES) if details else None
    except jsontext.NotJSON as error:
        return suspended(task, Reason.BAD_RESULT, f"the details of its Await {error}")
    return Settlement(task, "await", wait=WaitWish(kind, name, key, text, delay_s, at))


def planned(task: ClaimedTask, tasks: object, result: Any, *, join: bool) -> Settlement:
    """Done, with these tasks behind it: a sequence of `plan_checks.Wished`. A bad plan suspends the planner."""
    try:
        wish = plan_checks.check(tasks, join=join)
    except plan_checks.BadPlan as error:
        return suspended(task, Reason.BAD_RESULT, str(error))
    settlement = finished(task, result)
    return settlement._replace(plan=wish) if wish.tasks and settlement.kind == "finish" else settlement


def in_utc(instant: datetime) -> datetime:
    """The instant as databases keep it; the first and the last hours of the calendar have no UTC of their own."""
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return instant.replace(tzinfo=UTC)
