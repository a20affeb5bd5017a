"""The one event loop of a watcher, on which `async` programs wait by the thousand."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

import structlog

from watcher.slots import StopSignal

log = structlog.get_logger("penstock.watcher")


class EventLoop:
    """A thread with an event loop, started with the first task."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_closed = False
        self._tasks: set[asyncio.Task[None]] = set()
        self.running = 0
        """How many tasks are on the loop."""

    def run(self, make: Callable[[], Coroutine[Any, Any, None]], stop: StopSignal, context: Context) -> None:
        """Run the coroutine that `make` gives, in this context; `stop` cancels it. Returns at once."""
        loop = self._started()
        with self._lock:
            self.running += 1
        loop.call_soon_threadsafe(self._begin, make, stop, context)

    def close(self) -> None:
        """Stop the loop. A coroutine that does not yield is left to the end of the process."""
        with self._lock:
            self._is_closed = True
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._loop.stop)

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                thread = threading.Thread(target=self._serve, args=(self._loop,), name="penstock-async", daemon=True)
                thread.start()
            return self._loop

    def _begin(self, make: Callable[[], Coroutine[Any, Any, None]], stop: StopSignal, context: Context) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(make(), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        stop.tell(lambda: self._cancel(loop, task))

    def _cancel(self, loop: asyncio.AbstractEventLoop, task: asyncio.Task[None]) -> None:
        if not task.done() and not self._is_closed:
            loop.call_soon_threadsafe(task.cancel)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        with self._lock:
            self.running -= 1

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        while not self._is_closed:
            try:
                loop.run_forever()
            except BaseException as error:  # SystemExit in a task that a program made: its own loss, not the others'
                log.warning("a coroutine of a program ended the event loop, it goes on", error=repr(error))
        loop.close()
