"""When a task with several predecessors runs, and when it is skipped: pure functions over the outcomes of its edges."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable
from typing import Final


class EdgeOutcome(enum.StrEnum):
    """What became of an edge (`outcome` of kr_task_edge); None is an edge that is still open."""

    TAKEN = "taken"
    SKIPPED = "skipped"
    FAILED = "failed"
    """The earlier task failed, and this one may want to know."""
    MOOT = "moot"
    """It has no say: the rule was satisfied before, or the edge only orders the two tasks."""
    LOOPED = "looped"
    """A loop edge that was taken: the next iteration has one of its own."""


class Verdict(enum.Enum):
    """What a rule says of a task."""

    WAIT = "an edge that matters is still open"
    RUN = "the task may run"
    SKIP = "the task will never run"


DEFAULT: Final = "all"
RULES: Final = ("all", "all_taken", "any", "all_done", "one_failed", "none_failed", "cleanup")
LISTENING: Final = frozenset({"all_done", "one_failed", "cleanup"})
"""Rules that want to know of a failure even while it waits for a person."""
_AT_ONCE: Final = {
    "any": EdgeOutcome.TAKEN,
    "one_failed": EdgeOutcome.FAILED,
    "cleanup": EdgeOutcome.FAILED,
}
"""Rules that one outcome satisfies, whatever the other edges are still to say."""


def hits_at_once(rule: str | None, outcomes: Iterable[str | None]) -> bool:
    """Does one of these outcomes satisfy the rule by itself?"""
    wanted = _AT_ONCE.get(rule or DEFAULT)
    return wanted is not None and wanted in outcomes


def verdict(rule: str | None, outcomes: Iterable[str | None]) -> Verdict:
    """What the rule says, given the outcome of every edge into the task. A task without any edge runs, and so does one
    with a rule that nobody knows: it was written by hand, and waiting for ever would help nobody."""
    count = Counter(outcomes)
    rule = rule if rule in RULES else DEFAULT
    if hits_at_once(rule, count):
        return Verdict.RUN
    if count[None]:
        return Verdict.WAIT
    if not count.keys() - {EdgeOutcome.MOOT}:
        return Verdict.RUN
    return Verdict.RUN if _runs(rule, count) else Verdict.SKIP


def _runs(rule: str, count: Counter[str | None]) -> bool:
    """With every edge settled, and no outcome that satisfies the rule by itself."""
    taken, failed = count[EdgeOutcome.TAKEN], count[EdgeOutcome.FAILED]
    match rule:
        case "all_taken":
            return taken + count[EdgeOutcome.MOOT] == count.total()
        case "all_done":
            return True
        case "none_failed":
            return not failed
        case "any" | "one_failed":
            return False
    return bool(taken)  # all, cleanup
