"""The thread that looks for work that nobody announced: due times, rows made by hand, ready rows of other processes.

One query a look. It looks often after something happened and ever more rarely while nothing does, up to the watcher's
interval, so that an idle watcher costs a query a second and a busy one never waits for a poll; and however much
happens, looking takes no more than a small share of the time.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import structlog

from engine import leases, supervise
from engine.adopt import Adopter
from engine.database import Database
from engine.definition.reading import Check
from engine.ending import closing, deadlines
from engine.errors import DatabaseUnavailable, OutcomeUnknown, PenstockError, concerns_all
from engine.limits import flow_limits
from engine.lookout import Seen, look
from engine.outages import AWAY, BUG, OUTAGES
from engine.supervise import batches
from engine.waiting import overdue, waits
from watcher.backoff import Backoff
from watcher.chores import Chores
from watcher.clocks import MAX_JUMP_S, Clocks
from watcher.lease import Heartbeat
from watcher.offers import Offers
from watcher.settings import Settings

log = structlog.get_logger("penstock.watcher")
SOON_S = 0.02
AWAKE: Final = 0.8, 1.2
RESTING: Final = 1.5, 1.8
LOOKS: Final = 20
"""Between what shares of the interval a look follows the last one, at first, and after so many looks in vain."""
STILL: Final = 150
"""After so many looks in vain, some minutes, nothing can have begun or ended that is not summarised yet."""
REST: Final = 9
"""However much happens, the next look begins no sooner than this many times after what the last one took, and `SOON_S`;
what falls due does not wait for that."""


@dataclass(frozen=True)
class Refusal:
    """A database that refuses for good: the answer, and the monotonic time of the first."""

    error: Exception
    since: float


class Lookout:
    """Looks, sweeps, and calls `wake` when rows are ready to be claimed."""

    def __init__(
        self,
        db: Database,
        watcher_id: str,
        settings: Settings,
        heartbeat: Heartbeat,
        offers: Offers,
        wake: Callable[[], None],
        *,
        on_drain: Callable[[], None] = lambda: None,
        check: Check | None = None,
    ) -> None:
        self._db = db
        self._watcher_id = watcher_id
        self._on_drain = on_drain
        self._is_told = False
        """Has the watcher been told that an operator wants it to end?"""
        self._settings = settings
        self._heartbeat = heartbeat
        self._offers = offers
        self._wake = wake
        self._adopter = Adopter(db, settings.policy)
        self._clocks = Clocks()
        self._stopped = threading.Event()
        self._chores = Chores(db, settings, self._stopped, check)
        self._backoff = Backoff(heartbeat)
        self._nudged = threading.Event()
        self._thread = threading.Thread(target=self._run, name="penstock-lookout", daemon=True)
        self._reap_at = 0.0
        self._took_s = 0.0
        """How long the last look took."""
        self.pause_s = SOON_S
        self.running = True
        """Is any task held, by whomever? So it is taken to be until the first look."""
        self.limited = True
        """Has ms_limit rows? So it is taken to have until the first look."""
        self.held_back = False
        """The last claim took nothing, as limits hold back what is ready, and no time is known when they will not."""
        self.idle_looks = 0
        """How many looks in a row have found nothing to do."""
        self.refused: Refusal | None = None
        """Since when the database has answered every look with a refusal for good."""

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

    def look_now(self) -> None:
        """Something may have happened elsewhere: look once, and go on as before."""
        self._nudged.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                seen = self._look()
                self._chores.prune()
                self._pause(seen)
                self._backoff.succeeded()
                self.refused = None
            except Exception as error:  # whatever it is: without this thread nothing new would be found
                self._failed(error)
                self._backoff.failed()
                self._backoff.sit_out(self._stopped)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, DatabaseUnavailable) or not concerns_all(error):
            self.refused = None
        elif self.refused is None:
            self.refused = Refusal(error, time.monotonic())
        is_bug = not isinstance(error, PenstockError)
        if (left_out := OUTAGES.may_say(BUG if is_bug else AWAY)) is not None:
            log.warning("cannot look for work", error=str(error), left_out=left_out, exc_info=is_bug)

    def _look(self) -> Seen:
        asked_at = time.monotonic()
        with self._db.read() as conn:
            seen = look(conn, self._settings.queues, self._watcher_id, offer=self._offers.own)
        self._took_s = time.monotonic() - asked_at
        if seen.time_now is not None:
            self._is_steady(seen.time_now, asked_at)
        if seen.wanted == leases.DRAIN and not self._is_told:
            self._is_told = True
            log.info("asked to drain", watcher=self._watcher_id)
            self._on_drain()
        done = self._sweep(seen)
        if seen.ready or done:
            self._wake()
        self.limited, self.running = seen.limited, seen.running
        anything = seen.anything_but_ready if self.held_back else seen.anything
        self.idle_looks = 0 if anything or done else self.idle_looks + 1
        return seen

    def _is_steady(self, time_now: datetime, asked_at: float) -> bool:
        """Does the database's clock run as ours? After a jump, the living look dead until they have beaten again."""
        now = time.monotonic()
        jump_s = self._clocks.jump_s(time_now, asked_at, now)
        if abs(jump_s) <= MAX_JUMP_S:
            return True
        self._reap_at = now + self._settings.lease_s
        log.warning("the database's clock jumped: nobody is called dead for one lease", seconds=round(jump_s, 1))
        return False

    def _sweep(self, seen: Seen) -> int:
        db, policy = self._db, self._settings.policy
        is_due = seen.next_due_s is not None and seen.next_due_s <= 0
        steps: tuple[tuple[str, bool, Callable[[], int]], ...] = (
            ("deadlines", seen.overdue, lambda: deadlines.end_overdue(db)),
            ("due times", is_due, lambda: supervise.fire_due(db, policy)),
            ("waits", seen.wait_is_due, lambda: waits.fire_waits(db, policy)),
            ("pokes", seen.wait_is_due, lambda: overdue.fire_pokes(db, policy)),
            ("commands", seen.asked, lambda: self._chores.carry_out(self._watcher_id)),
            ("messages", seen.mail, self._chores.match),
            ("expired messages", True, self._chores.expire_messages),
            ("settled by hand", seen.untold, lambda: supervise.pass_on(db, policy)),
            ("paused by hand", seen.unexplained, lambda: supervise.note_paused(db, policy)),
            ("made by hand", seen.made_by_hand, self._adopter.adopt),
            ("ended flows", seen.ended, lambda: closing.close_ended(db, policy)),
            ("turns", seen.turns, lambda: flow_limits.give_turns(db)),
            ("ageing", seen.ready, self._chores.age),
            ("old rows", True, self._chores.forget),
            ("logs left", self.idle_looks < STILL, self._chores.sweep_logs),
            ("summaries", self.idle_looks < STILL, self._chores.summarise),
            ("offers", True, self._offers.review),
            ("silent watchers", seen.running, self._reap),
        )
        return sum(self._step(name, step) for name, is_asked_for, step in steps if is_asked_for)

    def _step(self, name: str, step: Callable[[], int]) -> int:
        """Rows that one step of the sweep cannot deal with must not keep the others from theirs."""
        try:
            return step()
        except Exception as error:
            if concerns_all(error) or isinstance(error, OutcomeUnknown):
                raise
            if (left_out := OUTAGES.may_say(name)) is not None:
                trace = not isinstance(error, PenstockError)
                log.error("cannot sweep", step=name, error=str(error), left_out=left_out, exc_info=trace)
            return 0

    def _reap(self) -> int:
        """Only after a whole lease in contact: after an outage, the others need that long to beat again."""
        now, lease_s = time.monotonic(), self._settings.lease_s
        if now < self._reap_at or self._heartbeat.in_contact_s < lease_s:
            return 0
        self._reap_at = now + self._settings.reap_every_s * random.uniform(0.5, 1.5)
        options = self._settings
        taken = supervise.reap(
            self._db,
            grace_s=lease_s,
            max_losses=options.max_losses,
            policy=options.policy,
            is_sure=lambda time_now: self._is_steady(time_now, now) and self._heartbeat.in_contact_s >= lease_s,
        )
        if taken >= batches.BATCH:  # there may be more
            self._reap_at = now
            self.pause_s = SOON_S
        if taken:
            log.warning("took tasks back from silent watchers", tasks=taken)
        return taken

    def _pause(self, seen: Seen) -> None:
        """Until the next look, or until something happens, but not sooner than a look is worth."""
        rest_s = min(max(SOON_S, REST * self._took_s), self._settings.interval_s)
        ends_s = max(rest_s, self.pause_s * random.uniform(*(RESTING if self.idle_looks > LOOKS else AWAKE)))
        for ahead_s in (seen.next_due_s, seen.next_deadline_s):
            if ahead_s is not None:
                ends_s = min(ends_s, max(ahead_s, 0.001))
        self.pause_s = min(self.pause_s * 2, self._settings.interval_s)
        began = time.monotonic()
        if self._nudged.wait(ends_s):
            self._stopped.wait(max(0.0, began + min(rest_s, ends_s) - time.monotonic()))
        self._nudged.clear()
