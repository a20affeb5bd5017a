"""What a program answered, as a settlement: pure, without a database."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from engine import jsontext
from engine.claimed import ClaimedTask
from engine.growth import plan_checks
from engine.settling.settlement import Settlement
from engine.states import Reason
from engine.wishes import WaitWish
from programs.outcomes import Again, Await, Choose, Fail, Finish, Outcome, Plan
from watcher import masking

MAX_ERROR_CHARS = 4_000


def settlement_of(task: ClaimedTask, outcome: Outcome) -> Settlement:
    match outcome:
        case Finish(result=None):
            return Settlement(task, "finish")
        case Finish(result=result):
            return finished(task, result)
        case Again(after=after, at=at, timeout=timeout):
            give_up = None if timeout is None else _seconds(timeout)
            return Settlement(task, "again", delay_s=_seconds(after), due_at=at and _in_utc(at), poke_s=give_up)
        case Choose(steps=steps, result=result):
            return replace(finished(task, result), choose=tuple(steps))
        case Await():
            return _awaiting(task, outcome)
        case Plan():
            return _planned(task, outcome)
        case Fail(error=words, retry=retry):
            return failed(task, words, retry=retry)


def _seconds(delay: float | timedelta | None) -> float:
    return delay.total_seconds() if isinstance(delay, timedelta) else float(delay or 0.0)


def _awaiting(task: ClaimedTask, asked: Await) -> Settlement:
    until, at = asked.until, None
    if isinstance(until, datetime):
        at, delay = _in_utc(until), None
    else:
        delay = None if until is None else _seconds(until)
    try:
        details = jsontext.dumps(dict(asked.details), max_bytes=jsontext.MAX_RESULT_BYTES) if asked.details else None
    except jsontext.NotJSON as error:
        return suspended(task, Reason.BAD_RESULT, f"the details of its Await {error}")
    wish = WaitWish(asked.kind, asked.name, asked.key, details, delay, at)
    return Settlement(task, "await", wait=wish)


def _planned(task: ClaimedTask, outcome: Plan) -> Settlement:
    try:
        wish = plan_checks.check(outcome.tasks, join=outcome.join)
    except plan_checks.BadPlan as error:
        return suspended(task, Reason.BAD_RESULT, str(error))
    settlement = Settlement(task, "finish") if outcome.result is None else finished(task, outcome.result)
    return replace(settlement, plan=wish) if wish.tasks and settlement.kind == "finish" else settlement


def _in_utc(instant: datetime) -> datetime:
    """The instant as databases keep it; the first and the last hours of the calendar have no UTC of their own."""
    try:
        return instant.astimezone(UTC)
    except OverflowError:
        return instant.replace(tzinfo=UTC)


def finished(task: ClaimedTask, result: Any) -> Settlement:
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
        return replace(settlement, kind="retry", reason=None, delay_s=task.retry.delay_after(task.attempt))
    return settlement


def suspended(task: ClaimedTask, reason: str, words: str, trace: str | None = None) -> Settlement:
    clean = jsontext.clean_text(masking.mask(words), MAX_ERROR_CHARS)  # masked first: a cut may halve a secret
    trace = trace and jsontext.clean_text(masking.mask(trace))
    return Settlement(task, "suspend", reason=reason, error=clean, traceback=trace)


def released(task: ClaimedTask) -> Settlement:
    """Hand a task back that was not begun, or was interrupted: it does not count as a try."""
    return Settlement(task, "release")
