"""One beat, and the loop of beats: the same for a thread of the watcher and for a process of its own."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from engine import leases
from engine.database import Database
from engine.errors import DatabaseUnavailable

TRIES: Final = 3
"""Of one beat: a restarted server has cut the connection, and answers the next one."""
FIRST_PAUSE_S: Final = 0.2
"""After a beat that failed; doubled up to the interval of the beats."""

Kind = Literal["kept", "down", "silent"]


@dataclass(frozen=True)
class Member:
    """The watcher that is kept alive, as its row in kr_watcher describes it."""

    watcher_id: str
    pid: int
    lease_s: float
    label: str = ""
    slots: int = 0
    queues: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Beat:
    """What became of one beat. `begun` and `ended` are of CLOCK_MONOTONIC, which all processes of a host share.

    kept: acknowledged. down: the server says that nobody can write at present, so nobody takes our tasks either.
    silent: anything else; others may well be able to write."""

    begun: float
    ended: float
    kind: Kind
    error: str = ""


class Beater:
    """Writes the watcher's row on a connection that serves nothing else."""

    def __init__(self, db: Database, member: Member) -> None:
        self._db = db
        self._member = member

    def enlist(self, state: str = "running") -> None:
        """Make the row. Errors: those of the transaction."""
        it = self._member
        self._db.transact(
            lambda conn: leases.enlist(
                conn,
                it.watcher_id,
                it.lease_s,
                label=it.label,
                slots=it.slots,
                queues=it.queues,
                programs=it.programs,
                pid=it.pid,
                state=state,
            )
        )

    def rest(self) -> None:
        """Give the connection up until the next beat."""
        self._db.close()

    def beat(self, state: str) -> Beat:
        """Extend the lease; a row that was deleted is made anew, so that what still runs has an owner. Never raises."""
        begun = time.monotonic()
        kind, error = self._extend(state)
        return Beat(begun, time.monotonic(), kind, error)

    def _extend(self, state: str) -> tuple[Kind, str]:
        it = self._member
        try:
            if not self._db.transact(
                lambda conn: leases.beat(conn, it.watcher_id, it.lease_s, state=state), tries=TRIES
            ):
                self.enlist(state)
        except DatabaseUnavailable as error:
            return "down" if error.is_down else "silent", str(error)
        except Exception as error:  # whatever it is: without beats the watcher would fall silent
            return "silent", str(error) or repr(error)
        return "kept", ""


def keep_beating(
    beat: Callable[[], Beat | None], every_s: float, rest: Callable[[float], bool], report: Callable[[Beat], None]
) -> None:
    """Beat every `every_s` seconds, sooner after a failure, until `rest(seconds)` says that it is over. `beat` returns
    None when it did not want to."""
    pause = failed_pause = FIRST_PAUSE_S
    while True:
        made = beat()
        if made is not None:
            report(made)
        if made is not None and made.kind == "kept":
            pause, failed_pause = every_s, FIRST_PAUSE_S
        else:
            pause, failed_pause = min(failed_pause, every_s), min(failed_pause * 2, every_s)
        if rest(pause * random.uniform(0.9, 1.1)):
            return
