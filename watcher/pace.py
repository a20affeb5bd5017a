"""How many tasks to hold beyond the free workers, so that quick tasks do not wait for a round trip each."""

from __future__ import annotations

import time


class Pace:
    """Measures how fast tasks complete. Slow ones get no prefetch at all, so that other watchers can take them."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead_s = ahead_s
        self._rate = 0.0
        self._last_count = 0
        self._since = time.monotonic()

    def completed(self, count: int) -> None:
        """`count` tasks completed since the last call. The rate follows within a few calls."""
        now = time.monotonic()
        measured = count / max(now - self._since, 0.001)
        self._rate += 0.3 * (measured - self._rate)
        self._last_count = count
        self._since = now

    def ahead(self) -> int:
        """As many tasks as complete within `ahead_s` seconds. What was measured long ago says nothing about the tasks
        to come: the longer nothing has completed, the fewer."""
        most = self._last_count / max(time.monotonic() - self._since, 0.001)
        return int(min(self._rate, most) * self._ahead_s)
