"""Exclusive tasks end before the lease does, if the database has fallen silent: perhaps this watcher alone is cut off,
and another may take them as soon as the lease is over.

A thread of its own looks at the time, because the loop of the watcher may be waiting for the same silent database.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from typing import Protocol

import structlog

from watcher.slots import Slot

log = structlog.get_logger("penstock.watcher")


class Lease(Protocol):
    """What a heartbeat knows of its lease. `holds_until`: the local monotonic time at which it ends, None before the
    first beat. `silent`: the last beat failed, and the database did not answer."""

    @property
    def holds_until(self) -> float | None: ...
    @property
    def silent(self) -> bool: ...


class Guard:
    """Stops exclusive tasks `margin_s` before the end of a lease that cannot be renewed."""

    def __init__(self, lease: Lease, margin_s: float, slots: Callable[[], Collection[Slot]]) -> None:
        self._lease = lease
        self._margin_s = margin_s
        self._slots = slots
        self._stopped = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def may_begin(self) -> bool:
        """May an exclusive task begin? Asked by its worker; from the first time on, somebody looks at the time."""
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="penstock-guard", daemon=True)
                self._thread.start()
        return not self._is_late()

    def stop(self) -> None:
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(min(0.2, self._margin_s / 4)):
            if self._is_late():
                self._stop_all()

    def _is_late(self) -> bool:
        ends = self._lease.holds_until
        return ends is None or (self._lease.silent and time.monotonic() >= ends - self._margin_s)

    def _stop_all(self) -> None:
        for slot in list(self._slots()):
            if slot.task.is_exclusive and slot.begun_at is not None and not slot.stop.is_set():
                key = slot.task.key
                log.warning("exclusive task stopped: the database is silent", flow=key.flow_id, seq=key.seq)
                slot.stop.grace_s = self._margin_s / 2
                slot.stop.set()
