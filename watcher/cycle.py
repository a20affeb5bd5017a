"""One turn of the cycle: settle a batch and claim the next one, in one transaction, whatever the network does.

A COMMIT whose answer was lost leaves both halves unknown: the claim is read back by the id that was minted before it,
and the batch is settled again, which changes nothing where it was settled already.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import structlog
from sqlalchemy import Connection

from engine import jsontext, task_logs
from engine.candidates import ANYTHING
from engine.claim import claim_ready, may_claim
from engine.claimed import ClaimedTask, claimed_under
from engine.database import Database
from engine.errors import BrokenPromise, DatabaseUnavailable, OutcomeUnknown, PenstockError, PoisonData, concerns_all
from engine.failpoints import hit
from engine.ids import new_claim_id
from engine.keys import Fence
from engine.limits.held_back import HeldBack
from engine.limits.room import Limits
from engine.outages import OUTAGES
from engine.quarantine import refuse_unclaimable
from engine.settle import Settled, Settlement, Verdict, settle
from engine.settling.ways import Ways
from engine.states import Reason
from watcher.portions import portions
from watcher.settings import Settings

log = structlog.get_logger("penstock.watcher")
MAX_UNANSWERED: Final = 5


@dataclass
class Turn:
    """What one turn did: the settlements that are over, and the tasks that are held now."""

    settled: list[tuple[Settlement, Verdict]] = field(default_factory=list)
    claimed: list[ClaimedTask] = field(default_factory=list)


class Cycle:
    """Turns of one watcher on one database. Errors: DatabaseUnavailable and FatalDatabaseError, after which the same
    batch may be given again."""

    def __init__(self, db: Database, watcher_id: str, settings: Settings) -> None:
        self._db = db
        self._watcher_id = watcher_id
        self._settings = settings
        self._unknown: list[str] = []
        """Claims whose COMMIT was answered by nobody and that have not been read back yet."""
        self._found: list[ClaimedTask] = []
        """Tasks that are held and that no turn has returned yet: a turn that fails keeps them for the next one."""
        self._ways = Ways()
        self._limited = True
        self.held_back = HeldBack()
        self.offer = ANYTHING
        """What is claimed here, and not left to other watchers."""
        self.parted: Collection[Fence] = ()
        """Tries of which parts of their logs are written already."""
        self.claims = True
        """False from the moment that the watcher is told to stop, in the transaction under way as well: it may have
        waited for a lock since it began."""

    @property
    def is_unsure(self) -> bool:
        """Does this watcher hold, or perhaps hold, tasks that no turn has returned yet?"""
        return bool(self._unknown or self._found)

    def turn(self, batch: Sequence[Settlement], want: int, *, limited: bool = True) -> Turn:
        """Settle `batch`, claim up to `want` tasks. `limited`: ms_limit has rows, or nobody has looked yet."""
        self._limited = limited
        self._read_back()
        *first, last = portions(batch)
        settled = [done for part in first for done in self.settle_each(part)]
        settled += self._settle_and_claim(last, max(0, want - len(self._found)))
        claimed, self._found = self._found, []
        return Turn(settled, claimed)

    def _settle_and_claim(self, batch: Sequence[Settlement], want: int) -> list[tuple[Settlement, Verdict]]:
        if not batch and not self._may_claim(want):
            return []
        claim_id = new_claim_id()

        def work(conn: Connection, shortly: bool) -> tuple[Settled, list[ClaimedTask]]:
            was_full = self.held_back.full
            settled, claimed = self._settle(conn, batch, shortly), self._claim(conn, claim_id, want)
            if was_full and len(claimed) < len(batch):  # other watchers may serve what waits for the places left
                self._db.dialect.notify(conn)
            return settled, claimed

        is_usual = not self._limited and not self._settings.keep_all_attempts
        try:
            settled, claimed = self._ways.transact(self._db, batch, work, repeated=is_usual)
            _committed(batch, claimed)
        except OutcomeUnknown as error:
            if (left_out := OUTAGES.may_say("commit")) is not None:
                log.warning(
                    "answer to COMMIT lost, reading back", error=str(error), claim_id=claim_id, left_out=left_out
                )
            self._unknown.append(claim_id)
            self._read_back()
            return self.settle_each(batch)
        except Exception as error:  # a value that a driver cannot carry fails in ways of its own
            if concerns_all(error):
                raise
            settled_alone = self._alone(batch, error) if batch else []
            self._quarantine(error, bool(batch))
            return settled_alone
        self._found += claimed
        return list(zip(batch, settled.verdicts, strict=True))

    def _alone(self, batch: Sequence[Settlement], error: Exception) -> list[tuple[Settlement, Verdict]]:
        log.warning("a batch was refused, splitting it", error=str(error), size=len(batch))
        return self.settle_each(batch)

    def _quarantine(self, error: Exception, had_batch: bool) -> None:
        """Suspend the ready rows that make a claim fail, if it was these."""
        if refused := refuse_unclaimable(self._db, self._settings.queues):
            log.warning("suspended rows that cannot be claimed", rows=refused, error=str(error))
        elif not had_batch:
            raise error if isinstance(error, PenstockError) else BrokenPromise(f"a claim failed: {error!r}") from error

    def settle_each(self, batch: Sequence[Settlement]) -> list[tuple[Settlement, Verdict]]:
        """Settle without claiming; a refused batch is halved until the one bad settlement stands alone, and that task
        is suspended in place of what it asked for."""
        if not batch:
            return []
        try:
            settled = self._settle_for_sure(batch)
        except Exception as error:
            if concerns_all(error):
                raise
            if len(batch) > 1:
                half = len(batch) // 2
                return self.settle_each(batch[:half]) + self.settle_each(batch[half:])
            return self._refuse(batch[0], error)
        return list(zip(batch, settled.verdicts, strict=True))

    def _settle_for_sure(self, batch: Sequence[Settlement]) -> Settled:
        """Settle until the answer arrives: doing it again changes nothing where it was done already."""
        for _ in range(MAX_UNANSWERED):
            try:
                settled = self._ways.transact(self._db, batch, lambda conn, shortly: self._settle(conn, batch, shortly))
                _committed(batch)
                return settled
            except OutcomeUnknown as error:
                unanswered = error
        raise DatabaseUnavailable(f"{MAX_UNANSWERED} times in a row, {unanswered}") from unanswered

    def _refuse(self, item: Settlement, error: Exception) -> list[tuple[Settlement, Verdict]]:
        log.error("an outcome cannot be written", flow=item.task.key.flow_id, seq=item.task.key.seq, error=str(error))
        why = "the database refuses what the program answered" if isinstance(error, PoisonData) else "cannot be settled"
        words = f"{why}: {error}"
        bare = Settlement(item.task, "suspend", reason=Reason.BAD_RESULT, error=jsontext.clean_text(words, 1000))
        try:
            settled = self._settle_for_sure([bare])
        except (PoisonData, BrokenPromise):
            return [(item, Verdict.STALE)]  # left to the comparison of held rows
        return [(item._replace(kind="suspend"), settled.verdicts[0])]

    def _settle(self, conn: Connection, batch: Sequence[Settlement], shortly: bool) -> Settled:
        if not batch:
            return Settled()
        options = self._settings
        settled = settle(
            conn,
            self._db,
            self._watcher_id,
            batch,
            policy=options.policy,
            keep_all_attempts=options.keep_all_attempts,
            shortly=shortly,
        )
        if self.parted and (parted := [item.task.fence for item in batch if item.task.fence in self.parted]):
            task_logs.drop(conn, parted)
        return settled

    def _claim(self, conn: Connection, claim_id: str, want: int) -> list[ClaimedTask]:
        if want == 0 or not self.claims:
            return []
        options, found = self._settings, self.held_back
        return claim_ready(
            conn,
            self._db,
            self._watcher_id,
            claim_id,
            want,
            queues=options.queues,
            limits=self._limits,
            held_back=found,
            offer=self.offer,
        )

    @property
    def _limits(self) -> Limits:
        return replace(self._settings.limits, from_rows=self._limited)

    def _may_claim(self, want: int) -> bool:
        """Where limits were full a moment ago, look before asking for the lock that others have more need of."""
        if not want or not self.held_back.full or not self._limits.any:
            return want > 0
        with self._db.read() as conn:
            return may_claim(conn, self._settings.queues, self._limits, self.held_back, self.offer)

    def _read_back(self) -> None:
        """Find the tasks of claims that turned out to have been committed."""
        while self._unknown:
            hit("claim.read_back")
            with self._db.read() as conn:
                self._found += claimed_under(conn, self._unknown[-1])
            self._unknown.pop()


def _committed(batch: Sequence[Settlement], claimed: Sequence[ClaimedTask] = ()) -> None:
    if batch:
        hit("settle.after_commit")
    if claimed:
        hit("claim.after_commit")
