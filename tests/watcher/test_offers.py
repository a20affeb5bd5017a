"""Watchers with different programs: a roll-out brings new programs to one host after the other."""

from __future__ import annotations

from factories import define, sql, start, task
from waiting import until
from watching import Watch

from engine.database import Database
from penstock import program


@program("new")
def new() -> str:
    return "done"


def test_a_task_is_left_to_the_watcher_that_has_its_program(db: Database, watch: Watch) -> None:
    watch(new, interval_s=0.05)
    older = watch(interval_s=0.05, workers=50)
    define(db, program="new")
    flows = [start(db) for _ in range(30)]
    until(lambda: all(task(db, (flow, 1)).exec_status == 3 for flow in flows))
    assert {task(db, (flow, 1)).attempt for flow in flows} <= {0, 1}, "handing back is not charged"
    assert not any(task(db, (flow, 1)).reason for flow in flows)
    assert older.lives


def test_what_nobody_has_any_more_is_suspended(db: Database, watch: Watch) -> None:
    """The one that had it is gone: those who left its tasks alone take them back, to say so."""
    newer = watch(new, lease_s=1.0, heartbeat_s=0.3)
    older = watch(lease_s=1.0, heartbeat_s=0.3)
    until(lambda: older.watcher._offers.leave("new"))
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
