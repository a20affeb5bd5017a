"""A witness of the database: when even one small transaction, straight to it, took long, and nobody had done anything.

A machine that starts forty interpreters on two cores answers late without standing still. A settlement is a dozen
statements: where one takes a fifth of a second, an outcome is on its way for longer than it is on a good day.
"""

from __future__ import annotations

import threading
from contextlib import suppress

from tests.chaos.records import Fault, now
from tests.chaos.store import Store

EVERY_S = 0.25
SLOW_S = 0.2


class Pulse:
    """A thread that changes a row of its own again and again, and writes down when that was slow."""

    def __init__(self, store: Store) -> None:
        self.faults: list[Fault] = []
        self._db = store.open()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos-pulse", daemon=True)

    def start(self) -> None:
        with self._db.transaction() as conn:
            conn.exec_driver_sql("CREATE TABLE chaos_pulse (beats INTEGER NOT NULL)")
        with self._db.transaction() as conn:
            conn.exec_driver_sql("INSERT INTO chaos_pulse VALUES (0)")
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(30)
        self._db.close()

    def _run(self) -> None:
        while not self._stopped.wait(EVERY_S):
            began = now()
            with suppress(Exception):  # it is away, full or locked: others write that down
                self._beat()
            if (ended := now()) - began >= SLOW_S:
                self.faults.append(Fault("slow", "database", began, ended))

    def _beat(self) -> None:
        with self._db.transaction() as conn:
            conn.exec_driver_sql("UPDATE chaos_pulse SET beats = beats + 1")
