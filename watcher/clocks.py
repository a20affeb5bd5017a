"""Does the database's clock run as time does? Leases are judged by it, so after a jump nobody may be called dead."""

from __future__ import annotations

from datetime import datetime
from typing import Final

MAX_JUMP_S: Final = 2.0
"""Beyond this the two clocks disagree about the time between two looks."""


class Clocks:
    """Compares what passed on the database's clock with what passed on this host's steady one, from look to look."""

    def __init__(self) -> None:
        self._last: tuple[datetime, float, float] | None = None

    def jump_s(self, time_now: datetime, asked_at: float, answered_at: float) -> float:
        """By how many seconds the database's clock has surely jumped since the last look; negative backwards, 0 if the
        two may agree. The time was read somewhere between `asked_at` and `answered_at`, which are monotonic."""
        last, self._last = self._last, (time_now, asked_at, answered_at)
        if last is None:
            return 0.0
        then, then_asked_at, then_answered_at = last
        passed_s = (time_now - then).total_seconds()
        least_s, most_s = asked_at - then_answered_at, answered_at - then_asked_at
        return passed_s - min(max(passed_s, least_s), most_s)
