"""Rows that a person inserts or changes by plain SQL, and nothing else: they are obeyed, and a bad one harms itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from factories import (
    by_hand,
    bypass_checks,
    claim,
    define,
    define_graph,
    enlisted,
    finish,
    flow,
    insert_task,
    kill_lease,
    rows,
    run_out,
    settle_as,
    sql,
    start,
    states,
    sweep,
    task,
    tasks,
)
from invariants import hold
from sqlalchemy import text

from engine import supervise
from engine.adopt import Adopter
from engine.control import recover
from engine.database import Database
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.states import Reason, Status
from engine.tables import event, flow_stat

INSERT = (
    "INSERT INTO kr_task_stat(task_flow_id, task_exec_seq, depends_task_exec_seq, task_id, task_seq, exec_status,"
    " task_priority, parameters) VALUES ('{flow}', {seq}, {depends}, '{task}', {seq}, {status}, 0, '{parameters}')"
)


def flower(db: Database, *values: tuple[str, int, int, str, int]) -> None:
    """Rows of (flow, exec_seq, depends, task_id, status), as the test data of Flower has them."""
    for flow_id, seq, depends, task_id, status in values:
        insert = INSERT.format(flow=flow_id, seq=seq, depends=depends, task=task_id, status=status, parameters="{}")
        sql(db, insert)


@pytest.fixture(autouse=True)
def watched(request: pytest.FixtureRequest) -> None:
    if "db" in request.fixturenames:
        db = request.getfixturevalue("db")
        enlisted(db)
        for name in ("w", "a", "b"):
            define(db, name, steps=4)


def claimable(db: Database) -> list[Key]:
    sweep(db)
    return [item.key for item in claim(db)]


# --- Flower's six cases -----------------------------------------------------------------------------------------------


def test_1_a_first_task_is_claimed(db: Database) -> None:
    flower(db, ("f", 1, -1, "w", 0))
    assert claimable(db) == [Key("f", 1)]


def test_2_a_task_behind_a_finished_one_is_claimed(db: Database) -> None:
    flower(db, ("f", 1, -1, "w", 3), ("f", 2, 1, "w", 0))
    assert claimable(db) == [Key("f", 2)]


@pytest.mark.parametrize("status", [1, 2])
def test_3_a_task_behind_an_open_one_is_not(db: Database, status: int) -> None:
    flower(db, ("f", 1, -1, "w", status), ("f", 2, 1, "w", 0))
    assert claimable(db) == []


def test_4_two_workflows_are_both_claimed(db: Database) -> None:
    flower(db, ("f", 1, -1, "a", 0), ("g", 1, -1, "b", 0))
    assert sorted(claimable(db)) == [Key("f", 1), Key("g", 1)]


def test_5_and_6_both_flows_of_one_workflow_are_claimed(db: Database) -> None:
    flower(db, ("f", 1, -1, "w", 0), ("g", 1, -1, "w", 3), ("g", 2, 1, "w", 0))
    assert sorted(claimable(db)) == [Key("f", 1), Key("g", 2)]


def test_a_dependency_on_another_workflow_of_the_flow_holds(db: Database) -> None:
    flower(db, ("f", 1, -1, "a", 0), ("f", 2, 1, "b", 0))
    assert claimable(db) == [Key("f", 1)]


# --- whole flows ------------------------------------------------------------------------------------------------------


def test_a_flow_made_by_hand_runs_and_gets_its_flow_row(db: Database) -> None:
    flower(db, ("f", 1, -1, "w", 0), ("f", 2, 1, "w", 0), ("f", 3, 2, "w", 0))
    sweep(db)
    hold(db)
    made = flow(db, "f")
    assert (made.task_id, made.task_count, made.flow_status) == ("w", 3, Status.WAIT)
    assert [row.program for row in tasks(db, "f")] == ["Noop"] * 3
    assert run_out(db) == [Key("f", 1), Key("f", 2), Key("f", 3)]
    assert flow(db, "f").flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_rows_may_arrive_in_any_order(db: Database) -> None:
    adopter = Adopter(db, grace_s=30)
    flower(db, ("f", 2, 1, "w", 0))
    assert adopter.adopt() == 0
    assert states(db, "f") == [(0, None)]
    flower(db, ("f", 1, -1, "w", 0))
    assert adopter.adopt() == 2
    assert states(db, "f") == [(0, 0), (0, 1)]
    run_out(db)
    hold(db, at_rest=True)


def test_a_dangling_dependency_is_refused_after_a_while(db: Database) -> None:
    adopter = Adopter(db, grace_s=0.2)
    flower(db, ("f", 2, 1, "w", 0), ("g", 1, -1, "w", 0))
    assert adopter.adopt() == 1
    assert states(db, "f") == [(0, None)]
    time.sleep(0.25)
    assert adopter.adopt() == 1
    row = task(db, ("f", 2))
    assert (row.exec_status, row.reason) == (Status.SUSPEND, Reason.DANGLING)
    assert "depends on task 1" in row.error
    assert states(db, "g") == [(0, 0)]


def test_rows_that_are_held_back_hide_no_others(db: Database) -> None:
    adopter = Adopter(db, grace_s=60)
    for number in range(60):
        flower(db, (f"a{number}", 2, 1, "w", 0))
    adopter_rows = [(f"b{number}", 1, -1, "w", 0) for number in range(3)]
    from engine import adopt

    small, adopt.BATCH = adopt.BATCH, 20
    try:
        for _ in range(4):
            adopter.adopt()
        flower(db, *adopter_rows)
        adopter.adopt()
    finally:
        adopt.BATCH = small
    assert {states(db, row[0])[0] for row in adopter_rows} == {(0, 0)}


def test_a_missing_row_that_arrives_late_mends_the_flow_after_recover(db: Database) -> None:
    flower(db, ("f", 2, 1, "w", 0))
    sweep(db)
    assert task(db, ("f", 2)).reason == Reason.DANGLING
    flower(db, ("f", 1, -1, "w", 0))
    sweep(db)
    assert recover(db, "f", actor="me") == [2]
    assert run_out(db) == [Key("f", 1), Key("f", 2)]
    hold(db, at_rest=True)


def test_recovering_a_row_that_still_dangles_refuses_it_again(db: Database) -> None:
    flower(db, ("f", 2, 1, "w", 0))
    sweep(db)
    recover(db, "f", actor="me")
    sweep(db)
    assert task(db, ("f", 2)).reason == Reason.DANGLING


@pytest.mark.parametrize(
    "edges, stuck",
    [
        ([(1, 1)], {1}),
        ([(1, 2), (2, 1)], {1, 2}),
        ([(1, -1), (2, 4), (3, 2), (4, 3), (5, 4)], {2, 3, 4, 5}),
    ],
)
def test_cycles_are_refused_and_the_rest_runs(db: Database, edges: list[tuple[int, int]], stuck: set[int]) -> None:
    flower(db, *(("f", seq, depends, "w", 0) for seq, depends in edges), ("g", 1, -1, "w", 0))
    sql(db, "UPDATE kr_task_stat SET program = 'Noop'")
    sweep(db)
    assert {row.task_exec_seq for row in tasks(db, "f") if row.reason == Reason.CYCLE} == stuck
    assert {row.exec_status for row in tasks(db, "f") if row.task_exec_seq in stuck} == {Status.SUSPEND}
    assert Key("g", 1) in run_out(db)
    hold(db, at_rest=True)


def test_a_cycle_through_a_second_predecessor_is_refused(db: Database) -> None:
    flower(db, ("f", 1, -1, "w", 0), ("f", 2, 1, "w", 0))
    sql(db, "INSERT INTO kr_task_edge(task_flow_id, task_exec_seq, depends_task_exec_seq) VALUES ('f', 1, 2)")
    sweep(db)
    assert [row.reason for row in tasks(db, "f")] == [Reason.CYCLE] * 2


def test_a_broken_circle_runs_after_the_person_mended_it(db: Database) -> None:
    flower(db, ("f", 1, 2, "w", 0), ("f", 2, 1, "w", 0))
    sweep(db)
    sql(db, "UPDATE kr_task_stat SET depends_task_exec_seq = -1 WHERE task_exec_seq = 1")
    sql(db, "UPDATE kr_task_stat SET exec_status = 0")
    assert run_out(db) == [Key("f", 1), Key("f", 2)]
    hold(db, at_rest=True)


def test_a_second_predecessor_made_by_hand_is_awaited(db: Database) -> None:
    flower(db, ("f", 1, -1, "w", 0), ("f", 2, -1, "w", 0), ("f", 3, 1, "w", 0))
    sql(db, "INSERT INTO kr_task_edge(task_flow_id, task_exec_seq, depends_task_exec_seq) VALUES ('f', 3, 2)")
    sweep(db)
    assert states(db, "f")[2] == (0, 2)
    run_out(db)
    hold(db, at_rest=True)


def test_a_predecessor_named_twice_counts_once(db: Database) -> None:
    flower(db, ("f", 1, -1, "w", 0), ("f", 2, -1, "w", 0), ("f", 3, 1, "w", 0))
    sql(db, "INSERT INTO kr_task_edge(task_flow_id, task_exec_seq, depends_task_exec_seq) VALUES ('f', 3, 1)")
    sql(db, "INSERT INTO kr_task_edge(task_flow_id, task_exec_seq, depends_task_exec_seq) VALUES ('f', 3, 2)")
    sweep(db)
    first, second = claim(db)
    finish(db, first)
    assert states(db, "f")[2] == (0, 1)
    hold(db)
    finish(db, second)
    assert states(db, "f")[2] == (0, 0)


def test_a_very_long_chain_needs_no_recursion(db: Database) -> None:
    length = 3_000  # three times the depth at which Python gives up
    with db.transaction() as conn:
        row = "task_flow_id, task_exec_seq, depends_task_exec_seq, task_id, task_seq, parameters, program"
        conn.execute(
            text(f"INSERT INTO kr_task_stat({row}) VALUES ('long', :seq, :before, 'w', 1, '{{}}', 'Noop')"),
            [{"seq": seq, "before": seq - 1 if seq > 1 else -1} for seq in range(1, length + 1)],
        )
    began = time.monotonic()
    sweep(db)
    assert time.monotonic() - began < 30
    with db.read() as conn:
        counts = conn.execute(
            text("SELECT wait_count, COUNT(*) FROM kr_task_stat GROUP BY wait_count ORDER BY 1")
        ).all()
    assert [tuple(row) for row in counts] == [(0, 1), (1, length - 1)]


# --- bad rows ---------------------------------------------------------------------------------------------------------

BAD_PARAMETERS = {
    "broken": "{n:3",
    "array": "[1]",
    "text": '"x"',
    "number": "3",
    "null": "null",
    "empty": "",
    "repeated key": '{"a":1,"a":2}',
    "not a number": '{"a":NaN}',
    "too deep": "[" * 100_000 + "]" * 100_000,
}


@pytest.mark.parametrize("name", BAD_PARAMETERS)
def test_bad_parameters_suspend_their_row_alone(db: Database, name: str) -> None:
    insert_task(db, "f", parameters=BAD_PARAMETERS[name])
    insert_task(db, "g")
    assert run_out(db) == [Key("g", 1)]
    row = task(db, ("f", 1))
    assert (row.exec_status, row.reason) == (Status.SUSPEND, Reason.BAD_PARAMETERS)
    assert row.error.startswith("parameters ")
    hold(db, at_rest=True)


def test_mended_parameters_run(db: Database) -> None:
    insert_task(db, "f", parameters="{n:3")
    sweep(db)
    sql(db, "UPDATE kr_task_stat SET parameters = :mended, exec_status = 0", mended='{"n":3}')
    sweep(db)
    [claimed] = claim(db)
    assert claimed.program == "Noop"


def test_numbers_in_parameters_are_for_the_program_to_judge(db: Database) -> None:
    insert_task(db, "f", parameters='{"n":3}')
    sweep(db)
    assert claim(db)[0].parameters == '{"n":3}'


def test_a_program_of_its_own_needs_no_definition(db: Database) -> None:
    insert_task(db, "f", task_id="nowhere", program="Mine")
    sweep(db)
    assert claim(db)[0].program == "Mine"


def test_no_program_and_no_definition_is_refused(db: Database) -> None:
    insert_task(db, "f", task_id="nowhere")
    sweep(db)
    row = task(db, ("f", 1))
    assert (row.exec_status, row.reason) == (Status.SUSPEND, Reason.UNKNOWN_PROGRAM)
    assert "'nowhere', task_seq 1" in row.error
    hold(db, at_rest=True)


@pytest.mark.parametrize("priority", [20, -21, 30_000])
def test_a_priority_past_the_constraint_is_refused(db: Database, priority: int) -> None:
    flower(db, ("g", 1, -1, "w", 0))
    values = INSERT.format(flow="f", seq=1, depends=-1, task="w", status=0, parameters="{}")
    bypass_checks(db, values.replace(", 0, 0, '{}'", f", 0, {priority}, '{{}}'"))
    sweep(db)
    row = task(db, ("f", 1))
    assert (row.exec_status, row.reason) == (Status.SUSPEND, Reason.BAD_ROW)
    assert str(priority) in row.error
    assert Key("g", 1) in run_out(db)


def test_a_row_that_the_database_refuses_to_change_harms_itself_alone(db: Database) -> None:
    flower(db, ("e", 1, -1, "w", 0), ("f", 1, -1, "w", 0), ("g", 1, -1, "w", 0))
    with refusing(db):
        assert run_out(db) == [Key("e", 1), Key("g", 1)]


@contextmanager
def refusing(db: Database) -> Iterator[None]:
    """A trigger of somebody else's that lets no row of flow f be changed."""
    refuse: list[str]
    if not db.can.row_locks:
        refuse = [
            "CREATE TRIGGER no BEFORE UPDATE ON kr_task_stat WHEN NEW.task_flow_id = 'f' BEGIN"
            " SELECT RAISE(ABORT, 'no'); END"
        ]
        drop = ["DROP TRIGGER no"]
    elif not db.can.partial_indexes:
        refuse = [
            "CREATE TRIGGER no BEFORE UPDATE ON kr_task_stat FOR EACH ROW SET NEW.task_priority ="
            " IF(NEW.task_flow_id = 'f', 100, NEW.task_priority)"
        ]
        drop = ["DROP TRIGGER no"]
    else:
        refuse = [
            "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.task_flow_id = 'f' THEN"
            " NEW.task_priority := 100; END IF; RETURN NEW; END $$",
            "CREATE TRIGGER no BEFORE UPDATE ON kr_task_stat FOR EACH ROW EXECUTE FUNCTION no()",
        ]
        drop = ["DROP TRIGGER no ON kr_task_stat", "DROP FUNCTION no"]
    with db.transaction() as conn:
        for statement in refuse:
            conn.exec_driver_sql(statement)
    yield
    with db.transaction() as conn:
        for statement in drop:
            conn.exec_driver_sql(statement)


# --- changed rows -----------------------------------------------------------------------------------------------------


@pytest.fixture
def chain(db: Database) -> str:
    """A registered chain of four: the first finished, the second running."""
    flow_id = start(db)
    finish(db, *claim(db))
    return flow_id


@pytest.mark.parametrize("status", [3, 9])
def test_a_waiting_row_settled_by_hand_lets_the_rest_go_on(db: Database, chain: str, status: int) -> None:
    by_hand(db, Key(chain, 3), status)
    sweep(db)
    hold(db)
    assert states(db, chain) == [(3, -1), (0, 0), (status, -1), (0, 0)]
    assert sorted(run_out(db)) == [Key(chain, 2), Key(chain, 4)]
    assert task(db, (chain, 3)).claims == 0
    done = flow(db, chain)
    assert (done.flow_status, done.finish_count, done.ignore_count) == (3, 4 - (status == 9), int(status == 9))
    hold(db, at_rest=True)


@pytest.mark.parametrize("status", [3, 9])
def test_a_running_row_settled_by_hand_outdates_its_holder(db: Database, chain: str, status: int) -> None:
    [held] = claim(db)
    by_hand(db, held.key, status)
    assert finish(db, held, result='"late"').verdicts == [Verdict.STALE]
    sweep(db)
    assert states(db, chain)[1:3] == [(status, -1), (0, 0)]
    assert task(db, held.key).result is None
    run_out(db)
    hold(db, at_rest=True)


@pytest.mark.parametrize("status", [3, 9])
def test_a_failed_row_settled_by_hand_lets_the_rest_go_on(db: Database, chain: str, status: int) -> None:
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason="failed", error="x")])
    assert flow(db, chain).flow_status == Status.SUSPEND
    by_hand(db, Key(chain, 2), status)
    assert run_out(db) == [Key(chain, 3), Key(chain, 4)]
    hold(db, at_rest=True)


def test_a_failed_row_set_back_runs_again(db: Database, chain: str) -> None:
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason="failed", error="x")])
    by_hand(db, Key(chain, 2), 0)
    assert run_out(db) == [Key(chain, 2), Key(chain, 3), Key(chain, 4)]
    row = task(db, (chain, 2))
    assert (row.claims, row.suspended_ts, row.error, row.reason) == (2, None, None, None)
    hold(db, at_rest=True)


def test_a_failed_row_set_back_is_no_longer_counted_before_it_is_claimed(db: Database, chain: str) -> None:
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason="failed", error="x")])
    by_hand(db, Key(chain, 2), 0)
    sweep(db)
    hold(db)
    assert flow(db, chain).flow_status == Status.RUNNING


def test_a_finished_row_set_back_runs_again_and_raises_the_next(db: Database, chain: str) -> None:
    by_hand(db, Key(chain, 1), 0)
    sweep(db)
    hold(db)
    assert states(db, chain) == [(0, 0), (0, 1), (0, 1), (0, 1)]
    row = task(db, (chain, 1))
    assert (row.finished_ts, row.suspended_ts, row.attempt) == (None, None, 0)
    assert run_out(db) == [Key(chain, seq) for seq in (1, 2, 3, 4)]
    assert task(db, (chain, 1)).claims == 2
    hold(db, at_rest=True)


def test_a_running_row_set_back_is_claimed_again_and_its_holder_refused(db: Database, chain: str) -> None:
    [held] = claim(db)
    by_hand(db, held.key, 0)
    sweep(db)
    [again] = claim(db)
    assert again.key == held.key
    assert finish(db, held).verdicts == [Verdict.STALE]
    assert finish(db, again).verdicts == [Verdict.ACCEPTED]
    run_out(db)
    hold(db, at_rest=True)


def test_a_re_run_parent_of_a_join_starts_nothing_early(db: Database) -> None:
    """The join waits for two; one parent finishes twice."""
    define_graph(db, "join", [(1, 3), (2, 3)])
    flow_id = start(db, "join")
    left, right = claim(db)
    finish(db, left)
    by_hand(db, left.key, 0)
    sweep(db)
    hold(db)
    assert states(db, flow_id)[2] == (0, 2)
    finish(db, *claim(db))
    hold(db)
    assert states(db, flow_id)[2] == (0, 1)
    finish(db, right)
    assert run_out(db) == [Key(flow_id, 3)]
    hold(db, at_rest=True)


def test_a_re_run_parent_holds_up_what_is_ready(db: Database, chain: str) -> None:
    by_hand(db, Key(chain, 1), 0)
    assert claimable(db) == [Key(chain, 1)]


def test_a_re_run_does_not_touch_what_runs_behind_it(db: Database, chain: str) -> None:
    [held] = claim(db)
    by_hand(db, Key(chain, 1), 0)
    sweep(db)
    assert task(db, held.key).wait_count == 0
    assert finish(db, held).verdicts == [Verdict.ACCEPTED]
    run_out(db)
    assert {row.exec_status for row in tasks(db, chain)} == {Status.FINISH}
    hold(db, at_rest=True)


def test_a_paused_row_does_not_run_and_says_why(db: Database, chain: str) -> None:
    by_hand(db, Key(chain, 3), 2)
    sweep(db)
    hold(db)
    row = task(db, (chain, 3))
    assert (row.reason, row.suspended_ts is not None, row.wait_count) == (Reason.PAUSED, True, 1)
    assert flow(db, chain).flow_status == Status.SUSPEND
    assert run_out(db) == [Key(chain, 2)]
    assert states(db, chain)[2] == (2, 0), "a paused row still receives its signal"
    by_hand(db, Key(chain, 3), 0)
    assert run_out(db) == [Key(chain, 3), Key(chain, 4)]
    hold(db, at_rest=True)


def test_a_row_paused_and_set_back_waits_as_before(db: Database, chain: str) -> None:
    by_hand(db, Key(chain, 3), 2)
    sweep(db)
    by_hand(db, Key(chain, 3), 0)
    sweep(db)
    hold(db)
    assert states(db, chain)[2] == (0, 1)
    assert (task(db, (chain, 3)).suspended_ts, flow(db, chain).flow_status) == (None, Status.RUNNING)
    run_out(db)
    hold(db, at_rest=True)


@pytest.mark.parametrize("answer", ["again", "release"])
def test_a_row_that_waits_for_its_time_can_be_paused(db: Database, chain: str, answer: str) -> None:
    settle_as(db, [Settlement(claim(db)[0], answer, delay_s=3600)])
    by_hand(db, Key(chain, 2), 2)
    sweep(db)
    hold(db)
    assert task(db, (chain, 2)).reason == Reason.PAUSED
    assert flow(db, chain).flow_status == Status.SUSPEND


@pytest.mark.parametrize("was", [3, 9])
def test_a_settled_row_suspended_by_hand_holds_up_what_waits_for_it(db: Database, was: int) -> None:
    define_graph(db, "join", [(1, 3), (2, 3)])
    flow_id = start(db, "join")
    left, right = claim(db)
    if was == 3:
        finish(db, left)
    else:
        by_hand(db, left.key, 9)
    sweep(db)
    by_hand(db, left.key, 2)
    sweep(db)
    hold(db)
    assert states(db, flow_id)[2] == (0, 2)
    finish(db, right)
    assert claim(db) == []
    by_hand(db, left.key, 0)
    assert run_out(db) == [left.key, Key(flow_id, 3)]
    hold(db, at_rest=True)


def test_a_row_set_to_running_by_hand_is_taken_back_after_the_grace(db: Database, chain: str) -> None:
    by_hand(db, Key(chain, 3), 1)
    assert supervise.reap(db, grace_s=60) == 0
    sql(db, "UPDATE kr_task_stat SET registered_ts = '2001-01-01 00:00:00'")
    assert supervise.reap(db, grace_s=60) == 1
    assert states(db, chain)[2] == (0, 1), "it still waits for its parent"
    run_out(db)
    hold(db, at_rest=True)


def test_a_row_inserted_as_running_is_taken_back_and_adopted(db: Database) -> None:
    flower(db, ("f", 1, -1, "w", 1))
    assert supervise.reap(db, grace_s=60) == 1
    assert run_out(db) == [Key("f", 1)]
    assert task(db, ("f", 1)).program == "Noop"


def test_a_time_set_by_hand_starts_nothing_early(db: Database, chain: str) -> None:
    sql(db, "UPDATE kr_task_stat SET due_ts = '2001-01-01 00:00:00' WHERE task_exec_seq = 3")
    sweep(db)
    hold(db)
    assert states(db, chain)[2] == (0, 1)
    run_out(db)
    hold(db, at_rest=True)


def test_a_row_inserted_with_a_time_waits_for_it(db: Database) -> None:
    insert_task(db, "f")
    sql(db, "UPDATE kr_task_stat SET due_ts = '2999-01-01 00:00:00'")
    assert claimable(db) == []
    assert states(db, "f") == [(0, 1)]
    sql(db, "UPDATE kr_task_stat SET due_ts = '2001-01-01 00:00:00'")
    assert claimable(db) == [Key("f", 1)]


def test_deleted_rows_stop_nobody(db: Database, chain: str) -> None:
    held = claim(db)
    sql(db, "DELETE FROM kr_task_stat WHERE task_exec_seq = 2")
    assert finish(db, *held).verdicts == [Verdict.STALE]
    sweep(db)


def test_hand_made_changes_are_recorded(db: Database, chain: str) -> None:
    by_hand(db, Key(chain, 2), 9)
    by_hand(db, Key(chain, 4), 2)
    insert_task(db, "f")
    sweep(db)
    recover(db, chain, actor="ann")
    told = {(row.what, row.actor) for row in rows(db, event)}
    assert told >= {("task ignored by hand", "sql"), ("task paused by hand", "sql"), ("task adopted", "watcher")}
    assert ("task recovered", "ann") in told


STRANGE = ["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'2020-01-01'"]


@pytest.mark.parametrize("when", STRANGE)
@pytest.mark.parametrize("column", ["registered_ts", "started_ts", "finished_ts", "suspended_ts", "due_ts"])
def test_strange_times_stop_nobody(db: Database, when: str, column: str) -> None:
    flower(db, ("f", 1, -1, "w", 0), ("g", 1, -1, "w", 0), ("h", 1, -1, "w", 1))
    sql(db, f"UPDATE kr_task_stat SET {column} = {when} WHERE task_flow_id <> 'g'")
    supervise.reap(db, grace_s=1)
    assert Key("g", 1) in run_out(db)


@pytest.mark.needs("partial_indexes", "row_locks")
@pytest.mark.parametrize("when", ["'infinity'", "'-infinity'", "'4000-01-01 BC'", "'12000-01-01'"])
def test_times_that_only_postgresql_has_stop_nobody(db: Database, when: str) -> None:
    test_strange_times_stop_nobody(db, when, "due_ts")
    sql(db, f"UPDATE kr_task_stat SET exec_status = 1, started_ts = {when}, owner = 'x', claim_id = 'y'")
    kill_lease(db)
    supervise.reap(db, grace_s=1)
    assert {row.exec_status for row in tasks(db, "g")} == {0}


def test_a_thousand_bad_rows_hold_nobody_up(db: Database) -> None:
    with db.transaction() as conn:
        row = "task_flow_id, task_exec_seq, depends_task_exec_seq, task_id, task_seq, task_priority, parameters"
        conn.execute(
            text(f"INSERT INTO kr_task_stat({row}) VALUES (:flow, 1, -1, 'w', 1, -20, '[]')"),
            [{"flow": f"bad{number}"} for number in range(1000)],
        )
    insert_task(db, "good")
    sweep(db)
    assert [item.key for item in claim(db)] == [Key("good", 1)]
    assert len([row for row in rows(db, flow_stat) if row.flow_status == Status.SUSPEND]) == 1000
    hold(db)


@pytest.mark.parametrize(
    "change", [lambda db, key: by_hand(db, key, 0), lambda db, key: recover(db, key[0], actor="me")]
)
def test_what_a_watcher_suspended_goes_on_after_repair(db: Database, change: Callable[[Database, Key], Any]) -> None:
    flow_id = start(db)
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="x")])
    change(db, Key(flow_id, 1))
    assert run_out(db) == [Key(flow_id, seq) for seq in (1, 2, 3, 4)]
    hold(db, at_rest=True)
