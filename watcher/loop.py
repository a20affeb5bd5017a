"""The watcher: poll, claim, hand out, settle, until told to stop."""

from __future__ import annotations

import os
import queue
import threading
import time

import structlog

from engine.database import Database
from engine.definition.reading import Check
from engine.errors import DatabaseUnavailable, FatalDatabaseError, PenstockError
from engine.failpoints import hit
from engine.ids import new_claim_id
from engine.outages import AWAY, BUG, OUTAGES
from engine.settling.settlement import Settlement, Verdict
from programs.catalogue import Catalogue
from watcher import capture, masking, timeouts
from watcher.attempt import with_log
from watcher.backoff import Backoff
from watcher.comparison import Comparison
from watcher.cycle import Cycle, Turn
from watcher.drain import Drain
from watcher.exclusive import Guard
from watcher.executors.dispatch import Dispatch
from watcher.hints import Hints
from watcher.inputs import DatabaseReader
from watcher.lease import Heartbeat
from watcher.live_logs import LiveLogs
from watcher.lookout import SOON_S, Lookout
from watcher.offers import Offers
from watcher.opening import enter
from watcher.pace import Pace
from watcher.pool import Pool
from watcher.secrets import Secrets
from watcher.settings import Settings

log = structlog.get_logger("penstock.watcher")
MAX_LINGER_S = 1.0
"""How long a task may wait for one of our workers before it is left to other watchers."""
CONNECTIONS = 4
"""Of the database that a watcher is given: one for the loop, one for the lookout, and two to spare. The heartbeat has
one of its own besides, readers of results have theirs, and where the server gives hints, one listens."""
RESULT_READERS = 4
"""Connections on which programs read the results of earlier tasks."""


class Watcher:
    """One watcher process. `run` blocks; `stop` and `wake` may be called from any thread or signal handler."""

    def __init__(self, db: Database, catalogue: Catalogue, settings: Settings, check: Check | None = None) -> None:
        """`check` finds steps that no program fits, in workflows that are started by a command."""
        self.id = new_claim_id()  # new at each start: a name would be reused by the next process of that name
        self._db = db
        self._catalogue = catalogue
        self._settings = settings
        self._inbox: queue.SimpleQueue[Settlement | None] = queue.SimpleQueue()
        self._cycle = Cycle(db, self.id, settings)
        self._pace = Pace(settings.ahead_s, settings.workers)
        self._for_programs = db.twin("results", RESULT_READERS)
        self._reader = DatabaseReader(self._for_programs)
        self._heartbeat = Heartbeat(db, self.id, settings, catalogue)
        self._offers = Offers(self._for_programs, self.id, settings.queues)
        self._guard = Guard(self._heartbeat, settings.margin_s, lambda: self._pool.slots.values())
        may_begin = self._heartbeat.may_begin
        secrets = Secrets(settings.secret_env, settings.secret_dir, catalogue.secret_of)
        self._dispatch = Dispatch(
            catalogue,
            self._reader,
            settings.of_children,
            self._guard.may_begin,
            may_begin,
            secrets,
            settings.http_networks,
        )
        self._pool = Pool(
            settings.workers,
            lambda slot, later: self._offers.reconsider(self._dispatch.execute(slot, later)),
            self._inbox.put,
            may_begin,
            settings.max_stuck,
            self._dispatch.kill,
        )
        self._lookout = Lookout(
            db, self.id, settings, self._heartbeat, self._offers, self.wake, on_drain=self.stop, check=check
        )
        self._hints = Hints(db, self._hinted)
        self._live_logs = LiveLogs(db, settings.log_interval_s, self._pool.slots)
        self._cycle.parted = self._live_logs.parted
        self._drain = Drain(self._pool, self._cycle, settings.grace_s, self._heartbeat.drain)
        self._answered: list[Settlement] = []
        """What programs have answered and no transaction has settled yet."""
        self._woken = False
        self._comparison = Comparison(db, self.id, self._cycle, self._pool, lambda: self._lookout.running)
        self._backoff = Backoff(self._heartbeat)
        self._claim_at: float | None = None
        """When a limit by rate lets the next task start."""
        self.is_spent = False
        """Too many programs did not come back: this process should be replaced by a new one."""
        self.finished = threading.Event()

    def wake(self) -> None:
        """Rows may be ready: claim at once."""
        self._inbox.put(None)

    def let_programs_reach(self, network: str) -> None:
        """One more internal network to which programs may send requests, from the next task on."""
        self._dispatch.http_networks += (network,)

    def stop(self) -> None:
        """Stop claiming, let running tasks finish within the grace; asked a second time, hand back now."""
        self._drain.ask()
        self.wake()

    @property
    def left_behind(self) -> int:
        """Tasks that could not be handed back at the stop: the database was away."""
        return self._drain.left_behind

    def run(self, *, until_idle: bool = False, leave_rates: bool = False) -> None:
        """Work until stopped; with `until_idle`, until nothing is left to do, and with `leave_rates` but what limits by
        rate hold back. Errors: those of an unusable database."""
        if not enter(self._db, self._settings.db_wait_s, self._heartbeat.start, lambda: bool(self._drain.asked)):
            return
        capture.install()
        masking.install(masking.secrets_of(os.environ, self._db.url.password))
        self._pool.start()
        self._lookout.start()
        self._hints.start()
        log.info("watcher started", watcher=self.id, workers=self._settings.workers, programs=len(self._catalogue))
        try:
            self._work(until_idle, leave_rates)
        finally:
            self._close()

    def _work(self, until_idle: bool, leave_rates: bool) -> None:
        while True:
            self._heartbeat.alive()
            self._collect()
            if self._drain.asked and self._drain.is_over(self._answered):
                return
            if not self._backoff.left_s:
                self._turn()
            self._tidy()
            self._give_up()
            has_nothing = self._lookout.idle_looks >= 2 or (leave_rates and self._claim_at is not None)
            if until_idle and has_nothing and not self._answered and not self._pool.slots:
                return

    def _collect(self) -> None:
        """Wait for something to happen; everything that has happened by then belongs to the next transactions."""
        try:
            item = self._inbox.get(timeout=self._patience())
            while True:
                if item is None:
                    self._woken = True
                else:
                    self._answered.append(item)
                item = self._inbox.get_nowait()
        except queue.Empty:
            pass
        if self._claim_at is not None and time.monotonic() >= self._claim_at:
            self._claim_at, self._woken = None, True

    def _patience(self) -> float:
        now = time.monotonic()
        if self._drain.asked:
            return 0.001 if self._answered and not self._backoff.left_s else 0.05
        if self._answered or self._woken:
            return max(0.001, min(self._backoff.left_s, 0.5))
        next_s = timeouts.next_s(self._pool.timed.values(), now)
        claim_s = self._claim_at - now if self._claim_at is not None else next_s
        return max(0.001, min(self._settings.interval_s, 0.5, next_s, claim_s, self._live_logs.left_s(now)))

    def _want(self, settling: int) -> int:
        """How many tasks to claim in a turn that settles so many: their places become free with it."""
        if self._drain.asked or not self._heartbeat.holds:
            return 0
        most = self._settings.workers + self._pace.ahead()
        busy = len(self._pool.slots) - min(self._dispatch.waiting, self._settings.async_slots)
        return max(0, min(most - busy + settling, self._settings.batch))

    def _turn(self) -> None:
        """One transaction. While the database is away, results are kept and nothing is lost but time."""
        batch = self._answered[: self._settings.batch]
        want = self._want(len(batch))
        woken, self._woken = self._woken, False
        if not batch and not (woken and want):
            return
        self._cycle.offer = self._offers.own
        try:
            turn = self._cycle.turn(batch, want, limited=self._lookout.limited)
        except Exception as error:  # results that exist are worth waiting for, whatever is wrong
            self._try_later(error)
            return
        self._backoff.succeeded()
        self._lookout.refused = None
        del self._answered[: len(batch)]
        self._note_held_back(want)
        self._take_in(turn)

    def _try_later(self, error: Exception) -> None:
        self._backoff.failed()
        self._woken = True
        is_bug = not isinstance(error, PenstockError)
        if (left_out := OUTAGES.may_say(BUG if is_bug else AWAY)) is not None:
            what = "a turn failed, results are kept" if is_bug else "database unavailable, results are kept"
            facts = {"error": str(error), "unsettled": len(self._answered), "left_out": left_out}
            log.warning(what, **facts, exc_info=is_bug)

    def _take_in(self, turn: Turn) -> None:
        completed, busy_s = 0, 0.0
        for settlement, verdict in turn.settled:
            busy_s += self._pool.done(settlement)
            completed += settlement.kind != "release"
            _report(settlement, verdict)
        self._live_logs.forget(settlement for settlement, _ in turn.settled)
        self._comparison.let_go(turn.settled)
        for task in turn.claimed:
            self._pool.hand(task)
        if completed:
            self._pace.completed(completed, busy_s)
        if turn.settled or turn.claimed:
            self._lookout.nudge()

    def _give_up(self) -> None:
        """End when the database has refused for good for a while, unless a result waits for it to be mended."""
        refused = self._lookout.refused
        if refused is None or self._pool.slots or self._answered:
            return
        if (for_s := time.monotonic() - refused.since) >= self._settings.db_wait_s:
            words = f"stopped, as the database has refused for {for_s:.0f} seconds: {refused.error}"
            raise FatalDatabaseError(words) from refused.error

    def _note_held_back(self, want: int) -> None:
        """A limit by rate says when to claim again; a place becomes free with a settlement, or the lookout finds it."""
        if want:
            held_back = self._cycle.held_back
            wait_s = held_back.free_in_s
            self._claim_at = None if wait_s is None else time.monotonic() + max(wait_s, SOON_S)
            self._lookout.held_back = held_back.cut_short and wait_s is None

    def _tidy(self) -> None:
        """Now and then: leave to others what waits too long for a worker, and compare rows with what runs here."""
        self._pool.hand_back(MAX_LINGER_S)
        self._time_out()
        self._comparison.compare_if_due()
        self._tell_logs()

    def _tell_logs(self) -> None:
        """Write what running tries have logged; not for a lease that may have ended: the try may be another's."""
        try:
            self._live_logs.write_if_due(may_write=self._heartbeat.holds and not self._backoff.left_s)
        except DatabaseUnavailable as error:
            self._try_later(error)

    def _time_out(self) -> None:
        """Settle tries that take too long, and let another worker take the place of theirs."""
        for slot in timeouts.overdue(list(self._pool.timed.values()), time.monotonic()):
            settlement = with_log(timeouts.timed_out(slot.task), slot.log)
            log.warning("task ran out of time", flow=slot.task.key.flow_id, seq=slot.task.key.seq)
            if not self._pool.give_up(slot):
                self._recycle()
            self._inbox.put(settlement)

    def _recycle(self) -> None:
        """Only the end of the process ends its threads: drain, and leave the work to the next watcher."""
        if not self.is_spent:
            log.error("too many programs did not come back, this watcher ends", stuck=self._settings.max_stuck)
            self.is_spent = True
            self._drain.asked = max(1, self._drain.asked)

    def _close(self) -> None:
        self._hints.stop()
        self._lookout.stop()
        self._pool.turn_back()
        self._pool.close()
        hit("drain.before_leave")
        self._guard.stop()
        self._dispatch.close()
        try:
            self._heartbeat.stop()
        except PenstockError as error:
            log.error("could not end the lease, it will lapse", error=str(error))
        self._for_programs.close()
        log.info("watcher stopped", watcher=self.id)
        self.finished.set()

    def _hinted(self, is_ready: bool) -> None:
        self._lookout.look_now()
        if is_ready:
            self.wake()


def _report(settlement: Settlement, verdict: Verdict) -> None:
    if verdict is Verdict.ACCEPTED and settlement.kind == "finish":
        return
    key = settlement.task.key
    if verdict is Verdict.STALE:
        log.warning("outcome came too late", flow=key.flow_id, seq=key.seq, kind=settlement.kind)
    elif settlement.kind == "suspend":
        log.warning("task suspended", flow=key.flow_id, seq=key.seq, reason=settlement.reason, error=settlement.error)
