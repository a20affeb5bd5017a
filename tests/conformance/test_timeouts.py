"""Time-outs in the engine: what a claim says of a try's time, and flows whose time is over by the database's clock."""

from __future__ import annotations

from typing import Any

from factories import (
    claim,
    define,
    define_graph,
    enlisted,
    finish,
    flow,
    rows,
    settle_as,
    sql,
    start,
    states,
    task,
    tasks,
)
from invariants import hold
from sqlalchemy import insert

from engine import lookout, supervise
from engine.database import Database
from engine.ending.deadlines import end_overdue
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.states import Reason, Status
from engine.tables import event, task_option, wait, workflow
from engine.wishes import WaitWish


def timed(db: Database, timeout_s: float = 3600, task_id: str = "w", **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id=task_id, timeout_s=timeout_s, **columns))


def let_time_pass(db: Database, flow_id: str) -> None:
    """The deadline of the flow is over by the database's clock."""
    sql(db, "UPDATE kr_flow_stat SET deadline_ts = registered_ts WHERE task_flow_id = :flow", flow=flow_id)


def seen(db: Database) -> lookout.Seen:
    with db.read() as conn:
        return lookout.look(conn, ["default"])


def test_a_claim_says_how_long_a_try_may_take(db: Database) -> None:
    define(db, steps=2)
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id="w", task_seq=1, timeout_s=2.5))
    start(db)
    enlisted(db)
    [first] = claim(db)
    assert first.timeout_s == 2.5
    finish(db, first)
    assert claim(db)[0].timeout_s is None


def test_a_try_that_ran_out_of_time_says_so(db: Database) -> None:
    define(db)
    flow_id = start(db)
    enlisted(db)
    [held] = claim(db)
    settle_as(db, [Settlement(held, "suspend", reason=Reason.TIMED_OUT, error="it did not end within 1 seconds")])
    row = task(db, Key(flow_id, 1))
    assert (row.exec_status, row.reason) == (Status.SUSPEND, Reason.TIMED_OUT)
    assert settle_as(db, [Settlement(held, "finish")]).verdicts == [Verdict.STALE]
    hold(db)


def test_the_look_knows_the_next_deadline(db: Database) -> None:
    define(db)
    define(db, "soon")
    timed(db, 3600)
    timed(db, 60, "soon")
    assert seen(db).next_deadline_s is None
    start(db)
    start(db, "soon")
    ahead = seen(db).next_deadline_s
    assert ahead is not None
    assert 50 < ahead <= 60
    assert not seen(db).overdue
    assert end_overdue(db) == 0


def test_an_overdue_flow_is_cancelled(db: Database) -> None:
    define_graph(db, "w", [(1, 2), (1, 3), (2, 4), (3, 4)])
    timed(db)
    flow_id, other = start(db), start(db)
    enlisted(db)
    finish(db, *[held for held in claim(db) if held.key.flow_id == flow_id])
    running, waiting = [held for held in claim(db) if held.key.flow_id == flow_id]
    settle_as(db, [Settlement(waiting, "await", wait=WaitWish("approval", "may we?"))])
    let_time_pass(db, flow_id)
    assert seen(db).overdue
    assert end_overdue(db) == 1
    made = flow(db, flow_id)
    assert (made.flow_status, made.reason, made.deadline_ts) == (Status.IGNORE, Reason.TIMED_OUT, None)
    assert made.finished_ts is not None
    assert states(db, flow_id) == [(3, -1), (9, -1), (9, -1), (9, -1)]
    assert {row.reason for row in tasks(db, flow_id)[1:]} == {Reason.CANCELLED}
    assert [row.state for row in rows(db, wait)] == ["cancelled"]
    assert settle_as(db, [Settlement(running, "finish")]).verdicts == [Verdict.STALE]
    assert flow(db, other).flow_status == Status.RUNNING
    assert end_overdue(db) == 0
    assert not seen(db).overdue
    hold(db)


def test_a_flow_that_ended_in_time_has_no_deadline_any_more(db: Database) -> None:
    define(db)
    timed(db)
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db))
    assert flow(db, flow_id).deadline_ts is None
    assert seen(db).next_deadline_s is None


def test_a_suspended_flow_runs_out_of_time_too(db: Database) -> None:
    define(db, steps=2)
    timed(db)
    flow_id = start(db)
    enlisted(db)
    [held] = claim(db)
    settle_as(db, [Settlement(held, "suspend", reason=Reason.FAILED, error="no luck")])
    let_time_pass(db, flow_id)
    assert end_overdue(db) == 1
    assert flow(db, flow_id).flow_status == Status.IGNORE
    hold(db, at_rest=True)


def test_a_deadline_set_by_hand_counts(db: Database) -> None:
    define(db)
    flow_id = start(db)
    let_time_pass(db, flow_id)
    assert end_overdue(db) == 1
    assert flow(db, flow_id).reason == Reason.TIMED_OUT


def test_many_overdue_flows_take_several_sweeps(db: Database) -> None:
    define(db)
    timed(db)
    for _ in range(60):
        let_time_pass(db, start(db))
    assert [end_overdue(db) for _ in range(3)] == [50, 10, 0]
    assert len([row for row in rows(db, event) if row.what == "flow cancelled"]) == 60
    hold(db)


def test_a_retry_waits_no_longer_than_its_flow(db: Database) -> None:
    define(db)
    timed(db)
    flow_id = start(db)
    enlisted(db)
    [held] = claim(db)
    settle_as(db, [Settlement(held, "retry", error="later", delay_s=0)])
    let_time_pass(db, flow_id)
    assert end_overdue(db) == 1
    assert supervise.fire_due(db) == 0
    assert claim(db) == []
    hold(db, at_rest=True)
