"""Cancelling a flow, taking it back, and pausing a flow as a whole."""

from __future__ import annotations

import json

import pytest
from factories import (
    claim,
    define,
    define_graph,
    enlisted,
    finish,
    flow,
    rows,
    run_all,
    settle_as,
    sql,
    start,
    states,
    task,
    tasks,
)
from invariants import hold
from sqlalchemy import insert, select

from engine import control
from engine.database import Database
from engine.dialects.clock import now
from engine.errors import Conflict, UnknownFlow
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.states import Reason, Status
from engine.tables import attempt, event, task_stat, wait


@pytest.fixture
def chain(db: Database) -> str:
    """A flow of four tasks: the first finished, the second running, the third paused, the last waiting."""
    define(db, steps=4)
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db), result='"kept"')
    control.pause(db, flow_id, [3], actor="ann")
    return flow_id


def open_wait(db: Database, key: Key, wait_id: str = "w1") -> None:
    row = {"wait_id": wait_id, "task_flow_id": key.flow_id, "task_exec_seq": key.seq, "kind": "approval"}
    with db.transaction() as conn:
        conn.execute(insert(wait).values(**row, created_ts=now()))


def sub_flow(db: Database, parent: Key, flow_id: str) -> str:
    start(db, flow_id=flow_id)
    of = {"parent": parent.flow_id, "seq": parent.seq, "flow": flow_id}
    sql(db, "UPDATE kr_flow_stat SET parent_flow_id = :parent, parent_exec_seq = :seq WHERE task_flow_id = :flow", **of)
    return flow_id


def test_cancel_closes_what_is_open_at_once(db: Database, chain: str) -> None:
    """W21: ready, blocked and paused ones at once, the finished one untouched, the running one told."""
    (held,) = claim(db)
    first = task(db, Key(chain, 1))
    assert control.cancel(db, chain, actor="ann", note="wrong month") == [2, 3, 4]
    assert states(db, chain) == [(3, -1), (9, -1), (9, -1), (9, -1)]
    assert {row.reason for row in tasks(db, chain)[1:]} == {Reason.CANCELLED}
    ended = flow(db, chain)
    assert (ended.flow_status, ended.reason) == (Status.IGNORE, Reason.CANCELLED)
    assert (ended.finish_count, ended.ignore_count, ended.suspend_count) == (1, 3, 0)
    assert ended.finished_ts is not None
    assert task(db, Key(chain, 1)) == first
    hold(db, at_rest=True)
    assert finish(db, held, result='"late"').verdicts == [Verdict.STALE]  # later completions do not revive
    assert states(db, chain) == [(3, -1), (9, -1), (9, -1), (9, -1)]
    assert task(db, Key(chain, 2)).result is None
    assert flow(db, chain) == ended
    assert claim(db) == []
    hold(db, at_rest=True)


def test_cancel_records_the_try_that_it_takes_away(db: Database, chain: str) -> None:
    (held,) = claim(db)
    control.cancel(db, chain, actor="ann")
    (row,) = rows(db, attempt)
    assert (row.claim_id, row.outcome, row.accepted, row.error) == (
        held.claim_id,
        "stale",
        False,
        "cancelled by ann while it ran",
    )
    settle_as(db, [Settlement(held, "finish", log="it came too late")])
    (row,) = rows(db, attempt)
    assert (row.outcome, row.accepted, row.log) == ("stale", False, "it came too late")
    assert row.claimed_ts is not None


def test_cancel_is_recorded_once_a_flow(db: Database, chain: str) -> None:
    claim(db)
    control.cancel(db, chain, actor="ann", note="wrong month")
    (told,) = [row for row in rows(db, event) if row.what == "flow cancelled"]
    assert (told.task_flow_id, told.task_exec_seq, told.actor) == (chain, 0, "ann")
    assert json.loads(told.details) == {"tasks": 3, "running": 1, "note": "wrong month"}


def test_cancel_of_what_has_ended_is_refused(db: Database, chain: str) -> None:
    control.cancel(db, chain, actor="ann")
    before = flow(db, chain)
    with pytest.raises(Conflict, match=f"flow '{chain}' has ended: .*run_again"):
        control.cancel(db, chain, actor="ann")
    assert flow(db, chain) == before
    define(db, "short")
    done = start(db, "short")
    run_all(db)
    with pytest.raises(Conflict, match="has ended"):
        control.cancel(db, done, actor="ann")
    assert flow(db, done).reason is None
    with pytest.raises(UnknownFlow, match="nowhere"):
        control.cancel(db, "nowhere", actor="ann")


def test_cancel_of_a_flow_that_has_not_begun(db: Database) -> None:
    define_graph(db, "g", [(1, 2), (1, 3), (2, 4), (3, 4)])
    flow_id = start(db, "g")
    assert control.cancel(db, flow_id, actor="ann") == [1, 2, 3, 4]
    assert flow(db, flow_id).flow_status == Status.IGNORE
    assert claim(db) == []
    hold(db, at_rest=True)


def test_cancel_closes_open_waits_and_times(db: Database, chain: str) -> None:
    (held,) = claim(db)
    settle_as(db, [Settlement(held, "again", delay_s=3600)])
    sql(db, "UPDATE kr_task_stat SET wait_count = wait_count + 1 WHERE task_exec_seq = 4")
    open_wait(db, Key(chain, 4))
    hold(db)
    control.cancel(db, chain, actor="ann")
    assert task(db, Key(chain, 2)).due_ts is None
    (closed,) = rows(db, wait)
    assert closed.state == "cancelled"
    assert closed.closed_ts is not None


def test_sub_flows_are_cancelled_with_their_parent_at_any_depth(db: Database, chain: str) -> None:
    child = sub_flow(db, Key(chain, 2), "~child")
    grandchild = sub_flow(db, Key(child, 1), "~grandchild")
    ended = sub_flow(db, Key(child, 1), "~ended")
    for seq in (1, 2, 3, 4):
        control.finish(db, ended, seq, actor="ann")
    other = start(db)
    assert control.cancel(db, chain, actor="ann") == [2, 3, 4]
    for flow_id in (child, grandchild):
        assert (flow(db, flow_id).flow_status, flow(db, flow_id).reason) == (Status.IGNORE, Reason.CANCELLED)
        assert states(db, flow_id) == [(9, -1)] * 4
    assert (flow(db, ended).flow_status, flow(db, ended).reason) == (Status.FINISH, None)
    assert flow(db, other).flow_status == Status.WAIT
    told = {row.task_flow_id for row in rows(db, event) if row.what == "flow cancelled"}
    assert told == {chain, child, grandchild}
    hold(db)


def test_a_sub_flow_is_cancelled_alone(db: Database, chain: str) -> None:
    child = sub_flow(db, Key(chain, 2), "~child")
    control.cancel(db, child, actor="ann")
    assert flow(db, child).flow_status == Status.IGNORE
    assert flow(db, chain).flow_status == Status.SUSPEND
    hold(db)


def test_flows_that_are_their_own_ancestors_do_not_hang_it(db: Database, chain: str) -> None:
    child = sub_flow(db, Key(chain, 2), "~child")
    of = {"parent": child, "flow": chain}
    sql(db, "UPDATE kr_flow_stat SET parent_flow_id = :parent, parent_exec_seq = 1 WHERE task_flow_id = :flow", **of)
    control.cancel(db, chain, actor="ann")
    assert {flow(db, flow_id).flow_status for flow_id in (chain, child)} == {Status.IGNORE}
    hold(db)


def test_another_reason_in_the_callers_transaction(db: Database, chain: str) -> None:
    done = start(db)
    control.cancel(db, done, actor="ann")
    with db.transaction() as conn:
        ended = control.cancel_flows(conn, db, [chain, done, "gone"], actor="watcher", reason=Reason.TIMED_OUT)
    assert ended == [chain]
    assert flow(db, chain).reason == Reason.TIMED_OUT
    assert flow(db, done).reason == Reason.CANCELLED
    hold(db)


def test_recover_takes_a_cancelled_flow_back(db: Database, chain: str) -> None:
    """What had finished keeps its times, what had not runs; W21's later completion still changes nothing."""
    (held,) = claim(db)
    first = task(db, Key(chain, 1))
    control.cancel(db, chain, actor="ann")
    assert control.recover(db, chain, actor="ann") == [2, 3, 4]
    assert states(db, chain) == [(3, -1), (0, 0), (0, 1), (0, 1)]
    again = flow(db, chain)
    assert (again.flow_status, again.reason, again.finished_ts) == (Status.RUNNING, None, None)
    assert finish(db, held).verdicts == [Verdict.STALE]
    hold(db)
    assert run_all(db) == [Key(chain, 2), Key(chain, 3), Key(chain, 4)]
    assert task(db, Key(chain, 1)) == first
    assert flow(db, chain).flow_status == Status.FINISH
    assert [row.generation for row in tasks(db, chain)] == [0, 1, 1, 1]
    hold(db, at_rest=True)


def test_retry_of_a_blocked_task_that_was_cancelled_goes_back_to_blocked(db: Database) -> None:
    """W19: never ready while its prerequisites are unmet."""
    define(db, steps=3)
    flow_id = start(db)
    enlisted(db)
    control.cancel(db, flow_id, actor="ann")
    with pytest.raises(Conflict, match=r"task 3 of flow .* is behind task 2, cancelled too: retry these as well"):
        control.retry(db, flow_id, [3], actor="ann")
    assert control.retry(db, flow_id, [1, 2], actor="ann") == [1, 2]
    assert states(db, flow_id) == [(0, 0), (0, 1), (9, -1)]
    assert flow(db, flow_id).reason == Reason.CANCELLED, "one task of it still stands cancelled"
    hold(db)
    assert control.retry(db, flow_id, [3], actor="ann") == [3]
    assert states(db, flow_id) == [(0, 0), (0, 1), (0, 1)]
    assert flow(db, flow_id).reason is None
    assert run_all(db) == [Key(flow_id, 1), Key(flow_id, 2), Key(flow_id, 3)]
    hold(db, at_rest=True)


def test_a_flow_ends_as_cancelled_while_a_task_of_it_stays_so(db: Database) -> None:
    define_graph(db, "g", [(1, 2), (1, 3)])
    flow_id = start(db, "g")
    enlisted(db)
    control.cancel(db, flow_id, actor="ann")
    control.retry(db, flow_id, [1, 2], actor="ann")
    run_all(db)
    ended = flow(db, flow_id)
    assert (ended.flow_status, ended.reason) == (Status.IGNORE, Reason.CANCELLED)
    assert ended.finished_ts is not None
    hold(db, at_rest=True)


def test_pause_of_a_flow_and_its_end(db: Database) -> None:
    """W16: what is paused is not handed out; what failed is not set going by the end of the pause."""
    define_graph(db, "g", [(1, 3), (2, 4)])
    flow_id = start(db, "g")
    enlisted(db)
    failing, finishing = claim(db)
    settle_as(db, [Settlement(failing, "suspend", reason=Reason.FAILED, error="x")])
    assert control.pause_flow(db, flow_id, actor="ann", note="night") == [3, 4]
    finish(db, finishing)
    assert claim(db) == []
    assert states(db, flow_id) == [(2, 0), (3, -1), (2, 1), (2, 0)]
    assert control.resume_flow(db, flow_id, actor="ann") == [3, 4]
    assert states(db, flow_id) == [(2, 0), (3, -1), (0, 1), (0, 0)]
    assert task(db, Key(flow_id, 1)).reason == Reason.FAILED
    hold(db)


def test_a_pause_keeps_the_time_that_a_task_waits_for(db: Database) -> None:
    define(db)
    flow_id = start(db)
    enlisted(db)
    settle_as(db, [Settlement(claim(db)[0], "again", delay_s=3600)])
    due = task(db, Key(flow_id, 1)).due_ts
    control.pause_flow(db, flow_id, actor="ann")
    control.resume_flow(db, flow_id, actor="ann")
    row = task(db, Key(flow_id, 1))
    assert (row.exec_status, row.wait_count, row.due_ts) == (Status.WAIT, 1, due)
    assert claim(db) == []
    hold(db)


def test_the_database_agrees_on_who_is_open(db: Database, chain: str) -> None:
    """Nothing of a cancelled flow is left in the indexes that watchers ask."""
    control.cancel(db, chain, actor="ann")
    with db.read() as conn:
        left = conn.execute(select(task_stat.c.task_exec_seq).where(task_stat.c.exec_status.in_([0, 1, 2]))).all()
    assert left == []
