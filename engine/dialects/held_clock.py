"""A clock that a test holds: the time of one SQLite file stands still, and goes on only when it is told to.

For tests of what waits for a time. Connections that this process opens while the clock is held judge by it; what was
opened before, and every other database, goes by the host's.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from engine.dialects.clock import sqlite_utc_after

_HELD: Final[dict[str, HeldClock]] = {}
_TICK: Final = timedelta(microseconds=1)
"""Between two readings: what happened later has a later time, though the clock stands still."""


class HeldClock:
    """The time of one database file."""

    def __init__(self, start: datetime) -> None:
        self._now = start.astimezone(UTC).replace(tzinfo=None)
        self._lock = threading.Lock()

    @property
    def now(self) -> datetime:
        """Aware, in UTC."""
        return self._now.replace(tzinfo=UTC)

    def advance(self, seconds: float) -> None:
        """Errors: ValueError for time that runs backwards: no database's does."""
        if not seconds >= 0:
            raise ValueError(f"{seconds} seconds: time goes forwards only")
        with self._lock:
            self._now += timedelta(seconds=seconds)

    def utc_after(self, seconds: float | None) -> str | None:
        """The SQL function `utc_after` of the file's connections."""
        if seconds is None:
            return None
        with self._lock:
            self._now += _TICK
            return (self._now + timedelta(seconds=seconds)).isoformat(" ", "microseconds")


@contextmanager
def held(path: str, start: datetime | None = None) -> Iterator[HeldClock]:
    """Hold the clock of the SQLite file at `path`, from `start` (now) on. Errors: ValueError if somebody holds it."""
    place = os.path.realpath(path)
    if place in _HELD:
        raise ValueError(f"the clock of {path} is held already")
    _HELD[place] = clock = HeldClock(start or datetime.now(UTC))
    try:
        yield clock
    finally:
        del _HELD[place]


def utc_after_of(path: str | None) -> Callable[[float | None], str | None]:
    """The SQL function `utc_after` for a new connection to this file."""
    clock = _HELD.get(os.path.realpath(path)) if _HELD and path else None
    return sqlite_utc_after if clock is None else clock.utc_after
