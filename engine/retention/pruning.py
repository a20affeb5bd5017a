"""Delete ended flows, batch by batch: by hand (`penstock prune`); engine/retention/automatic.py takes one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row

from engine import history
from engine.database import Database
from engine.errors import BadRequest
from engine.keys import CHUNK
from engine.retention import candidates
from engine.retention.candidates import Place, Wanted
from engine.retention.deletion import delete_flows

FLOWS: Final = 100
"""Flows of one transaction."""
TASKS: Final = 1_000
"""Tasks of one transaction; a flow that has more goes alone, as it goes whole."""
PAUSE_S: Final = 0.02
"""Between transactions, so that others find the locks, and on SQLite the file, free."""


@dataclass(frozen=True)
class Pruned:
    """How many flows went, and how many tasks with them."""

    flows: int = 0
    tasks: int = 0

    def plus(self, rows: Sequence[Row[Any]]) -> Pruned:
        return Pruned(self.flows + len(rows), self.tasks + sum(row.task_count for row in rows))


def prune(
    db: Database,
    wanted: Wanted,
    *,
    by: str = "watcher",
    dry_run: bool = False,
    batch: int = FLOWS,
    pause_s: float = PAUSE_S,
    on_batch: Callable[[Pruned], None] = lambda pruned: None,
) -> Pruned:
    """Delete the flows that are wanted with all their rows, each flow as a whole, until none is left; with `dry_run`
    only count them. Flows that somebody is busy with are left out. That it was done, and `by` whom, is a record.

    Units: seconds; `batch` is the most flows of a transaction. Errors: BadRequest for numbers that make no sense.
    """
    if not 1 <= batch <= CHUNK:
        raise BadRequest("batch", f"{batch} is no number from 1 to {CHUNK}")
    if not wanted.older_than_s >= 0:
        raise BadRequest("older_than_s", f"{wanted.older_than_s:g} is less than no time")
    pruned = Pruned()
    for rows in _pages(db, wanted, batch):
        for part in in_batches(rows, batch):
            if dry_run:
                pruned = pruned.plus(part)
            else:
                pruned = pruned.plus(delete_batch(db, wanted, part, by))
                time.sleep(pause_s)
            on_batch(pruned)
    if pruned.flows and not dry_run:
        db.transact(lambda conn: history.record(conn, [_deed(wanted, pruned, by)]))
    return pruned


def _deed(wanted: Wanted, pruned: Pruned, by: str) -> history.Event:
    of = {} if wanted.task_id is None else {"workflow": wanted.task_id}
    figures: dict[str, Any] = {"flows": pruned.flows, "tasks": pruned.tasks, "older_than_s": wanted.older_than_s}
    return history.deed("flows deleted", by, **figures, **of)


def delete_batch(db: Database, wanted: Wanted, rows: Sequence[Row[Any]], by: str) -> list[Row[Any]]:
    """Delete these candidates in one transaction, `by` whom is for the record. Returns those that went."""
    flow_ids = [row.task_flow_id for row in rows]
    return db.transact(lambda conn: delete_flows(conn, db, wanted, flow_ids, by))


def _pages(db: Database, wanted: Wanted, size: int) -> Iterator[list[Row[Any]]]:
    """The candidates, page by page, each with its sub-flows behind it."""
    after: Place | None = None
    while True:
        with db.read() as conn:
            due = candidates.due(conn, wanted)
            rows = candidates.page(conn, due, after, size)
            below = candidates.descendants(conn, due, {row.task_flow_id for row in rows}) if rows else []
        if not rows:
            return
        after = candidates.place_of(rows[-1], wanted)
        yield [*rows, *below]


def in_batches(rows: Iterable[Row[Any]], most: int) -> Iterator[list[Row[Any]]]:
    """The rows in order, so many that a transaction stays short."""
    batch: list[Row[Any]] = []
    tasks = 0
    for row in rows:
        if batch and (len(batch) >= most or tasks + row.task_count > TASKS):
            yield batch
            batch, tasks = [], 0
        batch.append(row)
        tasks += row.task_count
    if batch:
        yield batch
