"""One thread commits the registrations of many requests; each request is answered after its own commit, not before."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from engine.database import Database
from engine.definition.reading import Check
from engine.failpoints import hit
from engine.flows import Registered, Registration
from register.commits import Outcome, commit_all
from register.problems import Busy

log = logging.getLogger("penstock.register")
ROOM_EVERY_S = 0.005


class Waiting(NamedTuple):
    """A request that waits for its registration."""

    wish: Registration
    outcome: asyncio.Future[Outcome]


class GroupCommit:
    """A bounded queue and the thread that empties it.

    The group grows by itself: whatever arrives while one commit is under way shares the next one. An idle service
    therefore commits a single registration at once. `submit` belongs to one event loop; `start` and `stop` to anyone.
    """

    def __init__(
        self,
        db: Database,
        *,
        group_size: int,
        max_queued: int,
        on_registered: Callable[[], None] | None = None,
        check: Check | None = None,
    ) -> None:
        self._db = db
        self._group_size = group_size
        self._max_queued = max_queued
        self._on_registered = on_registered
        self._check = check
        self._queue: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        self._stopping = False
        # a daemon, so that a database which never answers cannot keep the process alive
        self._thread = threading.Thread(target=self._run, name="penstock-register-commit", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Take no more, commit what is queued, end the thread; give up waiting for it after `timeout_s`."""
        self._stopping = True
        self._queue.put(None)
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.warning("stopped while the database had not answered: queued registrations may be lost")

    @property
    def waiting(self) -> int:
        """Registrations whose commit has not begun."""
        return self._queue.qsize()

    async def room(self) -> None:
        """Wait until a request of many registrations may submit one more: half of the queue is left to the others."""
        while self.waiting >= self._max_queued / 2 and not self._stopping:
            await asyncio.sleep(ROOM_EVERY_S)

    def submit(self, wish: Registration) -> asyncio.Future[Outcome]:
        """Queue one registration. The future may be dropped: what is in a transaction stays in it. Errors: Busy."""
        if self._stopping:
            raise Busy("the service is stopping")
        if self.waiting >= self._max_queued:  # only the event loop puts, so nobody comes between
            raise Busy(f"{self._max_queued} registrations are waiting already")
        outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._queue.put(Waiting(wish, outcome))
        return outcome

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            group, ended = self._drain(first)
            if group:
                self._serve(group)
            if ended:
                return

    def _drain(self, first: Waiting) -> tuple[list[Waiting], bool]:
        """The group of the next commit, and whether the queue was closed behind it."""
        group: list[Waiting] = []
        item: Waiting | None = first
        while item is not None:
            if not item.outcome.cancelled():  # its request was answered long ago: do not surprise the caller
                group.append(item)
            if len(group) >= self._group_size:
                return group, False
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return group, False
        return group, True

    def _serve(self, group: Sequence[Waiting]) -> None:
        began = time.monotonic()
        outcomes = self._commit([waiting.wish for waiting in group])
        made = sum(isinstance(outcome, Registered) and not outcome.replayed for outcome in outcomes.values())
        self._hand_out(group, outcomes)
        took_ms = round((time.monotonic() - began) * 1000, 1)
        log.debug("registrations committed", extra={"registrations": len(group), "flows": made, "took_ms": took_ms})
        if made and self._on_registered is not None:
            try:
                self._on_registered()
            except Exception:
                log.exception("on_registered failed")

    def _commit(self, wishes: Sequence[Registration]) -> Mapping[str, Outcome]:
        try:
            return commit_all(self._db, wishes, check=self._check)
        except Exception as error:  # this thread serves all requests to come: it must outlive any of them
            return {wish.flow_id: error for wish in wishes}

    def _hand_out(self, group: Sequence[Waiting], outcomes: Mapping[str, Outcome]) -> None:
        hit("register.before_answer")
        loop = group[0].outcome.get_loop()
        try:
            loop.call_soon_threadsafe(_resolve, group, outcomes)
        except RuntimeError:  # the event loop is closed, and with it everybody who waited
            log.warning("nobody was left to answer", extra={"registrations": len(group)})


def _resolve(group: Sequence[Waiting], outcomes: Mapping[str, Outcome]) -> None:
    for wish, outcome in group:
        if not outcome.done():
            outcome.set_result(outcomes[wish.flow_id])
