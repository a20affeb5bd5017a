"""Leases: a silent watcher loses its tasks, a living one does not, by the database's clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from factories import (
    claim,
    define,
    enlisted,
    finish,
    flow,
    kill_lease,
    rows,
    run_out,
    sql,
    start,
    states,
    task,
    together,
)
from invariants import hold
from patience import until
from sqlalchemy import select

from engine import leases, supervise
from engine.database import Database, open_database
from engine.states import Reason, Status
from engine.tables import attempt, event, task_stat, watcher


@pytest.fixture(autouse=True)
def workflow(db: Database) -> None:
    define(db, steps=2)


def test_tasks_of_a_silent_watcher_go_back(db: Database) -> None:
    flow_id = start(db)
    enlisted(db)
    claim(db)
    kill_lease(db)
    assert supervise.reap(db, grace_s=60) == 1
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.wait_count, row.reason, row.losses, row.attempt) == (0, 0, Reason.LAPSED, 1, 0)
    [lost] = rows(db, attempt)
    assert (lost.outcome, lost.accepted, lost.watcher_id, lost.claim_no) == ("lost", False, "watcher-1", 1)
    assert lost.lease_until_ts is not None
    assert [row.what for row in rows(db, event)] == ["task lapsed"]
    hold(db)
    enlisted(db, "watcher-2")
    run_out(db)
    hold(db, at_rest=True)


def test_a_watcher_that_dies_before_its_first_beat_loses_its_tasks(db: Database) -> None:
    """The lease begins with the row itself: there is no moment at which a watcher holds tasks for ever."""
    start(db)
    enlisted(db, lease_s=0.2)
    claim(db)
    taken_back(db)


@pytest.mark.parametrize("hours", [-1, 1])
def test_the_clock_of_a_watcher_decides_nothing(db: Database, hours: int) -> None:
    """It is an hour behind or ahead: its lease ends when the database says so, no earlier and no later."""
    start(db)
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours)):
        enlisted(db, lease_s=60)
        claim(db)
        assert supervise.reap(db, grace_s=0) == 0
        assert db.transact(lambda conn: leases.beat(conn, "watcher-1", 60))
        assert supervise.reap(db, grace_s=0) == 0
        assert db.transact(lambda conn: leases.beat(conn, "watcher-1", 0.2))
        taken_back(db)


def taken_back(db: Database) -> None:
    """Wait until the one running task has been taken back."""
    until(lambda: supervise.reap(db, grace_s=3600) == 1, 10, lambda: "its lease never ends")


def test_tasks_of_a_living_watcher_stay(db: Database) -> None:
    start(db)
    enlisted(db)
    claim(db)
    assert supervise.reap(db, grace_s=0) == 0
    enlisted(db, "other")
    kill_lease(db, "other")
    assert supervise.reap(db, grace_s=0) == 0


def test_only_the_silent_one_loses(db: Database) -> None:
    flows = [start(db) for _ in range(4)]
    enlisted(db, "a")
    enlisted(db, "b")
    mine = {item.key.flow_id for item in claim(db, 2, watcher_id="a")}
    claim(db, 2, watcher_id="b")
    kill_lease(db, "a")
    assert supervise.reap(db, grace_s=60) == 2
    assert {flow_id for flow_id in flows if states(db, flow_id)[0] == (0, 0)} == mine
    hold(db)


def test_tasks_of_a_watcher_whose_row_is_gone_go_back(db: Database) -> None:
    flow_id = start(db)
    enlisted(db)
    claim(db)
    sql(db, "DELETE FROM kr_watcher")
    assert supervise.reap(db, grace_s=60) == 1
    assert states(db, flow_id)[0] == (0, 0)


def test_a_task_that_ends_its_watchers_is_suspended(db: Database) -> None:
    flow_id = start(db)
    enlisted(db)
    for loss in range(1, 4):
        claim(db)
        kill_lease(db)
        assert supervise.reap(db, grace_s=60, max_losses=3) == 1
        row = task(db, (flow_id, 1))
        assert (row.exec_status, row.losses) == ((0, loss) if loss < 3 else (2, 3))
        hold(db)
    assert (row.reason, row.error) == (Reason.LOST, "lost its watcher 3 times: does it end it?")
    assert flow(db, flow_id).flow_status == Status.SUSPEND
    hold(db, at_rest=True)


def test_many_lapses_at_once(db: Database) -> None:
    for _ in range(250):
        start(db)
    enlisted(db)
    claim(db, 250)
    kill_lease(db)
    assert [supervise.reap(db, grace_s=60) for _ in range(3)] == [200, 50, 0]
    assert len(rows(db, attempt)) == 250
    hold(db)


def test_reapers_at_once_take_each_task_back_once(db: Database) -> None:
    for _ in range(60):
        start(db)
    enlisted(db)
    claim(db, 60)
    kill_lease(db)
    others = [open_database(db.url.render_as_string(hide_password=False)) for _ in range(3)]
    taken = together(*[lambda o=other: sum(supervise.reap(o, grace_s=60) for _ in range(3)) for other in others])
    for other in others:
        other.close()
    assert sum(taken) == 60
    assert {row.losses for row in rows(db, task_stat) if row.task_exec_seq == 1} == {1}
    assert len(rows(db, attempt)) == 60
    hold(db)


def test_a_lapse_of_a_claim_that_has_a_record_already(db: Database) -> None:
    """A person set a released row to RUNNING: its claim is on record, and lapses all the same."""
    flow_id = start(db)
    enlisted(db)
    from factories import settle_as

    from engine.settle import Settlement

    settle_as(db, [Settlement(claim(db)[0], "release")])
    sql(db, "UPDATE kr_task_stat SET exec_status = 1 WHERE task_exec_seq = 1")
    kill_lease(db)
    assert supervise.reap(db, grace_s=60) == 1
    assert states(db, flow_id)[0] == (0, 0)
    assert [kept.outcome for kept in rows(db, attempt)] == ["lost"]


def test_beats(db: Database) -> None:
    enlisted(db, lease_s=5)
    [before] = rows(db, watcher)
    with db.transaction() as conn:
        assert leases.beat(conn, "watcher-1", 100, state="draining") is True
        assert leases.beat(conn, "watcher-1", 100, state="draining") is True
    [after] = rows(db, watcher)
    assert after.beat_ts >= before.beat_ts
    assert (after.lease_until_ts - after.beat_ts).total_seconds() == pytest.approx(100, abs=1)
    assert (after.state, after.started_ts) == ("draining", before.started_ts)


def test_a_beat_without_a_row_says_so(db: Database) -> None:
    with db.transaction() as conn:
        assert leases.beat(conn, "nobody", 10) is False


def test_a_watcher_that_leaves_gives_its_tasks_up_at_once(db: Database) -> None:
    flow_id = start(db)
    enlisted(db)
    claim(db)
    db.transact(lambda conn: leases.leave(conn, "watcher-1"))
    assert supervise.reap(db, grace_s=60) == 1
    assert states(db, flow_id)[0] == (0, 0)


def test_the_dead_are_forgotten_after_a_day_unless_they_hold_something(db: Database) -> None:
    for name in ("old", "holder", "recent"):
        enlisted(db, name)
    start(db)
    claim(db, watcher_id="holder")
    sql(db, "UPDATE kr_watcher SET lease_until_ts = '2001-01-01 00:00:00' WHERE watcher_id <> 'recent'")
    assert db.transact(leases.forget_dead) == 1
    assert {row.watcher_id for row in rows(db, watcher)} == {"holder", "recent"}


def test_rows_that_name_a_watcher_which_does_not_run_them_are_given_back(db: Database) -> None:
    flow_id = start(db)
    start(db)
    enlisted(db)
    unknown, known = claim(db)
    with db.read() as conn:
        held = supervise.held_by(conn, "watcher-1")
        assert supervise.held_by(conn, "other") == set()
    assert held == {unknown.fence, known.fence}
    assert supervise.give_back(db, [unknown.fence]) == 1
    assert supervise.give_back(db, [unknown.fence]) == 0
    assert states(db, unknown.key.flow_id)[0] == (0, 0)
    assert finish(db, known)
    hold(db)
    assert flow_id


def test_the_clock_is_the_databases(db: Database) -> None:
    from engine.dialects.clock import later, now

    with db.read() as conn:
        first, second = conn.scalar(select(now())), conn.scalar(select(now()))
        assert first.tzinfo is not None
        assert first <= second
        ahead = conn.scalar(select(later(90.5)))
        assert (ahead - second).total_seconds() == pytest.approx(90.5, abs=1)
        assert conn.scalar(select(later(-1e12))) < second < conn.scalar(select(later(1e12)))
