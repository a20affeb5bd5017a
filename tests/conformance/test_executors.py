"""`executor` and `is_exclusive`: from a definition, a plan or a loop into the run row, and from there to the claim."""

from __future__ import annotations

from typing import Any

import pytest
from factories import (
    by_hand,
    claim,
    define,
    define_graph,
    enlisted,
    finish,
    flow,
    insert_task,
    kill_lease,
    settle_as,
    sql,
    start,
    sweep,
    tasks,
)
from invariants import hold
from sqlalchemy import insert

from engine import supervise
from engine.control import recover
from engine.database import Database
from engine.errors import BadDefinition
from engine.flows import Registration, register
from engine.growth import plan_checks
from engine.settle import Settlement
from engine.tables import task_edge, task_option
from penstock import Task

PROCESS = {"executor": "process", "is_exclusive": True}


def option(db: Database, task_seq: int = 1, **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id="w", task_seq=task_seq, **columns))


def refusal(db: Database) -> str:
    wish = Registration("w")
    answer = db.transact(lambda conn: register(conn, db, [wish]))[wish.flow_id]
    assert isinstance(answer, BadDefinition), answer
    return str(answer)


def test_the_definition_reaches_the_claim(db: Database) -> None:
    define(db, steps=2)
    option(db, 1, **PROCESS)
    first, second = tasks(db, start(db))
    assert (first.executor, first.is_exclusive) == ("process", True)
    assert (second.executor, second.is_exclusive) == (None, None)
    [claimed] = claim(db)
    assert (claimed.executor, claimed.is_exclusive, claimed.losses) == ("process", True, 0)
    finish(db, claimed)
    [claimed] = claim(db)
    assert (claimed.executor, claimed.is_exclusive) == (None, False)
    hold(db)


def test_a_row_made_by_hand_reaches_the_claim_as_it_is(db: Database) -> None:
    insert_task(db, executor="anything", is_exclusive=False, losses=2, wait_count=0)
    [claimed] = claim(db)
    assert (claimed.executor, claimed.is_exclusive, claimed.losses) == ("anything", False, 2)


@pytest.mark.parametrize(
    "columns, words",
    [
        ({"executor": "dask"}, "step 1: executor 'dask' is none of thread, async, process"),
        ({"executor": ""}, "step 1: executor '' is none of"),
        ({"executor": "thread", "is_exclusive": True}, "step 1: an exclusive task needs the executor process"),
        ({"executor": "async", "is_exclusive": True}, "its executor is 'async'"),
    ],
)
def test_what_cannot_be_is_refused_at_registration(db: Database, columns: dict[str, Any], words: str) -> None:
    define(db)
    option(db, **columns)
    assert words in refusal(db)


def test_an_exclusive_step_may_leave_the_choice_to_its_program(db: Database) -> None:
    define(db)
    option(db, is_exclusive=True)
    [row] = tasks(db, start(db))
    assert (row.executor, row.is_exclusive) == (None, True)


def test_a_plan_carries_them(db: Database) -> None:
    define(db)
    flow_id = start(db)
    [planner] = claim(db)
    wish = plan_checks.check([Task("Noop", options=PROCESS), Task("Noop")])
    settle_as(db, [Settlement(planner, "finish", plan=wish)])
    _, planned, plain = tasks(db, flow_id)
    assert (planned.executor, planned.is_exclusive) == ("process", True)
    assert (plain.executor, plain.is_exclusive) == (None, None)
    hold(db)


@pytest.mark.parametrize(
    "options, words",
    [
        ({"executor": "dask"}, "executor 'dask' is none of"),
        ({"executor": 3}, "executor is 3, not a text"),
        ({"is_exclusive": "yes"}, "is_exclusive 'yes' is neither True nor False"),
        ({"is_exclusive": True, "executor": "thread"}, "needs the executor process"),
    ],
)
def test_a_plan_that_asks_for_what_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(plan_checks.BadPlan, match="task 0 of the plan") as refused:
        plan_checks.check([Task("Noop", options=options)])
    assert words in str(refused.value)


def test_the_next_iteration_of_a_loop_has_them_too(db: Database) -> None:
    define_graph(db, "w", [(1, 2)])
    option(db, 1, **PROCESS)
    with db.transaction() as conn:
        loop = {"task_id": "w", "task_seq": 1, "depends_task_seq": 2, "kind": "loop", "max_iterations": 1}
        conn.execute(insert(task_edge).values(**loop))
    flow_id = start(db)
    for _ in range(2):
        [claimed] = claim(db)
        finish(db, claimed)
    rows = tasks(db, flow_id)
    assert [(row.task_seq, row.executor, row.is_exclusive) for row in rows] == [
        (1, "process", True),
        (2, None, None),
        (1, "process", True),
        (2, None, None),
    ]


def test_they_make_another_version(db: Database) -> None:
    define(db)
    before = start(db)
    option(db, executor="process")
    after = start(db)
    assert flow(db, before).version_id != flow(db, after).version_id
    sql(db, "UPDATE ms_task_option SET executor = NULL")
    assert flow(db, start(db)).version_id == flow(db, before).version_id


def exclusive(db: Database, **columns: Any) -> Any:
    key = insert_task(db, wait_count=0, program="Noop", **PROCESS, **columns)
    enlisted(db)
    [claimed] = claim(db)
    by_hand(db, key, 0)
    return claimed


def test_an_exclusive_task_set_back_by_hand_waits_for_its_holder(db: Database) -> None:
    claimed = exclusive(db)
    enlisted(db, "other")
    assert claim(db, watcher_id="other") == []
    assert supervise.let_go(db, [claimed.fence]) == 1
    [again] = claim(db, watcher_id="other")
    assert again.key == claimed.key
    assert supervise.let_go(db, [claimed.fence]) == 0, "that was another claim"


def test_or_for_the_end_of_its_lease(db: Database) -> None:
    claimed = exclusive(db)
    assert claim(db) == []
    kill_lease(db)
    enlisted(db, "other")
    assert [item.key for item in claim(db, watcher_id="other")] == [claimed.key]


@pytest.mark.parametrize("kind_of_end", ["again", "retry", "release", "suspend", "finish"])
def test_one_that_has_ended_waits_for_nobody(db: Database, kind_of_end: str) -> None:
    enlisted(db)
    key = insert_task(db, wait_count=0, program="Noop", **PROCESS)
    [claimed] = claim(db)
    settle_as(db, [Settlement(claimed, kind_of_end, reason="failed" if kind_of_end == "suspend" else None)])
    if kind_of_end in ("suspend", "finish"):
        by_hand(db, key, 0)
    sweep(db)
    assert [item.key for item in claim(db)] == [key]


def test_a_recovered_one_waits_for_nobody(db: Database) -> None:
    enlisted(db)
    key = insert_task(db, wait_count=0, program="Noop", **PROCESS)
    [claimed] = claim(db)
    settle_as(db, [Settlement(claimed, "suspend", reason="failed", error="no")])
    sweep(db)
    recover(db, key.flow_id, actor="test")
    assert [item.key for item in claim(db)] == [key]


def test_an_ordinary_task_set_back_by_hand_is_claimed_at_once(db: Database) -> None:
    enlisted(db)
    key = insert_task(db, wait_count=0, executor="process")
    claim(db)
    by_hand(db, key, 0)
    assert [item.key for item in claim(db)] == [key]
