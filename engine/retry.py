"""When a failed task is tried again. Pure functions over the numbers of one row."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

LONGEST_DELAY_S: Final = 366 * 86_400.0


@dataclass(frozen=True)
class RetryRule:
    """How often a task is tried, and how long it waits before each further try.

    The delay before try n + 1 is `delay_s` * `backoff` ** (n - 1), at most `max_delay_s`; of that a random share of
    up to `jitter` (0 .. 1) is left out, so that tasks which failed together do not come back together. Seconds.
    """

    max_attempts: int = 1
    delay_s: float = 10.0
    backoff: float = 1.0
    max_delay_s: float = LONGEST_DELAY_S
    jitter: float = 0.0

    def allows_after(self, attempt: int) -> bool:
        """May the task run again after its try number `attempt` (1 is the first) has failed?"""
        return attempt < self.max_attempts

    def delay_after(self, attempt: int) -> float:
        """Seconds to wait after that failure."""
        most = min(self.max_delay_s, LONGEST_DELAY_S)
        try:
            delay = min(self.delay_s * self.backoff ** (attempt - 1), most)
        except OverflowError:
            delay = most
        return delay * (1 - self.jitter * random.random())


NO_RETRY: Final = RetryRule()
COLUMNS: Final = ("max_attempts", "retry_delay_s", "retry_backoff", "retry_max_delay_s", "retry_jitter")
"""The columns of a rule, in a definition and in a run, in the order of the rule's own fields."""
_LEAST: Final = (1, 0, 1, 0, 0)


def rule_of(row: Mapping[Any, Any]) -> RetryRule:
    """The rule in a row's columns; NULL, and whatever came in past a constraint, is the default."""
    fields = ("max_attempts", "delay_s", "backoff", "max_delay_s", "jitter")
    given = {
        field: row[column]
        for field, column in zip(fields, COLUMNS, strict=True)
        if problem_with(column, row[column]) == ""
    }
    return RetryRule(**given) if given else NO_RETRY


def problem_with(column: str, value: Any) -> str | None:
    """What is wrong with a value of one of the columns: a sentence; "" if nothing is, None if there is no value."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"{column} {value!r} is no number"
    least = _LEAST[COLUMNS.index(column)]
    if value < least:
        return f"{column} {value!r} is less than {least}"
    if column == "max_attempts" and value != int(value):
        return f"{column} {value!r} is no whole number"
    if column == "retry_jitter" and value > 1:
        return f"{column} {value!r} is more than 1"
    return ""
