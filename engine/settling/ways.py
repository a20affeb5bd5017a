"""Which way settlements go: the short one, until it turns out that something behind their steps asks how they ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from sqlalchemy import Connection

from engine.database import Database
from engine.settling import plain
from engine.settling.plain import LongWayError
from engine.settling.settlement import Settlement

T = TypeVar("T")
MOST: Final = 10_000
"""Steps that are remembered; then it begins anew."""


class Ways:
    """Transactions that settle, of one watcher. What is remembered of a step is no promise: a step that nobody asks
    about any more goes the long way, and comes to the same."""

    def __init__(self) -> None:
        self._asked_about: set[tuple[str, int]] = set()

    def transact(
        self,
        db: Database,
        batch: Sequence[Settlement],
        work: Callable[[Connection, bool], T],
        *,
        repeated: bool = False,
    ) -> T:
        """Run `work` in a transaction, told whether to go the short way, which is for settlements that fit it; if that
        leads nowhere, in another one. `repeated`: of `Database.transact`, for the short way, as its statements alone
        are few. Errors: those of `Database.transact`."""
        if plain.fits(batch) and not self._are_asked_about(batch):
            try:
                return db.transact(lambda conn: work(conn, True), repeated=repeated)
            except LongWayError as error:
                self._remember(batch, error)
        return db.transact(lambda conn: work(conn, False))

    def _are_asked_about(self, batch: Sequence[Settlement]) -> bool:
        """Is any of them of a step that is remembered?"""
        return bool(self._asked_about) and not self._asked_about.isdisjoint(map(_step, batch))

    def _remember(self, batch: Sequence[Settlement], error: LongWayError) -> None:
        if len(self._asked_about) >= MOST:
            self._asked_about.clear()
        self._asked_about.update(_step(item) for item in batch if item.task.key in error.asked_about)


def _step(item: Settlement) -> tuple[str, int]:
    return item.task.task_id, item.task.task_seq
