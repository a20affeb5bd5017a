"""Pauses between tries while the database is away."""

from __future__ import annotations

import random
import threading
import time

from watcher.lease import Heartbeat

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
ASK_EVERY_S = 0.1
"""Between questions, in a pause that a thread sits out, whether the database is back."""


class Backoff:
    """Of one thread that tries transactions: pauses are doubled from the first to the longest, as long as all fail. A
    beat that gets through after an outage ends a pause, as the database is back."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        self._failed_at = self._until = 0.0
        self._pause_s = FIRST_PAUSE_S

    def failed(self) -> None:
        """Begin a pause."""
        self._failed_at = time.monotonic()
        self._until = self._failed_at + self._pause_s * random.uniform(0.8, 1.2)
        self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)

    def succeeded(self) -> None:
        self._until, self._pause_s = 0.0, FIRST_PAUSE_S

    @property
    def left_s(self) -> float:
        """Seconds until the next try; 0 when it may be made at once."""
        if self._until and self._heartbeat.is_back_since(self._failed_at):
            self._until = 0.0
        return max(0.0, self._until - time.monotonic())

    def sit_out(self, stopped: threading.Event) -> None:
        """Return when the pause is over, or when `stopped` is set."""
        while (left := self.left_s) and not stopped.wait(min(left, ASK_EVERY_S)):
            pass
