"""Beats from a thread of the watcher: quick to start, and silent while a program keeps the interpreter to itself."""

from __future__ import annotations

import threading
from collections.abc import Callable

from watcher.heartbeat.beat import Beat, Beater, keep_beating


class ThreadBeats:
    def __init__(self, beater: Beater, every_s: float, report: Callable[[Beat], None]) -> None:
        self._beater = beater
        self._every_s = every_s
        self._report = report
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="penstock-heartbeat", daemon=True)
        self.state = "running"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def tell(self, state: str) -> None:
        """What the row is to say of the watcher from the next beat on."""
        self.state = state

    def alive(self) -> None:
        """A sign of life of the watcher's loop: of no use here, where a stalled interpreter stalls the beats too."""

    def _run(self) -> None:
        if not self._stopped.wait(self._every_s):
            keep_beating(lambda: self._beater.beat(self.state), self._every_s, self._stopped.wait, self._report)
