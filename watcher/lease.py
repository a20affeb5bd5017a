"""What the watcher knows of its own lease, and who beats for it."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from dataclasses import asdict

import structlog

from engine import leases
from engine.database import Database
from engine.errors import DatabaseUnavailable, OutcomeUnknown
from engine.outages import AWAY, BACK, OUTAGES
from watcher.heartbeat.beat import Beat, Beater, Member
from watcher.heartbeat.child import ProcessBeats
from watcher.heartbeat.process import Order
from watcher.heartbeat.thread import ThreadBeats
from watcher.settings import Settings

log = structlog.get_logger("penstock.watcher")


class Heartbeat:
    """Keeps the watcher's row. What it knows of the lease is measured from the *start* of the last beat that was
    answered, so it never believes in a lease that the database has already ended."""

    def __init__(self, db: Database, watcher_id: str, settings: Settings, programs: Collection[str] = ()) -> None:
        self._settings = settings
        self._watcher_id = watcher_id
        self._lease_s = settings.lease_s
        self._db = db.twin("heartbeat", 1, timeouts=settings.beat_timeouts)
        member = Member(
            watcher_id,
            os.getpid(),
            settings.lease_s,
            settings.label,
            settings.workers,
            tuple(settings.queues),
            tuple(programs),
        )
        self._beater = Beater(self._db, member)
        self._beats = self._beats_for(db, member)
        self._last_beat: float | None = None
        self._in_contact_since: float | None = None
        self._kept_at = 0.0
        """When the last beat that was kept was acknowledged."""
        self._answered_at = 0.0
        self._is_silent = False
        self._lapsed_at = 0.0
        """When it was last seen that the lease had ended meanwhile: whatever was held before may have been taken."""

    def _beats_for(self, db: Database, member: Member) -> ProcessBeats | ThreadBeats:
        options = self._settings
        if options.heartbeat_in == "thread":
            return ThreadBeats(self._beater, options.heartbeat_s, self.note)
        order = Order(db.address, asdict(member), options.heartbeat_s, options.stall_s, asdict(options.beat_timeouts))
        return ProcessBeats(order, self._beater, self.note)

    def start(self) -> None:
        """Enlist with a first lease, and have it extended from then on. Errors: those of the first transaction."""
        begun = time.monotonic()
        try:
            self._beater.enlist()
        except OutcomeUnknown as error:
            made = self._beater.beat("running")  # enlists again if the row is not there
            if made.kind != "kept":  # nobody may hold a task without a row: it would be taken back at once
                raise DatabaseUnavailable(made.error, is_down=made.kind == "down") from error
        self._last_beat = self._answered_at = begun
        self._in_contact_since = self._kept_at = time.monotonic()
        if self._settings.heartbeat_in == "process":
            self._beater.rest()  # the process has the one connection that is kept for this
        self._beats.start()

    def stop(self) -> None:
        """End the beats, then the lease: whatever the watcher still holds may be taken. Errors: of the transaction."""
        self._beats.stop()
        try:
            self._db.transact(lambda conn: leases.leave(conn, self._watcher_id))
        finally:
            self._db.close()

    def drain(self) -> None:
        """Let the row say that the watcher takes no more."""
        self._beats.tell("draining")

    def alive(self) -> None:
        """A sign of life of the watcher's loop: without any for `stall_s`, the beats end, and so does this process."""
        self._beats.alive()

    @property
    def pid(self) -> int | None:
        """The heartbeat's process; None while there is none."""
        return self._beats.pid if isinstance(self._beats, ProcessBeats) else None

    @property
    def holds_until(self) -> float | None:
        """Until when the lease is certainly valid, by CLOCK_MONOTONIC; None before it began."""
        return None if self._last_beat is None else self._last_beat + self._lease_s

    @property
    def holds(self) -> bool:
        """Is the lease certainly still valid?"""
        return self._holds_at(time.monotonic())

    def may_begin(self, handed_at: float) -> bool:
        """May a task begin that was handed to a worker then? Not if the lease has ended since, even if a new one has
        begun: somebody else may run it by now."""
        return self.holds and handed_at > self._lapsed_at

    def _holds_at(self, instant: float) -> bool:
        return self._last_beat is not None and instant < self._last_beat + self._lease_s

    @property
    def silent(self) -> bool:
        """Is there nothing to show that nobody else can write? True from the first beat that failed without the server
        saying why (a time-out, a cut), and when no beat was heard of for longer than one may take."""
        late = self._answered_at + 2 * self._settings.heartbeat_s + self._settings.beat_timeouts.statement_s
        return self._is_silent or time.monotonic() > late

    @property
    def in_contact_s(self) -> float:
        """Seconds since the contact last began that has lasted until now; 0 without contact.

        Nobody else could write either while a beat of ours was held up, and the others need a lease of time to make up
        for theirs: more than half a lease without an acknowledged beat ends the contact, and it begins anew with the
        acknowledgement, not with the beginning, of the next one.
        """
        now = time.monotonic()
        if self._in_contact_since is None or not self.holds or self._is_gap(now):
            return 0.0
        return now - self._in_contact_since

    def is_back_since(self, moment: float) -> bool:
        """Has the database been out of contact after that moment, and is it in contact again?"""
        began = self._in_contact_since
        return began is not None and began > moment

    def _is_gap(self, instant: float) -> bool:
        return instant - self._kept_at > self._lease_s / 2

    def note(self, beat: Beat) -> None:
        """Take in what became of a beat; they come in the order in which they were begun."""
        self._is_silent = beat.kind == "silent"
        if beat.kind != "silent":
            self._answered_at = beat.begun
        if beat.kind != "kept":
            # the others may have missed beats as well, and need a lease of time to make up for it
            self._in_contact_since = None
            if (left_out := OUTAGES.may_say(AWAY)) is not None:
                log.warning("heartbeat failed", error=beat.error, lease_holds=self.holds, left_out=left_out)
            return
        lapsed = not self._holds_at(beat.ended)
        if lapsed:
            self._lapsed_at = time.monotonic()
        if (lapsed or self._in_contact_since is None) and OUTAGES.may_say(BACK) is not None:
            log.warning("in contact with the database again", watcher=self._watcher_id, lease_lapsed=lapsed)
        if self._in_contact_since is None or self._is_gap(beat.ended):
            self._in_contact_since = beat.ended
        self._last_beat, self._kept_at = beat.begun, beat.ended
