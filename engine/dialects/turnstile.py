"""Who may write next, among the threads of this process: in the order in which they came.

SQLite lets writers ask again and again for the one lock of the file, after pauses of up to 0.1 s: the lock lies unused
meanwhile, and whoever has bad luck asks for seconds. Other processes still have to be waited for in that way.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakValueDictionary


class Turnstile:
    """One at a time; whoever leaves hands over to whoever has waited longest."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    @contextmanager
    def turn(self, patience_s: float) -> Iterator[None]:
        """Wait for a turn, at most `patience_s` seconds; after that go on without one, as SQLite's own lock decides."""
        mine = self._enter(patience_s)
        try:
            yield
        finally:
            if mine:
                self._leave()

    def _enter(self, patience_s: float) -> bool:
        with self._guard:
            if not self._taken:
                self._taken = True
                return True
            call = threading.Lock()
            call.acquire()
            self._waiting.append(call)
        if call.acquire(timeout=patience_s):
            return True
        with self._guard:
            if call not in self._waiting:  # the turn came at the last moment
                return True
            self._waiting.remove(call)
            return False

    def _leave(self) -> None:
        with self._guard:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False


_turnstiles: WeakValueDictionary[str, Turnstile] = WeakValueDictionary()
_guard = threading.Lock()


def turnstile_of(path: str) -> Turnstile:
    """The one turnstile of this file in this process, however often the file is opened."""
    with _guard:
        return _turnstiles.setdefault(os.path.realpath(path), Turnstile())
