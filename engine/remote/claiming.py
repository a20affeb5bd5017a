"""Claims of remote workers: the tasks, with all that a program needs of them worked out."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, exists, select

from engine import leases
from engine.candidates import Offer
from engine.claim import claim_ready
from engine.claimed import ClaimedTask, claimed_under
from engine.database import Database
from engine.errors import BrokenPromise, OutcomeUnknown, PenstockError, UnknownWorker, concerns_all
from engine.graph.dependencies import DEFAULT_POLICY, Policy
from engine.limits.room import Limits
from engine.preparing import parameters
from engine.preparing.refusals import Refused
from engine.preparing.scoping import DatabaseScope
from engine.quarantine import refuse_unclaimable
from engine.remote import settling, workers
from engine.remote.workers import Worker
from engine.settling import making
from engine.settling.settlement import Settlement
from engine.tables import limit

MAX_AT_ONCE: Final = 500
_REQUESTS: Final = uuid.UUID("6f0c1a52-9c53-4a4e-9d2e-5d1f6a3d7c11")
"""Names of claims are made of what workers call their requests, in a space of their own."""


@dataclass(frozen=True)
class Given:
    """A task that a remote worker holds, and its parameters as a program is given them."""

    task: ClaimedTask
    own: dict[str, Any]
    of_flow: dict[str, Any]
    secrets: dict[str, Any]
    """Parameters that refer to secrets, as the definition says them: the worker looks them up where it runs."""


def _beat(conn: Connection, worker: Worker) -> None:
    workers.find(conn, worker.worker_id, lock=True)  # it may have left meanwhile
    if not leases.beat(conn, worker.worker_id, worker.lease_s):
        raise UnknownWorker(worker.worker_id)


def claim_id_of(worker_id: str, request: str) -> str:
    """The claim that this request of this worker makes: asked once more, it is the same."""
    return str(uuid.uuid5(_REQUESTS, f"{worker_id}/{request}"))


def take(
    db: Database,
    worker: Worker,
    claim_id: str,
    most: int,
    *,
    exclusive: bool = False,
    lives: Callable[[Connection, Worker], None] = _beat,
) -> list[ClaimedTask]:
    """Claim up to `most` tasks that the worker offers to run. Errors: UnknownWorker, if it was given up meanwhile.

    `exclusive`: also tasks that may not run twice at once: the worker ends them when its lease does. `lives` extends
    the worker's lease, in the transaction of the claim.
    """
    offer = Offer(only=worker.programs, exclusive=exclusive)

    def work(conn: Connection) -> list[ClaimedTask]:
        lives(conn, worker)
        limits = Limits(from_rows=bool(conn.scalar(select(exists(select(1).select_from(limit))))))
        return claim_ready(conn, db, worker.worker_id, claim_id, most, queues=worker.queues, limits=limits, offer=offer)

    try:
        return db.transact(work)
    except OutcomeUnknown:
        return taken_under(db, claim_id)
    except Exception as error:
        if concerns_all(error) or isinstance(error, UnknownWorker):
            raise
        if not refuse_unclaimable(db, worker.queues):
            raise error if isinstance(error, PenstockError) else BrokenPromise(f"a claim failed: {error!r}") from error
        return []


def taken_under(db: Database, claim_id: str) -> list[ClaimedTask]:
    """What a claim took whose answer was lost, as far as it still runs."""
    with db.read() as conn:
        return claimed_under(conn, claim_id)


def given(db: Database, worker_id: str, tasks: Sequence[ClaimedTask], policy: Policy = DEFAULT_POLICY) -> list[Given]:
    """The tasks with their parameters. Those that cannot be run as they stand are suspended, and left out."""
    read = DatabaseScope(db)
    found: list[Given] = []
    refused: list[Settlement] = []
    for task in tasks:
        try:
            found.append(Given(task, *parameters.prepared(task, read)))
        except Refused as error:
            refused.append(making.suspended(task, error.reason, error.words))
        except PenstockError:
            refused.append(making.released(task))
    if refused:
        settling.settle_each(db, worker_id, refused, policy)
    return found
