"""The child processes of a watcher: started when they are needed, kept warm, replaced when they are worn."""

from __future__ import annotations

import threading
import time
from typing import Final

import structlog

from programs.catalogue import Source
from programs.contract import Stopped
from watcher.executors.limits import Limits
from watcher.executors.process import Child
from watcher.executors.tail import Tail
from watcher.slots import StopSignal

log = structlog.get_logger("penstock.watcher")
CLOSE_S: Final = 5.0


class NoChildError(Exception):
    """A child process could not be started; the message says why. `printed`: what it said before it ended."""

    def __init__(self, words: str, printed: Tail | None = None) -> None:
        super().__init__(f"cannot start a child process: {words}")
        self.printed = printed


class Children:
    """At most one child for each worker at work, as a worker borrows one and gives it back.

    To start one costs a quarter of a second of a core. Twenty workers that begin at once would take every core for
    seconds from the loop that settles, so no more start at a time than there are cores beside the loop's own; a worker
    that waits for its turn takes a child that comes back meanwhile.
    """

    def __init__(self, source: Source, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._lock = threading.Condition()
        self._idle: list[Child] = []
        self._busy: set[Child] = set()
        self._ending: list[Child] = []
        self._is_closed = False
        self._starting = 0
        self.started = 0

    def borrow(self, stop: StopSignal) -> Child:
        """A warm child, or a new one. Errors: NoChildError; Stopped if the task is told to stop before it has one."""
        stop.tell(self._look_again)
        with self._lock:
            self._forget()
            while (child := self._warm()) is None and self._starting >= self._limits.max_starting:
                if stop.is_set() or self._is_closed:
                    raise Stopped
                self._lock.wait()
            if child is not None:
                return child
            self._starting += 1
            self.started += 1
        try:
            return self._new(stop)
        finally:
            with self._lock:
                self._starting -= 1
                self._lock.notify_all()

    def _warm(self) -> Child | None:
        while self._idle:
            child = self._idle.pop()
            if child.lives():
                self._busy.add(child)
                return child
            self._ending.append(child)  # it died while it was idle: no task's fault
            child.retire()
        return None

    def _new(self, stop: StopSignal) -> Child:
        try:
            child = Child(self._source, self._limits)
        except OSError as error:
            raise NoChildError(str(error)) from None
        with self._lock:
            self._busy.add(child)
            if self._is_closed:
                child.kill()
        is_ready = False
        printed = Tail()
        try:
            ending = child.greet(stop, printed)
            is_ready = ending is None
        finally:
            if not is_ready:
                child.end()
                self.give_back(child, is_reusable=False)
        if ending is None:
            return child
        if ending.how == "stopped":
            raise Stopped
        raise NoChildError(ending.words, printed)

    def _look_again(self) -> None:
        with self._lock:
            self._lock.notify_all()

    def give_back(self, child: Child, *, is_reusable: bool) -> None:
        with self._lock:
            self._busy.discard(child)
            if is_reusable and not self._is_closed:
                self._idle.append(child)
                self._lock.notify()
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
            self._lock.notify_all()
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
