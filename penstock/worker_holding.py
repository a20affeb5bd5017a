"""What a remote worker holds: the tasks that it runs, and those whose answers the service has not heard yet."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable
from typing import Any

from penstock.worker_runs import Held


class Holding:
    """May be asked from any thread. A task that is answered makes room for another at once; until its answer is
    settled, the service must be told that it is held."""

    def __init__(self, places: int) -> None:
        """`places`: tasks that may run at once."""
        self._places = places
        self._running: dict[str, Held] = {}
        self._unsettled: dict[str, Held] = {}
        self._answers: queue.SimpleQueue[tuple[Held, dict[str, Any]]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._freed = threading.Condition(self._lock)

    @property
    def running(self) -> list[Held]:
        with self._lock:
            return list(self._running.values())

    @property
    def unsettled(self) -> list[Held]:
        with self._lock:
            return list(self._unsettled.values())

    @property
    def is_idle(self) -> bool:
        with self._lock:
            return not self._running and not self._unsettled

    def claims(self) -> list[dict[str, Any]]:
        """The claims of everything that is held."""
        with self._lock:
            return [dict(one.claim) for one in (*self._running.values(), *self._unsettled.values())]

    def free_places(self, wait_s: float) -> int:
        """How many more may run. Without room, 0 after at most so many seconds, or as soon as there is some."""
        with self._freed:
            free = self._places - len(self._running)
            if free <= 0:
                self._freed.wait(wait_s)
            return max(free, 0)

    def add(self, held: Held) -> None:
        with self._lock:
            self._running[held.key] = held

    def answer(self, held: Held, answer: dict[str, Any]) -> None:
        """Whoever is first to answer for a task does; a program that comes back too late is heard by nobody."""
        if not held.answered.acquire(blocking=False):
            return
        with held.telling:
            log_part = held.log.part()
        with self._freed:
            self._unsettled[held.key] = held
            self._running.pop(held.key, None)
            self._freed.notify()
        self._answers.put((held, answer if log_part is None else {**answer, "log": log_part}))

    def answers(self, most: int, wait_s: float) -> list[tuple[Held, dict[str, Any]]]:
        """Answers that nobody has taken yet, in their order; none after so many seconds."""
        found: list[tuple[Held, dict[str, Any]]] = []
        try:
            found.append(self._answers.get(timeout=wait_s))
            while len(found) < most:
                found.append(self._answers.get_nowait())
        except queue.Empty:
            pass
        return found

    def settled(self, tasks: Iterable[Held]) -> None:
        """The service has heard the answers for these, or never will."""
        with self._lock:
            for held in tasks:
                self._unsettled.pop(held.key, None)
