"""Database calls of requests, off the event loop: a few at a time, and no endless queue before them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import anyio
import anyio.to_thread

from engine.database import Database
from register.problems import Busy

T = TypeVar("T")
AT_ONCE = 10
"""Fewer than the connections of a pool, so that reading never keeps a commit waiting."""


class Readers:
    """Runs calls in threads. Belongs to one event loop."""

    def __init__(self, db: Database, max_waiting: int) -> None:
        self._db = db
        self._most = AT_ONCE + max_waiting
        self._inside = 0
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def run(self, work: Callable[[Database], T]) -> T:
        """Errors: Busy when too many wait already, and what `work` raises."""
        if self._inside >= self._most:
            raise Busy("too many requests are waiting for the database")
        self._inside += 1  # counted here: the limiter counts later, after others have passed the line above
        try:
            return await anyio.to_thread.run_sync(work, self._db, limiter=self._limiter)
        finally:
            self._inside -= 1
