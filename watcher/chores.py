"""What a watcher does now and then beside its looks: each at its own times, none in the way of work."""

from __future__ import annotations

import random
import threading
import time

import structlog

from engine import leases, summaries, task_logs
from engine.database import Database
from engine.definition.reading import Check
from engine.limits import ageing
from engine.limits import rows as limit_rows
from engine.retention import Retention
from engine.waiting import messages
from watcher.settings import Settings

log = structlog.get_logger("penstock.watcher")
FORGET_EVERY_S = 3_600.0
SWEEP_EVERY_S = 20.0
"""With the age of what is swept up, nothing is left behind for longer than a minute."""
MATCH_SHARE = 20
"""A search for messages that missed their wait pauses for so many times what it took, if it found none."""
EXPIRE_EVERY_S = 60.0
PRUNE_EVERY_S = 20.0
"""Between questions whether it is our turn to delete old flows."""
PRUNE_SOON_S = 0.5
SUMMARISE_EVERY_S = 30.0


class Chores:
    """Each method is asked at every look, and does something when its time has come."""

    def __init__(self, db: Database, settings: Settings, stopped: threading.Event, check: Check | None = None) -> None:
        self._db = db
        self._check = check
        self._settings = settings
        self._stopped = stopped
        self._retention = Retention(db, settings.retention_s)
        self._match_at = self._expire_at = self._age_at = self._forget_at = self._prune_at = 0.0
        self._summarise_at = time.monotonic() + SUMMARISE_EVERY_S * random.uniform(0.0, 1.0)
        self._sweep_at = time.monotonic() + SWEEP_EVERY_S * random.uniform(0.0, 1.0)

    def carry_out(self, watcher_id: str) -> int:
        """Do what was asked for by inserting rows."""
        from engine.commands.asked_by_sql import carry_out_asked  # many watchers never see a command

        return carry_out_asked(self._db, watcher_id, self._check, self._settings.sql_role)

    def match(self) -> int:
        """Whoever sends or awaits a message looks for the other side, so few miss each other: looking for these must
        not keep a database busy in which many tasks await messages and many messages are unread."""
        began = time.monotonic()
        if began < self._match_at:
            return 0
        matched = messages.match(self._db)
        if not matched:
            ended = time.monotonic()
            self._match_at = ended + MATCH_SHARE * (ended - began)
        return matched

    def expire_messages(self) -> int:
        """Delete the messages that nobody came for."""
        if (now := time.monotonic()) >= self._expire_at:
            self._expire_at = now + EXPIRE_EVERY_S * random.uniform(0.5, 1.5)
            while messages.expire(self._db) == messages.BATCH and not self._stopped.is_set():
                pass
        return 0

    def age(self) -> int:
        """Often enough that a step comes at most a tenth late; what is raised is ready already, and wakes nobody."""
        now, ageing_s = time.monotonic(), self._settings.ageing_s
        if ageing_s and now >= self._age_at:
            self._age_at = now + ageing_s / 10 * random.uniform(0.5, 1.0)
            ageing.raise_waiting(self._db, self._settings.queues, ageing_s)
        return 0

    def forget(self) -> int:
        """Delete the rows of watchers that died long ago, and of starts that no rate counts any more."""
        if (now := time.monotonic()) >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_S
            self._db.transact(leases.forget_dead)
            self._db.transact(limit_rows.forget_past)
            self._db.transact(summaries.forget_old)
        return 0

    def sweep_logs(self) -> int:
        """Take away parts of logs whose tries are over and that nobody has taken."""
        if (now := time.monotonic()) >= self._sweep_at:
            again = task_logs.sweep(self._db) == task_logs.SWEPT
            self._sweep_at = now + (0.0 if again else SWEEP_EVERY_S * random.uniform(0.5, 1.5))
        return 0

    def summarise(self) -> int:
        """Write the summaries of the minutes that are over."""
        if (now := time.monotonic()) >= self._summarise_at:
            again = summaries.summarise(self._db) == summaries.CATCH_UP
            self._summarise_at = now + (0.0 if again else SUMMARISE_EVERY_S * random.uniform(0.5, 1.5))
        return 0

    def prune(self) -> None:
        """Delete a batch of flows that are kept long enough. Wakes nobody, and makes nobody wait."""
        if (now := time.monotonic()) >= self._prune_at:
            self._prune_at = now + PRUNE_EVERY_S * random.uniform(0.5, 1.5)
            if (pruned := self._retention.slice()) and pruned.flows:
                self._prune_at = now + PRUNE_SOON_S * random.uniform(1.0, 2.0)
                log.info("deleted old flows", flows=pruned.flows, tasks=pruned.tasks)
