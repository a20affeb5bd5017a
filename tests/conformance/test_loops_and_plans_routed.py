"""Loops, plans and branches together, as the definition rows say them, settled by the engine alone."""

from __future__ import annotations

from typing import Any

import pytest
from factories import claim, define_graph, enlisted, flow, rows, settle_as, sql, start, task, tasks
from graphs import play
from invariants import hold
from sqlalchemy import insert

from engine import control
from engine.database import Database
from engine.growth import plan_checks
from engine.settle import Settlement
from engine.states import Reason, Status
from engine.tables import run_edge, task_edge
from programs.outcomes import Task

SKIPPED = (Status.IGNORE, Reason.SKIPPED)


@pytest.fixture(autouse=True)
def enlist_watcher(db: Database) -> None:
    enlisted(db)


def looped(db: Database, **back: Any) -> str:
    """1 -> 2 -> 3, with a loop from 2 back to 1, registered."""
    define_graph(db, "w", [(1, 2), (2, 3)])
    with db.transaction() as conn:
        ends = {"task_id": "w", "task_seq": 1, "depends_task_seq": 2, "kind": "loop"}
        conn.execute(insert(task_edge).values(**ends, **back))
    return start(db)


def steps(db: Database, flow_id: str) -> list[tuple[int, int, int]]:
    """(task_seq, iteration, exec_status), by run number."""
    return [(row.task_seq, row.iteration, row.exec_status) for row in tasks(db, flow_id)]


def test_a_loop_goes_round_while_its_condition_is_true(db: Database) -> None:
    flow_id = looped(db, only_if="iteration < 2")
    assert play(db) == [1, 2, 4, 5, 6, 7, 3]
    done = Status.FINISH
    assert steps(db, flow_id) == [
        (1, 0, done),
        (2, 0, done),
        (3, 0, done),
        *[(n, i, done) for i in (1, 2) for n in (1, 2)],
    ]
    row = flow(db, flow_id)
    assert (row.flow_status, row.task_count, row.finish_count) == (Status.FINISH, 7, 7)
    hold(db, at_rest=True)


def test_a_loop_decides_by_the_result(db: Database) -> None:
    flow_id = looped(db, only_if="result.more")
    assert play(db, {2: {"result": '{"more":true}'}, 5: {"result": '{"more":false}'}}) == [1, 2, 4, 5, 3]
    assert [row.outcome for row in rows(db, run_edge) if row.kind == "loop"] == ["looped", None]
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_a_loop_that_goes_on_for_ever_is_stopped_and_may_be_allowed_more(db: Database) -> None:
    flow_id = looped(db, max_iterations=2)
    assert play(db) == [1, 2, 4, 5, 6, 7]
    row = task(db, (flow_id, 7))
    assert (row.exec_status, row.reason) == (Status.SUSPEND, Reason.LOOP_LIMIT)
    assert row.error == "the loop from step 2 back to step 1 was taken as often as its max_iterations allow: 2"
    assert task(db, (flow_id, 3)).exec_status == Status.WAIT
    hold(db)
    sql(db, "UPDATE kr_task_edge SET only_if = 'false'")
    assert control.recover(db, flow_id, actor="me") == [7]
    assert play(db) == [7, 3]
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_a_loop_whose_condition_cannot_be_worked_out(db: Database) -> None:
    flow_id = looped(db, only_if="result.more")
    assert play(db, {2: {"result": '{"mroe":true}'}}) == [1, 2]
    row = task(db, (flow_id, 2))
    assert (row.exec_status, row.reason) == (Status.SUSPEND, Reason.BAD_CONDITION)
    assert "a loop back from task 2" in row.error
    assert "more" in row.error
    control.recover(db, flow_id, actor="me")
    assert play(db, {2: {"result": '{"more":false}'}}) == [2, 3]
    hold(db, at_rest=True)


def test_a_choice_or_a_failure_does_not_go_back(db: Database) -> None:
    flow_id = looped(db)
    assert play(db, {2: {"choose": (3,)}}) == [1, 2, 3]
    assert flow(db, flow_id).flow_status == Status.FINISH
    other = start(db)
    assert play(db, {2: {"kind": "suspend", "reason": "failed", "error": "no"}}) == [1, 2]
    assert len(tasks(db, other)) == 3
    hold(db)


def test_a_flow_with_a_loop_runs_again_from_its_beginning(db: Database) -> None:
    flow_id = looped(db, only_if="iteration < 1")
    assert play(db) == [1, 2, 4, 5, 3]
    assert control.rerun_all(db, flow_id, actor="me") == [1, 2, 3]
    assert play(db) == [1, 2, 6, 7, 3]
    assert [row.reason for row in tasks(db, flow_id)[3:5]] == [Reason.SUPERSEDED] * 2
    assert task(db, (flow_id, 3)).started_ts >= task(db, (flow_id, 7)).finished_ts
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_a_branch_that_a_planner_does_not_take_does_not_wait_for_its_plan(db: Database) -> None:
    define_graph(db, "w", [(1, 2), (1, 3), (2, 4), (3, 4)])
    sql(db, "UPDATE ms_task_edge SET only_if = 'result > 5' WHERE task_seq = 2")
    flow_id = start(db)
    [held] = claim(db)
    wish = plan_checks.check([Task("Noop"), Task("Noop")], join=True)
    settle_as(db, [Settlement(held, "finish", result="3", plan=wish)])
    row = task(db, (flow_id, 2))
    assert (row.exec_status, row.reason) == SKIPPED
    assert task(db, (flow_id, 3)).wait_count == 2
    hold(db)
    assert play(db) == [5, 6, 3, 4]
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)
