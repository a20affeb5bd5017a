"""Tries that take longer than their task allows (`timeout_s`). A thread cannot be stopped: the program is told to, its
try is settled as failed, and whatever it answers later is dropped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

from engine.claimed import ClaimedTask
from engine.executors import PROCESS
from engine.settle import Settlement
from engine.states import Reason
from watcher.settlements import failed
from watcher.slots import Slot


def limit_of(task: ClaimedTask) -> float | None:
    """Seconds that a try may take; a value that means nothing, on a row made by hand, is no limit."""
    limit = task.timeout_s
    return limit if isinstance(limit, int | float) and math.isfinite(limit) and limit > 0 else None


def left_s(slot: Slot, now: float) -> float | None:
    """Seconds until the try in this slot has run out of time; None if it has no limit, or has not begun, or runs in a
    process: its worker ends that itself."""
    limit = limit_of(slot.task)
    if limit is None or slot.begun_at is None or slot.executor == PROCESS:
        return None
    return slot.begun_at + limit - now


def overdue(slots: Iterable[Slot], now: float) -> Iterator[Slot]:
    """The slots whose try has run out of time and has not answered; each is given once, and answers no more then."""
    for slot in slots:
        left = left_s(slot, now)
        if left is not None and left <= 0 and slot.answered.acquire(blocking=False):
            yield slot


def next_s(slots: Iterable[Slot], now: float) -> float:
    """Seconds until the next try runs out of time; infinite if none will."""
    ahead = (left_s(slot, now) for slot in slots if not slot.answered.locked())
    return max(0.0, min((left for left in ahead if left is not None), default=math.inf))


def words_of(task: ClaimedTask) -> str:
    """What a person reads of a try that took too long."""
    return f"it did not end within {limit_of(task):g} seconds"


def timed_out(task: ClaimedTask) -> Settlement:
    """Another try, or suspension, as after any failure; the reason is another one."""
    return failed(task, words_of(task), reason=Reason.TIMED_OUT)
