"""Writes that no answer waits for: when a token was last used, who was refused."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy import Connection

from engine.errors import PenstockError
from register.readers import Readers

MOST: Final = 100
"""Of such writes at once; what comes beyond is left out."""


class Aside:
    """Belongs to one event loop."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._under_way: set[asyncio.Task[None]] = set()

    def write(self, work: Callable[[Connection], Any]) -> None:
        if len(self._under_way) < MOST:
            task = asyncio.get_running_loop().create_task(self._write(work))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    async def _write(self, work: Callable[[Connection], Any]) -> None:
        with contextlib.suppress(PenstockError):  # a database that is away says so to those who ask it for more
            await self._readers.run(lambda db: db.transact(work))

    async def close(self, seconds: float) -> None:
        if self._under_way:
            await asyncio.wait(self._under_way, timeout=seconds)
