"""Watchers with different programs: a roll-out brings new programs to one host after the other."""

from __future__ import annotations

import threading

import pytest
from factories import define, insert_task, sql, start, task
from patience import until
from watching import Watch

from engine.database import Database
from engine.ids import new_claim_id
from engine.remote import claiming, settling, workers
from engine.remote.outcomes import Finish
from engine.remote.settling import Answer, Told
from penstock import program

pytestmark = pytest.mark.by_turns


@program("new")
def new() -> str:
    return "done"


def test_a_task_is_left_to_the_watcher_that_has_its_program(db: Database, watch: Watch) -> None:
    """The newer one is busy at first, so the tasks fall to the older one."""
    free = threading.Event()

    @program("busy")
    def busy() -> None:
        free.wait(20)

    newer = watch(new, busy, workers=1, ahead_s=0.0)
    insert_task(db, "busy", program="busy")
    until(lambda: task(db, ("busy", 1)).exec_status == 1)
    older = watch()
    define(db, program="new")
    flows = [start(db) for _ in range(5)]
    until(lambda: older.watcher._offers.own.without == {"default": {"new"}} and not older.watcher._pool.slots)
    free.set()
    until(lambda: all(task(db, (flow, 1)).exec_status == 3 for flow in flows))
    assert {task(db, (flow, 1)).attempt for flow in flows} == {1}, "handing back is not charged"
    assert {task(db, (flow, 1)).owner for flow in flows} == {newer.id}


def test_what_nobody_has_any_more_is_suspended(db: Database, watch: Watch) -> None:
    """The one that had it is gone: those who left its tasks alone take them back, to say so."""
    newer = watch(new, lease_s=1.0, heartbeat_s=0.3)
    older = watch(lease_s=1.0, heartbeat_s=0.3)
    until(lambda: older.watcher._offers.leave("new", "default"))
    newer.stop()
    define(db, program="new")
    flow = start(db)
    until(lambda: task(db, (flow, 1)).exec_status == 2)
    assert task(db, (flow, 1)).reason == "unknown program"


def test_who_serves_other_queues_is_no_other(db: Database, watch: Watch) -> None:
    watch(new, queues=("elsewhere",))
    watch()
    define(db, program="new")
    flow = start(db)
    until(lambda: task(db, (flow, 1)).exec_status == 2)
    assert task(db, (flow, 1)).reason == "unknown program"


def test_a_list_of_programs_that_a_person_has_spoilt(db: Database, watch: Watch) -> None:
    other = watch(new)
    watch()
    until(lambda: bool(other.watcher._heartbeat.holds))
    sql(db, "UPDATE kr_watcher SET programs = '{oh no' ")
    define(db, program="missing")
    flow = start(db)
    until(lambda: task(db, (flow, 1)).exec_status == 2)
    assert task(db, (flow, 1)).reason == "unknown program"


def test_a_task_is_left_to_a_remote_worker_that_serves_its_queue(db: Database, watch: Watch) -> None:
    """Of the watcher's two queues the worker serves one: there its program is known, and in the other it is not."""
    worker_id = workers.enlist(db, queues=["gpu"], programs=["new"], slots=1, lease_s=60, host="far")
    watcher = watch(queues=("default", "gpu"))
    for queue in ("gpu", "default"):
        insert_task(db, queue, program="new", queue=queue, wait_count=0)
    until(lambda: task(db, ("default", 1)).exec_status == 2)
    assert task(db, ("default", 1)).reason == "unknown program"
    until(lambda: watcher.watcher._offers.own.without == {"gpu": {"new"}} and not watcher.watcher._pool.slots)
    assert task(db, ("gpu", 1)).exec_status == 0
    with db.read() as conn:
        worker = workers.find(conn, worker_id)
    (held,) = claiming.take(db, worker, new_claim_id(), 5)
    told = Told(held.fence, held.attempt, Finish("done"))
    assert settling.settle_told(db, worker_id, [told]) == [Answer.SETTLED]
    assert (task(db, ("gpu", 1)).owner, task(db, ("gpu", 1)).attempt) == (worker_id, 1)
