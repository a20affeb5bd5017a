"""How many tasks to hold beyond the free workers, so that quick tasks do not wait for a round trip each."""

from __future__ import annotations

import time
from typing import Final

_QUICKEST_S: Final = 1e-6


class Pace:
    """Measures how fast the workers are. Slow programs get no prefetch at all, so that other watchers can take them.

    It is the workers' pace and not the loop's: where transactions are what takes time, larger batches are what helps,
    and a batch that followed the tasks per second would stay as small as it is.
    """

    def __init__(self, ahead_s: float, workers: int) -> None:
        self._ahead_s = ahead_s
        self._workers = workers
        self._rate = 0.0
        self._last_count = 0
        self._since = time.monotonic()

    def completed(self, count: int, busy_s: float) -> None:
        """`count` tasks completed since the last call, for which workers were busy for `busy_s` seconds in all. The
        rate follows within a few calls."""
        measured = count * self._workers / max(busy_s, count * _QUICKEST_S)
        self._rate += 0.3 * (measured - self._rate)
        self._last_count = count
        self._since = time.monotonic()

    def ahead(self) -> int:
        """As many tasks as the workers complete within `ahead_s` seconds. What was measured long ago says nothing about
        the tasks to come: the longer nothing has completed, the fewer."""
        most = self._last_count / max(time.monotonic() - self._since, 0.001)
        return int(min(self._rate, most) * self._ahead_s)
