"""The thread that looks for work that nobody announced: due times, rows made by hand, ready rows of other processes.

One query a look. It looks often after something happened and ever more rarely while nothing does, up to the watcher's
interval, so that an idle watcher costs a query a second and a busy one never waits for a poll.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

import structlog

from engine import leases, supervise
from engine.adopt import Adopter
from engine.database import Database
from engine.ending import closing, deadlines
from engine.errors import DatabaseUnavailable, OutcomeUnknown, PenstockError
from engine.limits import ageing, flow_limits
from engine.limits import rows as limit_rows
from engine.lookout import Seen, look
from engine.waiting import messages, overdue, waits
from watcher.lease import Heartbeat
from watcher.settings import Settings

log = structlog.get_logger("penstock.watcher")
SOON_S = 0.02
FORGET_EVERY_S = 3_600.0
MATCH_SHARE = 20
"""A search for messages that missed their wait pauses for so many times what it took, if it found none."""
EXPIRE_EVERY_S = 60.0
COMPLAIN_EVERY_S = 10.0
"""Between two lines about one step of the sweep that fails."""


class Lookout:
    """Looks, sweeps, and calls `wake` when rows are ready to be claimed."""

    def __init__(self, db: Database, settings: Settings, heartbeat: Heartbeat, wake: Callable[[], None]) -> None:
        self._db = db
        self._settings = settings
        self._heartbeat = heartbeat
        self._wake = wake
        self._adopter = Adopter(db, settings.policy)
        self._silent_until: dict[str, float] = {}
        self._stopped = threading.Event()
        self._nudged = threading.Event()
        self._thread = threading.Thread(target=self._run, name="penstock-lookout", daemon=True)
        self._reap_at = self._forget_at = self._match_at = self._expire_at = self._age_at = 0.0
        self.pause_s = SOON_S
        self.limited = True
        """Has ms_limit rows? So it is taken to have until the first look."""
        self.held_back = False
        """The last claim took nothing, as limits hold back what is ready, and no time is known when they will not."""
        self.idle_looks = 0
        """How many looks in a row have found nothing to do."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._nudged.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def nudge(self) -> None:
        """Something happened: look soon."""
        self.pause_s = SOON_S
        self.idle_looks = 0
        self._nudged.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                seen = self._look()
                self._pause(seen)
            except Exception as error:  # whatever it is: without this thread nothing new would be found
                log.warning("cannot look for work", error=str(error), exc_info=not isinstance(error, PenstockError))
                self._stopped.wait(min(5.0, self._settings.interval_s))

    def _look(self) -> Seen:
        with self._db.read() as conn:
            seen = look(conn, self._settings.queues)
        done = self._sweep(seen)
        if seen.ready or done:
            self._wake()
        self.limited = seen.limited
        anything = seen.anything_but_ready if self.held_back else seen.anything
        self.idle_looks = 0 if anything or done else self.idle_looks + 1
        return seen

    def _sweep(self, seen: Seen) -> int:
        db, policy = self._db, self._settings.policy
        is_due = seen.next_due_s is not None and seen.next_due_s <= 0
        steps: tuple[tuple[str, bool, Callable[[], int]], ...] = (
            ("due times", is_due, lambda: supervise.fire_due(db, policy)),
            ("waits", seen.wait_is_due, lambda: waits.fire_waits(db, policy)),
            ("pokes", seen.wait_is_due, lambda: overdue.fire_pokes(db, policy)),
            ("messages", seen.mail, self._match),
            ("expired messages", True, self._expire_messages),
            ("settled by hand", seen.untold, lambda: supervise.pass_on(db, policy)),
            ("paused by hand", seen.unexplained, lambda: supervise.note_paused(db, policy)),
            ("made by hand", seen.made_by_hand, self._adopter.adopt),
            ("deadlines", seen.overdue, lambda: deadlines.end_overdue(db)),
            ("ended flows", seen.ended, lambda: closing.close_ended(db, policy)),
            ("turns", seen.turns, lambda: flow_limits.give_turns(db)),
            ("ageing", seen.ready, self._age),
            ("silent watchers", True, self._reap),
        )
        return sum(self._step(name, step) for name, is_asked_for, step in steps if is_asked_for)

    def _step(self, name: str, step: Callable[[], int]) -> int:
        """Rows that one step of the sweep cannot deal with must not keep the others from theirs."""
        try:
            return step()
        except (DatabaseUnavailable, OutcomeUnknown):
            raise
        except Exception as error:
            if (now := time.monotonic()) >= self._silent_until.get(name, 0.0):
                self._silent_until[name] = now + COMPLAIN_EVERY_S
                log.error("cannot sweep", step=name, error=str(error), exc_info=not isinstance(error, PenstockError))
            return 0

    def _match(self) -> int:
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

    def _expire_messages(self) -> int:
        """Delete the messages that nobody came for."""
        if (now := time.monotonic()) >= self._expire_at:
            self._expire_at = now + EXPIRE_EVERY_S * random.uniform(0.5, 1.5)
            while messages.expire(self._db) == messages.BATCH and not self._stopped.is_set():
                pass
        return 0

    def _age(self) -> int:
        """Often enough that a step comes at most a tenth late; what is raised is ready already, and wakes nobody."""
        now, ageing_s = time.monotonic(), self._settings.ageing_s
        if ageing_s and now >= self._age_at:
            self._age_at = now + ageing_s / 10 * random.uniform(0.5, 1.0)
            ageing.raise_waiting(self._db, self._settings.queues, ageing_s)
        return 0

    def _reap(self) -> int:
        """Only after a whole lease in contact: after an outage, the others need that long to beat again."""
        now, lease_s = time.monotonic(), self._settings.lease_s
        if now < self._reap_at or self._heartbeat.in_contact_s < lease_s:
            return 0
        self._reap_at = now + lease_s / 10 * random.uniform(0.5, 1.5)
        if now >= self._forget_at:
            self._forget_at = now + FORGET_EVERY_S
            self._db.transact(leases.forget_dead)
            self._db.transact(limit_rows.forget_past)
        options = self._settings
        taken = supervise.reap(self._db, grace_s=lease_s, max_losses=options.max_losses, policy=options.policy)
        if taken:
            log.warning("took tasks back from silent watchers", tasks=taken)
        return taken

    def _pause(self, seen: Seen) -> None:
        pause = self.pause_s * random.uniform(0.8, 1.2)
        for ahead_s in (seen.next_due_s, seen.next_deadline_s):
            if ahead_s is not None:
                pause = min(pause, max(ahead_s, 0.001))
        self.pause_s = min(self.pause_s * 2, self._settings.interval_s)
        self._nudged.wait(pause)
        self._nudged.clear()
