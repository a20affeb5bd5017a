"""A task that a watcher holds, and the wish that it should stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from engine.claimed import ClaimedTask
from engine.executors import THREAD
from watcher.capture import Transcript


class StopSignal(threading.Event):
    """An event that tells others when it is set: a coroutine is cancelled, a child process is ended.

    `grace_s`: how long a child process has to end by itself, None for as long as always.
    """

    def __init__(self) -> None:
        super().__init__()
        self._told: list[Callable[[], None]] = []
        self.grace_s: float | None = None

    def tell(self, callback: Callable[[], None]) -> None:
        """Call this once the signal is set, or now if it is. It may be called twice, and from any thread."""
        self._told.append(callback)
        if self.is_set():
            callback()

    def set(self) -> None:
        super().set()
        for callback in list(self._told):
            callback()


@dataclass
class Slot:
    """A task that this watcher holds: waiting for a worker, running, or answered and not settled yet."""

    task: ClaimedTask
    begun_at: float | None = None
    busy_s: float = 0.0
    """How long it kept a worker busy, once it is answered."""
    ticket: threading.Lock = field(default_factory=threading.Lock)
    """Taken once and kept: by the worker that begins the task, or by whoever hands it back instead."""
    handed_at: float = field(default_factory=time.monotonic)
    answered: threading.Lock = field(default_factory=threading.Lock)
    """Taken once and kept: by the worker that has an answer, or by whoever no longer waits for it."""
    given_up: bool = False
    """Nobody waits for its worker any more, and another worker has taken that one's place."""
    came_back: bool = False
    """Its worker has ended the work in vain, and goes on to the next task."""
    executor: str = THREAD
    """Where it runs, once it has begun."""
    log: Transcript | None = None
    """What it logs, once it has begun."""

    @property
    def stop(self) -> StopSignal:
        """The wish that it should stop. Made when it is asked for, which most often is by the worker that begins: the
        loop, which makes the slot, has no time to spare. Whoever is first makes it for all."""
        found: StopSignal | None = self.__dict__.get("_stop")
        return self.__dict__.setdefault("_stop", StopSignal()) if found is None else found
