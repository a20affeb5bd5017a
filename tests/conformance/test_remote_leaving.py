"""A remote worker that leaves while it claims: nothing stays with one that is gone."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from factories import define, start, task
from sqlalchemy import Connection

from engine import leases
from engine.claimed import ClaimedTask
from engine.database import Database
from engine.errors import UnknownWorker
from engine.ids import new_claim_id
from engine.keys import Key
from engine.remote import claiming, workers
from engine.remote.workers import Worker

MOMENT_S = 0.3
"""For the other one to come as far as it can."""


def enlisted(db: Database) -> Worker:
    worker_id = workers.enlist(db, queues=["default"], programs=["Noop"], slots=1, lease_s=60, host="far")
    with db.read() as conn:
        return workers.find(conn, worker_id)


def test_what_is_claimed_while_the_worker_leaves_goes_back(db: Database) -> None:
    define(db)
    key = Key(start(db), 1)
    worker = enlisted(db)
    is_claiming, may_claim = threading.Event(), threading.Event()

    def lives(conn: Connection, it: Worker) -> None:
        claiming._beat(conn, it)
        is_claiming.set()
        assert may_claim.wait(20)

    with ThreadPoolExecutor() as pool:
        claimed = pool.submit(claiming.take, db, worker, new_claim_id(), 1, lives=lives)
        assert is_claiming.wait(20)
        left = pool.submit(workers.leave, db, worker.worker_id)
        threading.Timer(MOMENT_S, may_claim.set).start()
        assert [one.key for one in claimed.result(20)] == [key]
        assert left.result(20) == 1, "it saw what was claimed meanwhile"
    assert task(db, key).exec_status == 0
    assert task(db, key).reason == "released"


def test_a_claim_that_waited_for_the_worker_to_leave_takes_nothing(db: Database) -> None:
    define(db)
    key = Key(start(db), 1)
    worker = enlisted(db)

    claims: list[Future[list[ClaimedTask]]] = []

    def leave_slowly(conn: Connection) -> None:
        workers.find(conn, worker.worker_id, lock=True)
        claims.append(pool.submit(claiming.take, db, worker, new_claim_id(), 1))
        time.sleep(MOMENT_S)
        leases.leave(conn, worker.worker_id)

    with ThreadPoolExecutor() as pool:
        db.transact(leave_slowly)
        with pytest.raises(UnknownWorker):
            claims[0].result(20)
    assert task(db, key).exec_status == 0
    with db.read() as conn, pytest.raises(UnknownWorker):
        workers.find(conn, worker.worker_id)
