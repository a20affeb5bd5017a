"""Workers that wait for work: no connection and no thread is held for any of them, and one query serves them all."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from engine.database import Database
from engine.errors import PenstockError
from engine.remote.waiting import Ready, ready
from register.readers import Readers

SOON_S: Final = 0.02
"""Between looks while they find something, and after a commit of this process."""
BREATH_S: Final = 0.01
"""Between looks in any case, however many commits there are."""
LONGEST_S: Final = 1.0
"""Between looks when nothing has come for a while: what other processes commit is found as late as this."""
MOST: Final = 200
"""Ready tasks of a queue that one look counts."""


@dataclass(eq=False)
class Waiting:
    """A worker that waits, and for what."""

    queues: frozenset[str]
    programs: frozenset[str]
    room: int
    """How many tasks it takes."""
    woken: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def takes(self, found: Ready) -> bool:
        return found.queue in self.queues and found.program in self.programs


class WaitingWorkers:
    """Belongs to one event loop; `nudge` may be called from any thread."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Waiting] = deque()
        self._nudged = asyncio.Event()
        self._watch: asyncio.Task[None] | None = None
        self._pause_s = SOON_S
        self._is_over = False

    def nudge(self) -> None:
        """Something was committed: look soon."""
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._nudge)

    def in_vain(self) -> None:
        """Whoever was woken found nothing to claim, as where limits hold it back: look less often."""
        self._pause_s = min(max(self._pause_s, SOON_S) * 2, LONGEST_S)

    async def wait(self, queues: Collection[str], programs: Collection[str], room: int, seconds: float) -> bool:
        """True as soon as there may be something to claim; False if there was nothing for so long."""
        if self._is_over:
            return False
        one = Waiting(frozenset(queues), frozenset(programs), room)
        self._waiting.append(one)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look_out())
        try:
            async with asyncio.timeout(seconds):
                await one.woken
                return not self._is_over
        except TimeoutError:
            return False
        finally:
            with suppress(ValueError):
                self._waiting.remove(one)

    def end(self) -> None:
        """The server stops: whoever waits is told that there is nothing."""
        self._is_over = True
        for one in self._waiting:
            if not one.woken.done():
                one.woken.set_result(None)

    async def close(self) -> None:
        """Look out no more."""
        if self._watch is not None:
            self._watch.cancel()
            with suppress(asyncio.CancelledError):
                await self._watch

    def _nudge(self) -> None:
        self._pause_s = SOON_S
        self._nudged.set()

    async def _look_out(self) -> None:
        while self._waiting:
            try:
                found = await self._look()
            except PenstockError:  # the database is away, or everybody wants it
                found = []
                self._pause_s = LONGEST_S
            if not self._wake(found):
                self._pause_s = min(self._pause_s * 2, LONGEST_S)
            await self._rest()

    async def _look(self) -> list[Ready]:
        queues = {queue for one in self._waiting for queue in one.queues}
        programs = {program for one in self._waiting for program in one.programs}
        most = min(sum(one.room for one in self._waiting), MOST)

        def work(db: Database) -> list[Ready]:
            with db.read() as conn:
                return ready(conn, queues, programs, most)

        return await self._readers.run(work)

    def _wake(self, found: Iterable[Ready]) -> int:
        """Wake those that came first, as many as there is work for."""
        woken = 0
        open_ones = list(self._waiting)
        room = {id(one): one.room for one in open_ones}
        for item in found:
            taker = next((one for one in open_ones if room[id(one)] and one.takes(item)), None)
            if taker is None:
                continue
            room[id(taker)] -= 1
            if not taker.woken.done():
                taker.woken.set_result(None)
                woken += 1
        for one in open_ones:
            if one.woken.done():
                with suppress(ValueError):
                    self._waiting.remove(one)
        return woken

    async def _rest(self) -> None:
        """Until the next look: a while, or until a nudge, but never without a breath."""
        await asyncio.sleep(BREATH_S)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._pause_s):
                await self._nudged.wait()
        self._nudged.clear()
