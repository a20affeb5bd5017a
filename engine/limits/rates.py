"""A limit by rate as one time: the next task may start at `free_at`. Pure arithmetic (GCRA, virtual scheduling).

Starts are `step` apart on average; after a pause up to `count` may come at once. A time cannot leak: nothing has to be
given back, and once it lies far enough in the past it means the same as no time at all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine.dialects.clock import MAX_DELAY_S

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Rate:
    """At most `count` starts at once, and one per `step` after that."""

    count: int
    step: timedelta

    @classmethod
    def of(cls, count: int, period_s: float) -> Rate:
        """`count` starts in `period_s` seconds. The step is rounded up, so that rounding never lets more through."""
        bounded = period_s if period_s < MAX_DELAY_S else MAX_DELAY_S  # NaN, which PostgreSQL calls positive, is none
        return cls(count, max(1, math.ceil(bounded * 1_000_000 / count)) * _MICROSECOND)

    def free(self, free_at: datetime | None, now: datetime) -> int:
        """How many may start at `now`."""
        at = self._bounded(free_at, now)
        return 0 if at > now else (now - at) // self.step + 1

    def after(self, free_at: datetime | None, now: datetime, started: int) -> datetime:
        """When the next may start, after `started` have started at `now`."""
        return self._bounded(free_at, now) + started * self.step

    def _bounded(self, free_at: datetime | None, now: datetime) -> datetime:
        """A pause saves up no more than `count` starts. A time further ahead than a step was written under a slower
        rate, or by a clock that has been set back since."""
        fresh = now - (self.count - 1) * self.step
        return fresh if free_at is None else min(max(free_at, fresh), now + self.step)
