"""Heartbeats: a thread with nothing else in it and a connection of its own keeps this watcher's lease."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import Final

import structlog

from engine import leases
from engine.database import Database
from engine.errors import OutcomeUnknown
from watcher.silence import is_silence

log = structlog.get_logger("penstock.watcher")


MAX_BEAT_S: Final = 3.0
"""How long a beat may take that is not lost."""


class Heartbeat:
    """Beats the watcher's row. What it knows of the lease is measured from the *start* of the last beat that was
    answered, so it never believes in a lease that the database has already ended."""

    def __init__(
        self, db: Database, watcher_id: str, lease_s: float, every_s: float, enlist: Callable[[], None]
    ) -> None:
        self._db = db
        self._watcher_id = watcher_id
        self._lease_s = lease_s
        self._every_s = every_s
        self._enlist = enlist
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="penstock-heartbeat", daemon=True)
        self._last_beat: float | None = None
        self._in_contact_since: float | None = None
        self.state = "running"
        self._is_silent = False
        self._answered_at = 0.0

    def start(self) -> None:
        """Enlist, and beat from then on. Errors: those of the first transaction."""
        begun = time.monotonic()
        try:
            self._enlist()
        except OutcomeUnknown:
            self._beat()  # enlists again if the row is not there
        self._last_beat = self._in_contact_since = self._answered_at = begun
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    @property
    def holds(self) -> bool:
        """Is the lease certainly still valid?"""
        return self._last_beat is not None and time.monotonic() < self._last_beat + self._lease_s

    @property
    def holds_until(self) -> float | None:
        """The local monotonic time at which the lease ends; None before the first beat."""
        return None if self._last_beat is None else self._last_beat + self._lease_s

    @property
    def silent(self) -> bool:
        """Is there nothing to show that nobody else can write? True from the first beat that failed without an answer
        (a time-out, a cut), and when no beat was heard of for longer than two may take."""
        return self._is_silent or time.monotonic() > self._answered_at + 2 * self._every_s + MAX_BEAT_S

    @property
    def in_contact_s(self) -> float:
        """Seconds since the contact last began that has lasted until now; 0 without contact."""
        if self._in_contact_since is None or not self.holds:
            return 0.0
        return time.monotonic() - self._in_contact_since

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s * random.uniform(0.9, 1.1)):
            begun = time.monotonic()
            lapsed = not self.holds
            try:
                self._beat()
            except Exception as error:  # whatever it is: without this thread the watcher would fall silent
                # the others may have missed beats as well, and need a lease of time to make up for it
                self._in_contact_since = None
                self._is_silent = is_silence(error)
                if not self._is_silent:
                    self._answered_at = begun
                log.warning("heartbeat failed", error=str(error), lease_holds=self.holds)
                continue
            if lapsed:
                log.warning("lease was interrupted", watcher=self._watcher_id)
            if lapsed or self._in_contact_since is None:
                self._in_contact_since = begun
            self._last_beat = self._answered_at = begun
            self._is_silent = False

    def _beat(self) -> None:
        kept = self._db.transact(lambda conn: leases.beat(conn, self._watcher_id, self._lease_s, state=self.state))
        if not kept:  # the row was deleted: enlist anew, so that what we still run has an owner again
            self._enlist()
