"""What a process says of a database that is away: a line now and then, whichever of its parts notices it.

Every part of a process tries again by itself, several times a second at first. All of them ask here before they say so,
so that an outage of any length costs five lines a minute and not thousands.
"""

from __future__ import annotations

import threading
import time
from typing import Final

EVERY_S: Final = 12.0
"""Seconds between two lines about one cause."""


class Quiet:
    """Lets one line through every `every_s` seconds for each cause, and counts the others. For any thread."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._lock = threading.Lock()
        self._said: dict[str, tuple[float, int]] = {}

    def may_say(self, cause: str) -> int | None:
        """None: keep quiet. A number: say it, and that so many lines of this cause were left out since the last."""
        now = time.monotonic()
        with self._lock:
            said_at, left_out = self._said.get(cause, (-self._every_s, 0))
            if now < said_at + self._every_s:
                self._said[cause] = said_at, left_out + 1
                return None
            self._said[cause] = now, 0
            return left_out


OUTAGES: Final = Quiet()
"""The one of this process. Its causes are few and fixed: `AWAY`, `BACK`, and names of parts."""
AWAY: Final = "away"
"""The database cannot be used, whatever the reason and whoever noticed."""
BUG: Final = "bug"
"""An error that no code expected."""
BACK: Final = "back"
