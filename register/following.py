"""One reader of new events for all who follow them, so that many streams cost the database one query at a time.

Events are numbered when they are inserted and seen when they are committed, so a number may be missing for a moment.
The reader goes on behind a gap once it has filled, or after some seconds: then its transaction has been undone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

from engine.database import Database
from engine.errors import PenstockError
from engine.queries import events
from register.problems import Busy
from register.readers import Readers

log = logging.getLogger("penstock.register")
EVERY_S: Final = 0.5
GAP_S: Final = 5.0
BATCH: Final = 500
MAX_BEHIND: Final = 2_000
"""Events that wait for one follower; who is slower is cut off, and comes again with the last that it has seen."""
MAX_FOLLOWERS: Final = 500


class Follower:
    """What one stream is still to be given; None is the end."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue(MAX_BEHIND + 1)

    def give(self, event: dict[str, Any]) -> bool:
        """False if it is too far behind."""
        if self.queue.qsize() >= MAX_BEHIND:
            return False
        self.queue.put_nowait(event)
        return True


class Following:
    """Belongs to one event loop; reads while anybody follows."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._followers: set[Follower] = set()
        self._task: asyncio.Task[None] | None = None
        self._last = 0
        """The number up to which followers have been given everything."""

    async def join(self) -> tuple[Follower, int]:
        """Follow what comes after the number in the answer. Errors: Busy; those of the database."""
        if len(self._followers) >= MAX_FOLLOWERS:
            raise Busy(f"{MAX_FOLLOWERS} streams are open already")
        follower = Follower()
        if self._task is None:
            self._last = await self._readers.run(_last)
            if self._task is None:  # nobody was faster
                self._task = asyncio.create_task(self._run())
        self._followers.add(follower)
        return follower, self._last

    def leave(self, follower: Follower) -> None:
        self._followers.discard(follower)
        if not self._followers and self._task is not None:
            self._task.cancel()
            self._task = None

    def end(self) -> None:
        """The service stops: every stream ends."""
        for follower in self._followers:
            with contextlib.suppress(asyncio.QueueFull):
                follower.queue.put_nowait(None)

    async def _run(self) -> None:
        gap_since: float | None = None
        while True:
            try:
                last = self._last
                found = await self._readers.run(lambda db: _after(db, last))  # noqa: B023 - awaited here
            except PenstockError as error:
                log.info("cannot read events: %s", error)
                found = []
            ready = _without_gap(found, self._last)
            if found and len(ready) < len(found):
                gap_since = gap_since or time.monotonic()
                if time.monotonic() - gap_since > GAP_S:
                    ready, gap_since = found, None
            else:
                gap_since = None
            self._hand_out(ready)
            if len(found) < BATCH:
                await asyncio.sleep(EVERY_S)

    def _hand_out(self, ready: list[dict[str, Any]]) -> None:
        for event in ready:
            self._last = event["event_id"]
            for follower in [one for one in self._followers if not one.give(event)]:
                follower.queue.put_nowait(None)
                self._followers.discard(follower)


def _without_gap(found: list[dict[str, Any]], last: int) -> list[dict[str, Any]]:
    """The events up to the first number that is missing."""
    ready: list[dict[str, Any]] = []
    for event in found:
        if event["event_id"] != last + 1:
            break
        ready.append(event)
        last += 1
    return ready


def _last(db: Database) -> int:
    with db.read() as conn:
        return events.last_event(conn)


def _after(db: Database, last: int) -> list[dict[str, Any]]:
    with db.read() as conn:
        return events.events_after(conn, last, limit=BATCH)
