"""The child processes of a watcher: started when they are needed, kept warm, replaced when they are worn."""

from __future__ import annotations

import threading
import time

import structlog

from programs.catalogue import Source
from watcher.executors.limits import Limits
from watcher.executors.process import Child

log = structlog.get_logger("penstock.watcher")
CLOSE_S = 5.0


class Children:
    """At most one child for each worker at work, as a worker borrows one and gives it back."""

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._lock = threading.Lock()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._ending: list[Child] = []
        self._is_closed = False
        self.started = 0

    def borrow(self) -> Child:
        """A warm child, or a new one. Errors: OSError if none can be started."""
        with self._lock:
            self._forget()
            while self._idle:
                child = self._idle.pop()
                if child.lives():
                    self._busy.add(child)
                    return child
                self._ending.append(child)  # it died while it was idle: no task's fault
                child.retire()
            self.started += 1
        child = Child(self._source, self._limits)
        with self._lock:
            self._busy.add(child)
            if self._is_closed:
                child.kill()
        return child

    def give_back(self, child: Child, *, is_reusable: bool) -> None:
        with self._lock:
            self._busy.discard(child)
            if is_reusable and not self._is_closed:
                self._idle.append(child)
                return
            self._ending.append(child)
        child.retire()

    def kill(self) -> None:
        """End everything that programs do in children, now. Whoever waits for them learns that they were stopped."""
        with self._lock:
            busy = list(self._busy)
        for child in busy:
            child.kill()

    def close(self) -> None:
        """End all children, and wait until they are gone."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            every = [*idle, *self._busy, *self._ending]
        for child in every:
            child.kill()
        deadline = time.monotonic() + CLOSE_S
        for child in every:
            child.wait(max(0.0, deadline - time.monotonic()))
        left = sum(not child.is_over() for child in every)
        if left:
            log.error("child processes did not end", children=left)
        for child in idle:
            child.close()

    def _forget(self) -> None:
        self._ending = [child for child in self._ending if not child.is_over()]
