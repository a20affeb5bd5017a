"""Hints from the database that rows may be ready: PostgreSQL's NOTIFY, a changed write-ahead log on SQLite."""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from engine.database import Database
from engine.outages import AWAY, OUTAGES

log = structlog.get_logger("penstock.watcher")


class Hints:
    """A thread that waits for hints and passes them on. Losing every one of them costs time only: polling goes on."""

    def __init__(self, db: Database, on_hint: Callable[[bool], None]) -> None:
        self._db = db
        self._on_hint = on_hint
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="penstock-hints", daemon=True)

    def start(self) -> None:
        if self._db.can.hints:
            self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=3)

    def _run(self) -> None:
        pause = 0.2
        while not self._stopped.is_set():
            try:
                for is_ready in self._db.dialect.listen(self._db.url, self._stopped.is_set):
                    pause = 0.2
                    self._on_hint(is_ready)
            except Exception as error:  # any failure of a hint is the same: listen again, later
                if (left_out := OUTAGES.may_say(AWAY)) is not None:
                    words = str(error).splitlines()[0] if str(error) else repr(error)
                    log.info("hints interrupted", error=words, left_out=left_out)
            self._stopped.wait(pause)
            pause = min(pause * 2, 5.0)
