"""Remote workers as rows of kr_watcher: how they come, give signs of life, and go."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, select

from engine import leases
from engine.database import Database
from engine.dialects.clock import later
from engine.errors import UnknownWorker
from engine.ids import new_claim_id
from engine.keys import KEY_COLUMNS, Fence, among, chunks
from engine.states import Reason
from engine.supervise.holdings import held_by
from engine.tables import IS_RUNNING, task_stat, watcher
from engine.transitions import move

PREFIX: Final = "remote-"
"""How the ids of remote workers begin: over HTTP nobody acts as one of the watchers that run here."""
UNTOLD_S: Final = 60.0
"""Seconds after which an answer to a claim has arrived or never will."""


@dataclass(frozen=True)
class Worker:
    """A remote worker as its row says it. Units: lease_s in seconds."""

    worker_id: str
    queues: tuple[str, ...]
    programs: frozenset[str]
    slots: int
    lease_s: float


@dataclass(frozen=True)
class Beaten:
    """What a beat tells the worker: claims that are no longer its own, and whether it should take no more."""

    lease_s: float
    lost: list[Fence] = field(default_factory=list)
    drain: bool = False


def enlist(
    db: Database,
    *,
    queues: Collection[str],
    programs: Collection[str],
    slots: int,
    lease_s: float,
    host: str,
    label: str = "",
    pid: int | None = None,
) -> str:
    """Make the row of a worker, and answer with its id. Units: lease_s in seconds."""
    worker_id = PREFIX + new_claim_id()
    facts: dict[str, Any] = {"label": label, "slots": slots, "queues": tuple(queues), "programs": programs}
    db.transact(lambda conn: leases.enlist(conn, worker_id, lease_s, host=host, pid=pid, **facts))
    return worker_id


def find(conn: Connection, worker_id: str, *, lock: bool = False) -> Worker:
    """`lock`: before the worker is given or leaves anything, as it may claim and leave at once: what it claims after
    one has looked at what it holds would stay with it. Errors: UnknownWorker, also for one that has left."""
    query = select(watcher).where(watcher.c.watcher_id == worker_id, watcher.c.state != "stopped")
    row = conn.execute(query.with_for_update() if lock else query).first()  # SQLite's writers take turns anyway
    if row is None or not worker_id.startswith(PREFIX):
        raise UnknownWorker(worker_id)
    lease_s = round((row.lease_until_ts - row.beat_ts).total_seconds(), 2)  # the two were written a moment apart
    programs = frozenset(leases.names_in(row.programs or "[]"))
    return Worker(worker_id, tuple((row.queues or "").split(",")), programs, row.slots, lease_s)


def wanted(conn: Connection, worker_id: str) -> str | None:
    """What an operator wants of a worker: `drain`, or nothing."""
    found: str | None = conn.scalar(select(watcher.c.wanted).where(watcher.c.watcher_id == worker_id))
    return found


def beat(db: Database, worker_id: str, holding: Collection[Fence] | None) -> Beaten:
    """Extend the lease. `holding` is all that the worker runs: what of it is no longer its own is `lost`, and what the
    rows say that it runs and it does not name, although it must have heard of it, goes back to waiting, uncharged.

    Errors: UnknownWorker: enlist again.
    """

    def work(conn: Connection) -> Beaten:
        worker = find(conn, worker_id, lock=True)
        drain = wanted(conn, worker_id) == leases.DRAIN
        if not leases.beat(conn, worker_id, worker.lease_s, state="draining" if drain else "running"):
            raise UnknownWorker(worker_id)
        if holding is None:
            return Beaten(worker.lease_s, drain=drain)
        held = held_by(conn, worker_id)
        if forgotten := _long_known(conn, held - set(holding)):
            move(conn, "release", forgotten, reason=Reason.RELEASED)
            db.dialect.notify(conn)
        return Beaten(worker.lease_s, sorted(set(holding) - held), drain)

    return db.transact(work)


def leave(db: Database, worker_id: str) -> int:
    """End the lease; what the worker still holds goes back to waiting, uncharged. Returns how many tasks did."""

    def work(conn: Connection) -> int:
        find(conn, worker_id, lock=True)
        held = held_by(conn, worker_id)
        moved = move(conn, "release", held, reason=Reason.RELEASED) if held else 0
        leases.leave(conn, worker_id)
        if moved:
            db.dialect.notify(conn)
        return moved

    return db.transact(work)


def _long_known(conn: Connection, fences: Collection[Fence]) -> list[Fence]:
    """Those of these claims that were made so long ago that the worker must know of them."""
    found: list[Fence] = []
    for part in chunks(sorted(fences)):
        old = task_stat.c.started_ts < later(-UNTOLD_S)
        query = select(*KEY_COLUMNS, task_stat.c.claim_id).where(among(part), IS_RUNNING, old)
        found += [Fence(*row) for row in conn.execute(query)]
    return found
