"""Whose token is this? The database is asked at most once a second for each token that is in use.

What was found is remembered for a second. A revocation through this process is seen at once, as it is counted
(`engine.tokens.CHANGES`); one through another process within that second. What was not found is not remembered.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from engine import tokens
from engine.database import Database
from engine.tokens import CHANGES, Holder
from register.access.aside import Aside
from register.readers import Readers

KEEP_S: Final = 1.0
MOST: Final = 10_000


@dataclass(frozen=True)
class _Found:
    holder: Holder
    until: float
    """In the time of `time.monotonic`."""
    change: int


class Lookups:
    """Belongs to one event loop."""

    def __init__(self, readers: Readers, aside: Aside, idle_s: float) -> None:
        self._readers = readers
        self._aside = aside
        self._idle_s = idle_s
        self._found: OrderedDict[str, _Found] = OrderedDict()
        self._under_way: dict[tuple[str, int], asyncio.Task[Holder | None]] = {}

    def knows(self, hashed: str) -> bool:
        """Was it good when it was last seen, or is it being looked up?"""
        return hashed in self._found or (hashed, CHANGES.number) in self._under_way

    async def holder(self, hashed: str) -> Holder | None:
        """Who holds the token of this hash. Errors: Busy; those of the database."""
        found = self._found.get(hashed)
        if found is not None and found.change == CHANGES.number and time.monotonic() < found.until:
            return found.holder
        key = hashed, CHANGES.number
        task = self._under_way.get(key)
        if task is None:  # whoever comes meanwhile shares the answer, if no change came between
            task = asyncio.get_running_loop().create_task(self._look_up(*key))
            self._under_way[key] = task
            task.add_done_callback(lambda done: self._ended(key, done))
        return await asyncio.shield(task)

    async def _look_up(self, hashed: str, change: int) -> Holder | None:
        began = time.monotonic()

        def work(db: Database) -> Holder | None:
            with db.read() as conn:
                return tokens.find(conn, hashed, self._idle_s)

        holder = await self._readers.run(work)
        self._found.pop(hashed, None)
        if holder is not None:
            left_s = KEEP_S if holder.left_s is None else min(KEEP_S, holder.left_s)
            self._found[hashed] = _Found(holder, began + left_s, change)
            if len(self._found) > MOST:
                self._found.popitem(last=False)
            if not holder.is_marked:
                self._aside.write(lambda conn: tokens.mark_used(conn, holder.token_id))
        return holder

    def _ended(self, key: tuple[str, int], task: asyncio.Task[Holder | None]) -> None:
        del self._under_way[key]
        if not task.cancelled():
            task.exception()  # whoever waited was told; if nobody waits any longer, nobody need be
