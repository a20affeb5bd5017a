"""What a program answered, as a settlement, with secrets masked in what it says of its failure."""

from __future__ import annotations

from datetime import datetime, timedelta

from engine.claimed import ClaimedTask
from engine.settling import making
from engine.settling.making import MAX_ERROR_CHARS, finished, released
from engine.settling.settlement import Settlement
from engine.states import Reason
from programs.outcomes import Again, Await, Choose, Fail, Finish, Outcome, Plan
from watcher import masking

__all__ = ["MAX_ERROR_CHARS", "failed", "finished", "released", "settlement_of", "suspended"]


def settlement_of(task: ClaimedTask, outcome: Outcome) -> Settlement:
    match outcome:
        case Finish(result=result):
            return finished(task, masking.masked_result(result))
        case Again(after=after, at=at, timeout=timeout):
            return making.again(task, _seconds(after), at, None if timeout is None else _seconds(timeout))
        case Choose(steps=steps, result=result):
            return making.chosen(task, tuple(steps), masking.masked_result(result))
        case Await(kind=kind, name=name, key=key, until=until, details=details):
            when = until if isinstance(until, datetime) or until is None else _seconds(until)
            return making.awaiting(task, kind, name, key, when, details)
        case Plan(tasks=tasks, result=result, join=join):
            return making.planned(task, tasks, masking.masked_result(result), join=join)
        case Fail(error=words, retry=retry):
            return failed(task, words, retry=retry)


def _seconds(delay: float | timedelta | None) -> float:
    return delay.total_seconds() if isinstance(delay, timedelta) else float(delay or 0.0)


def failed(
    task: ClaimedTask, words: str, trace: str | None = None, *, retry: bool = True, reason: str = Reason.FAILED
) -> Settlement:
    """Another try if the program and the row's rule allow it, else a person's."""
    words, trace = _masked(words, trace)
    return making.failed(task, words, trace, retry=retry, reason=reason)


def suspended(task: ClaimedTask, reason: str, words: str, trace: str | None = None) -> Settlement:
    words, trace = _masked(words, trace)
    return making.suspended(task, reason, words, trace)


def _masked(words: str, trace: str | None) -> tuple[str, str | None]:
    """Masked before anything is cut: a cut may halve a secret."""
    return masking.mask(words), trace and masking.mask(trace)
