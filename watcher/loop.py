"""The watcher: poll, claim, hand out, settle, until told to stop."""

from __future__ import annotations

import queue
import random
import threading
import time

import structlog

from engine import leases, supervise
from engine.database import Database, wait_until_up
from engine.errors import PenstockError
from engine.ids import new_claim_id
from engine.schema import verify
from engine.settling.settlement import Settlement, Verdict
from programs.catalogue import Catalogue
from watcher import capture, timeouts
from watcher.cycle import Cycle, Turn
from watcher.exclusive import Guard
from watcher.executors.dispatch import Dispatch
from watcher.hints import Hints
from watcher.inputs import DatabaseReader
from watcher.lease import Heartbeat
from watcher.lookout import SOON_S, Lookout
from watcher.pace import Pace
from watcher.pool import Pool
from watcher.settings import Settings
from watcher.settlements import released

log = structlog.get_logger("penstock.watcher")
COMPARE_EVERY_S = 2.0
"""Between comparisons of the rows that name this watcher with what it runs, while something runs for that long."""
COMPARE_IDLE_S = 10.0
MAX_LINGER_S = 1.0
"""How long a task may wait for one of our workers before it is left to other watchers."""
RESULT_READERS = 4
"""Connections on which programs read the results of earlier tasks."""
STOP_MARGIN_S = 2.0
"""How long interrupted programs have to come back before their tasks are handed back without them."""


class _NotStarted(Exception):
    """Stopped while it waited for the database."""


class Watcher:
    """One watcher process. `run` blocks; `stop` and `wake` may be called from any thread or signal handler."""

    def __init__(self, db: Database, catalogue: Catalogue, settings: Settings) -> None:
        self.id = new_claim_id()  # new at each start: a name would be reused by the next process of that name
        self._db = db
        self._catalogue = catalogue
        self._settings = settings
        self._inbox: queue.SimpleQueue[Settlement | None] = queue.SimpleQueue()
        self._cycle = Cycle(db, self.id, settings)
        self._pace = Pace(settings.ahead_s)
        self._own = db.twin("heartbeat", 1)
        self._for_programs = db.twin("results", RESULT_READERS)
        self._reader = DatabaseReader(self._for_programs)
        self._heartbeat = Heartbeat(self._own, self.id, settings.lease_s, settings.heartbeat_s, self._enlist)
        self._guard = Guard(self._heartbeat, settings.margin_s, lambda: self._pool.slots.values())
        self._dispatch = Dispatch(catalogue, self._reader, settings.of_children, self._guard.may_begin)
        self._pool = Pool(
            settings.workers,
            self._dispatch.execute,
            self._inbox.put,
            lambda: self._heartbeat.holds,
            settings.max_stuck,
            self._dispatch.kill,
        )
        self._lookout = Lookout(db, settings, self._heartbeat, self.wake)
        self._hints = Hints(db, self._hinted)
        self._stop_asked = 0
        self._stop_by: float | None = None
        self._interrupted = False
        self._compared_at = time.monotonic()
        self._retry_pause = 0.2
        self._claim_at: float | None = None
        """When a limit by rate lets the next task start."""
        self.is_spent = False
        """Too many programs did not come back: this process should be replaced by a new one."""
        self.finished = threading.Event()

    def wake(self) -> None:
        """Rows may be ready: claim at once."""
        self._inbox.put(None)

    def stop(self) -> None:
        """Stop claiming, let running tasks finish within the grace; asked a second time, hand back now."""
        self._stop_asked += 1
        self.wake()

    def run(self, *, until_idle: bool = False) -> None:
        """Work until stopped; with `until_idle`, until nothing is left to do. Errors: those of an unusable database."""
        if not self._is_up():
            return
        verify(self._db)
        self._db.probe()
        capture.install()
        self._heartbeat.start()
        self._pool.start()
        self._lookout.start()
        self._hints.start()
        log.info("watcher started", watcher=self.id, workers=self._settings.workers, programs=len(self._catalogue))
        try:
            self._work(until_idle)
        finally:
            self._close()

    def _is_up(self) -> bool:
        """Wait for the database. False if the watcher was stopped meanwhile."""

        def waiting(words: str) -> None:
            log.info("waiting for the database", error=words)
            if self._stop_asked:
                raise _NotStarted

        try:
            wait_until_up(self._db, self._settings.db_wait_s, on_wait=waiting)
        except _NotStarted:
            return False
        return True

    def _work(self, until_idle: bool) -> None:
        batch: list[Settlement] = []
        while True:
            batch, woken = self._collect(batch)
            if self._stop_asked and self._drained(batch):
                return
            want = self._want(len(batch))
            if batch or (woken and want):
                batch = self._turn(batch, want)
            self._tidy()
            if until_idle and not batch and not self._pool.slots and self._lookout.idle_looks >= 2:
                return

    def _collect(self, left_over: list[Settlement]) -> tuple[list[Settlement], bool]:
        """Wait for something to happen; everything that has happened by then belongs to the next transaction."""
        batch, woken = list(left_over), False
        try:
            item = self._inbox.get(timeout=0.001 if left_over else self._patience())
            while True:
                if item is None:
                    woken = True
                else:
                    batch.append(item)
                if len(batch) >= self._settings.batch:
                    break
                item = self._inbox.get_nowait()
        except queue.Empty:
            pass
        if self._claim_at is not None and time.monotonic() >= self._claim_at:
            self._claim_at, woken = None, True
        return batch, woken

    def _patience(self) -> float:
        if self._stop_asked:
            return 0.05
        next_s = timeouts.next_s(self._pool.slots.values(), time.monotonic())
        claim_s = self._claim_at - time.monotonic() if self._claim_at is not None else next_s
        return max(0.001, min(self._settings.interval_s, 0.5, next_s, claim_s))

    def _want(self, settling: int) -> int:
        """How many tasks to claim in a turn that settles so many: their places become free with it."""
        if self._stop_asked or not self._heartbeat.holds:
            return 0
        most = self._settings.workers + self._pace.ahead()
        busy = len(self._pool.slots) - min(self._dispatch.waiting, self._settings.async_slots)
        return max(0, min(most - busy + settling, self._settings.batch))

    def _turn(self, batch: list[Settlement], want: int) -> list[Settlement]:
        """One transaction; returns what has to be settled again because the database was away."""
        try:
            turn = self._cycle.turn(batch, want, limited=self._lookout.limited)
        except PenstockError as error:  # results that exist are worth waiting for whatever is wrong with the database
            log.warning("database unavailable, results are kept", error=str(error), unsettled=len(batch))
            time.sleep(self._retry_pause * random.uniform(0.8, 1.2))
            self._retry_pause = min(self._retry_pause * 2, 5.0)
            self.wake()
            return batch
        self._retry_pause = 0.2
        self._note_held_back(want)
        for settlement, verdict in turn.settled:
            self._pool.done(settlement)
            _report(settlement, verdict)
        self._let_go(turn)
        for task in turn.claimed:
            self._pool.hand(task)
        if completed := sum(settlement.kind != "release" for settlement, _ in turn.settled):
            self._pace.completed(completed)
        if turn.settled or turn.claimed:
            self._lookout.nudge()
        return []

    def _let_go(self, turn: Turn) -> None:
        """An exclusive task that a person set back waits for its program to stop, which it has now."""
        gone = [
            item.task.fence for item, verdict in turn.settled if item.task.is_exclusive and verdict is Verdict.STALE
        ]
        if not gone:
            return
        try:
            supervise.let_go(self._db, gone)
        except PenstockError as error:
            log.warning("an exclusive task set back by hand waits for the end of this lease", error=str(error))

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
        is_long = self._pool.longest_running_s() >= COMPARE_EVERY_S / 2
        if time.monotonic() >= self._compared_at + (COMPARE_EVERY_S if is_long else COMPARE_IDLE_S):
            self._compared_at = time.monotonic()
            self._compare()

    def _time_out(self) -> None:
        """Settle tries that take too long, and let another worker take the place of theirs."""
        for slot in timeouts.overdue(list(self._pool.slots.values()), time.monotonic()):
            settlement = timeouts.timed_out(slot.task)
            log.warning("task ran out of time", flow=slot.task.key.flow_id, seq=slot.task.key.seq)
            if not self._pool.give_up(slot):
                self._recycle()
            self._inbox.put(settlement)

    def _recycle(self) -> None:
        """Only the end of the process ends its threads: drain, and leave the work to the next watcher."""
        if not self.is_spent:
            log.error("too many programs did not come back, this watcher ends", stuck=self._settings.max_stuck)
            self.is_spent = True
            self._stop_asked = max(1, self._stop_asked)

    def _compare(self) -> None:
        """Compare what the rows say we run with what we run: each side may know something that the other does not."""
        try:
            with self._db.read() as conn:
                held = supervise.held_by(conn, self.id)
            if unknown := held - self._pool.slots.keys():
                log.warning("gave back rows that named this watcher", tasks=supervise.give_back(self._db, unknown))
        except PenstockError as error:
            log.warning("cannot compare what runs here with the rows", error=str(error))
            return
        for fence in self._pool.slots.keys() - held:
            self._pool.slots[fence].stop.set()  # taken from us, or set by hand: whatever it answers comes too late

    def _drained(self, batch: list[Settlement]) -> bool:
        """Is everything handed back that can be? Called at each round of a stop."""
        now = time.monotonic()
        if self._stop_by is None:
            log.info("watcher stopping", watcher=self.id, running=len(self._pool.slots))
            self._heartbeat.state = "draining"
            self._pool.turn_back()
            self._stop_by = now + self._settings.grace_s
        if self._stop_asked > 1 and not self._interrupted:
            self._stop_by = now
        if now >= self._stop_by and not self._interrupted:
            self._pool.interrupt()
            self._interrupted = True
        if not self._pool.slots and not batch:
            return True
        if now < self._stop_by + STOP_MARGIN_S:
            return False
        self._hand_back(batch)
        return True

    def _hand_back(self, batch: list[Settlement]) -> None:
        answered = {item.task.fence for item in batch}
        silent = [slot.task for fence, slot in self._pool.slots.items() if fence not in answered]
        log.warning("programs did not stop in time, their tasks go back", tasks=len(silent))
        self._pool.kill()
        try:
            self._cycle.settle_each([*batch, *(released(task) for task in silent)])
        except PenstockError as error:
            log.error("could not hand tasks back, their lease will lapse", error=str(error))

    def _close(self) -> None:
        self._hints.stop()
        self._lookout.stop()
        self._heartbeat.stop()
        self._pool.turn_back()
        self._pool.close()
        self._guard.stop()
        self._dispatch.close()
        try:
            self._own.transact(lambda conn: leases.leave(conn, self.id))
        except PenstockError as error:
            log.error("could not end the lease, it will lapse", error=str(error))
        self._own.close()
        self._for_programs.close()
        log.info("watcher stopped", watcher=self.id)
        self.finished.set()

    def _enlist(self) -> None:
        options = self._settings
        self._own.transact(
            lambda conn: leases.enlist(
                conn, self.id, options.lease_s, label=options.label, slots=options.workers, queues=options.queues
            )
        )

    def _hinted(self) -> None:
        self._lookout.nudge()
        self.wake()


def _report(settlement: Settlement, verdict: Verdict) -> None:
    key = settlement.task.key
    if verdict is Verdict.STALE:
        log.warning("outcome came too late", flow=key.flow_id, seq=key.seq, kind=settlement.kind)
    elif settlement.kind == "suspend":
        log.warning("task suspended", flow=key.flow_id, seq=key.seq, reason=settlement.reason, error=settlement.error)
