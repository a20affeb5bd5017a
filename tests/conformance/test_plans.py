"""Plans: tasks that a program adds to its own flow while it runs."""

from __future__ import annotations

from collections.abc import Sequence
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
    kill_lease,
    rows,
    run_all,
    settle_as,
    sql,
    start,
    states,
    task,
    tasks,
    together,
)
from invariants import hold
from sqlalchemy import insert

from engine import inputs, supervise
from engine.claimed import ClaimedTask
from engine.database import Database, open_database
from engine.growth import plan_checks, plans
from engine.keys import Key
from engine.settle import Settled, Settlement, Verdict, settle
from engine.states import Reason, Status
from engine.tables import attempt, event, run_edge, task_stat
from programs.catalogue import build_catalogue
from programs.contract import Call, program
from programs.outcomes import Outcome, Plan, Task
from watcher.loop import Watcher
from watcher.settings import Settings


@pytest.fixture(autouse=True)
def enlist_watcher(db: Database) -> None:
    enlisted(db)


def plan(
    db: Database, held: ClaimedTask, planned: Sequence[Task], *, join: bool = True, result: str | None = None
) -> Settled:
    """Settle a claimed task with a plan."""
    wish = plan_checks.check(planned, join=join)
    return settle_as(db, [Settlement(held, "finish", result=result, plan=wish)])


def upstream(db: Database, key: tuple[str, int]) -> list[Any]:
    with db.read() as conn:
        return inputs.upstream_of(conn, Key(*key))


def work(name: str | None = None, *after: str | int, **more: Any) -> Task:
    return Task("Noop", name=name, after=after, **more)


# --- what is written --------------------------------------------------------------------------------------------------


def test_a_plan_adds_its_tasks_behind_the_planner(db: Database) -> None:
    define(db, steps=1, task_priority=5)
    flow_id = start(db)
    planned = [
        work("a", parameters={"n": 1}),
        work("b", parameters={"n": 2}, priority=-3, options={"queue": "other", "max_attempts": 3, "timeout_s": 9}),
        work("c", "a", "b"),
    ]
    [held] = claim(db)
    settled = plan(db, held, planned, result='{"kept":true}')
    assert settled.verdicts == [Verdict.ACCEPTED]
    planner, a, b, c = tasks(db, flow_id)
    assert (planner.exec_status, planner.wait_count, planner.result) == (Status.FINISH, -1, '{"kept":true}')
    assert [(row.task_exec_seq, row.depends_task_exec_seq, row.wait_count) for row in (a, b, c)] == [
        (2, 1, 0),
        (3, 1, 0),
        (4, 2, 2),
    ]
    assert {(row.task_id, row.task_seq, row.made_by_exec_seq, row.program) for row in (a, b, c)} == {
        ("w", 1, 1, "Noop")
    }
    assert [row.name for row in (a, b, c)] == ["a", "b", "c"]
    assert [row.parameters for row in (a, b, c)] == ['{"n":1}', '{"n":2}', "{}"]
    assert [row.task_priority for row in (a, b, c)] == [5, -3, 5]
    assert (b.queue, b.max_attempts, b.timeout_s, a.queue, a.max_attempts) == ("other", 3, 9.0, "default", None)
    assert a.registered_ts >= planner.finished_ts
    [edge] = rows(db, run_edge)
    assert (edge.task_exec_seq, edge.depends_task_exec_seq) == (4, 3)
    told = flow(db, flow_id)
    assert (told.task_count, told.finish_count, told.flow_status, told.finished_ts) == (4, 1, 1, None)
    assert [(row.what, row.task_exec_seq, row.details) for row in rows(db, event)] == [
        ("tasks planned", 1, '{"tasks":3}')
    ]
    hold(db)
    finish(db, *claim(db), *claim(db, queues=["other"]))
    assert run_all(db) == [Key(flow_id, 4)]
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_a_planned_task_inherits_the_priority_that_was_given_not_the_one_it_aged_to(db: Database) -> None:
    define(db, task_priority=4)
    flow_id = start(db)
    sql(db, "UPDATE kr_task_stat SET task_priority = 1, aged = 3")
    plan(db, claim(db)[0], [work()])
    assert task(db, (flow_id, 2)).task_priority == 4


def test_what_waits_for_the_planner_waits_for_the_last_tasks_of_its_plan(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    [held] = claim(db)
    plan(db, held, [work("a"), work("b"), work("c", "a")], result='"the planner"')
    assert states(db, flow_id) == [(3, -1), (0, 2), (0, 0), (0, 0), (0, 1)]
    hold(db)
    first = {item.key.seq: item for item in claim(db)}
    finish(db, first[4], result='"b"')
    finish(db, first[3], result='"a"')
    assert states(db, flow_id)[1] == (0, 1)
    [last] = claim(db)
    finish(db, last, result='"c"')
    assert states(db, flow_id)[1] == (0, 0)
    assert upstream(db, (flow_id, 2)) == ["b", "c"]
    assert upstream(db, (flow_id, 5)) == ["a"]
    assert upstream(db, (flow_id, 3)) == ["the planner"]
    hold(db)
    run_all(db)
    hold(db, at_rest=True)


def test_without_join_nothing_waits_for_the_plan(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    plan(db, claim(db)[0], [work(), work()], join=False, result="7")
    assert states(db, flow_id) == [(3, -1), (0, 0), (0, 0), (0, 0)]
    assert upstream(db, (flow_id, 2)) == [7]
    hold(db)


def test_a_plan_at_the_end_of_a_flow_joins_nothing(db: Database) -> None:
    define(db)
    flow_id = start(db)
    plan(db, claim(db)[0], [work(), work()])
    assert rows(db, run_edge) == []
    run_all(db)
    assert flow(db, flow_id).finish_count == 3
    hold(db, at_rest=True)


def test_every_successor_joins_and_keeps_what_else_it_waits_for(db: Database) -> None:
    define_graph(db, "w", [(1, 2), (1, 3), (4, 3)])
    flow_id = start(db)
    held = {item.key.seq: item for item in claim(db)}
    plan(db, held[1], [work(), work()])
    assert states(db, flow_id)[1:3] == [(0, 2), (0, 3)]
    hold(db)
    finish(db, held[4])
    run_all(db)
    hold(db, at_rest=True)


def test_a_planned_task_may_plan_in_its_turn(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    plan(db, claim(db)[0], [work("first"), work("second", "first")])
    [held] = claim(db)
    plan(db, held, [work("third"), work("fourth")])
    assert [(row.name, row.made_by_exec_seq) for row in tasks(db, flow_id)[2:]] == [
        ("first", 1),
        ("second", 1),
        ("third", 3),
        ("fourth", 3),
    ]
    assert states(db, flow_id)[3] == (0, 2), "the second waits for what the first has planned"
    assert run_all(db) == [Key(flow_id, seq) for seq in (5, 6, 4, 2)]
    hold(db, at_rest=True)


def test_two_plans_for_one_flow_in_one_batch(db: Database) -> None:
    define_graph(db, "w", [(1, 3), (2, 3)])
    flow_id = start(db)
    two = [Settlement(item, "finish", plan=plan_checks.check([work(), work()])) for item in claim(db)]
    assert set(settle_as(db, two).verdicts) == {Verdict.ACCEPTED}
    assert [row.made_by_exec_seq for row in tasks(db, flow_id)] == [None, None, None, 1, 1, 2, 2]
    assert states(db, flow_id)[2] == (0, 4)
    hold(db)
    run_all(db)
    hold(db, at_rest=True)


def test_plans_and_other_outcomes_share_a_batch(db: Database) -> None:
    define(db, steps=2)
    flow_ids = [start(db) for _ in range(4)]
    held = {item.key.flow_id: item for item in claim(db)}
    wish = plan_checks.check([work()])
    batch = [
        Settlement(held[flow_ids[0]], "finish", plan=wish),
        Settlement(held[flow_ids[1]], "finish"),
        Settlement(held[flow_ids[2]], "suspend", reason="failed", error="x"),
        Settlement(held[flow_ids[3]], "finish", plan=wish),
    ]
    settle_as(db, batch)
    assert [flow(db, flow_id).task_count for flow_id in flow_ids] == [3, 2, 2, 3]
    assert [states(db, flow_id)[1] for flow_id in flow_ids] == [(0, 1), (0, 0), (0, 1), (0, 1)]
    hold(db)


def test_a_successor_that_is_suspended_joins_as_well(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    [held] = claim(db)
    by_hand(db, Key(flow_id, 2), 2)
    plan(db, held, [work()])
    assert states(db, flow_id)[1] == (2, 1)
    finish(db, *claim(db))
    assert states(db, flow_id)[1] == (2, 0)


def test_a_successor_that_was_settled_by_hand_joins_nothing(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    [held] = claim(db)
    by_hand(db, Key(flow_id, 2), 9)
    supervise.pass_on(db)
    plan(db, held, [work()])
    assert rows(db, run_edge) == []
    run_all(db)
    hold(db, at_rest=True)
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_what_listens_to_the_failure_of_the_planner_does_not_follow_its_plan(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    with db.transaction() as conn:
        edge = {"task_flow_id": flow_id, "task_exec_seq": 2, "depends_task_exec_seq": 1, "kind": "error"}
        conn.execute(insert(run_edge).values(**edge))
    plan(db, claim(db)[0], [work()])
    assert [(row.task_exec_seq, row.depends_task_exec_seq) for row in rows(db, run_edge)] == [(2, 1)]


def test_a_join_is_taken_back_where_the_branch_is_not_taken(db: Database) -> None:
    define_graph(db, "w", [(1, 2), (1, 3)])
    flow_id = start(db)
    plan(db, claim(db)[0], [work(), work()])
    with db.transaction() as conn:
        assert plans.leave_unjoined(conn, [(Key(flow_id, 3), 1), (Key(flow_id, 9), 1)]) == {Key(flow_id, 3): 2}
    assert sorted((row.task_exec_seq, row.depends_task_exec_seq) for row in rows(db, run_edge)) == [(2, 4), (2, 5)]


# --- fences, crashes, races -------------------------------------------------------------------------------------------


def test_a_plan_of_a_superseded_claim_adds_nothing(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    [old] = claim(db)
    kill_lease(db)
    supervise.reap(db, grace_s=60)
    enlisted(db, "watcher-2")
    [new] = claim(db, watcher_id="watcher-2")
    assert plan(db, old, [work()] * 3).verdicts == [Verdict.STALE]
    assert len(tasks(db, flow_id)) == 2
    plan(db, new, [work()])
    assert len(tasks(db, flow_id)) == 3
    hold(db)


def test_a_plan_settled_twice_is_added_once(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    [held] = claim(db)
    assert plan(db, held, [work()]).verdicts == [Verdict.ACCEPTED]
    assert plan(db, held, [work()]).verdicts == [Verdict.ALREADY]
    wish = plan_checks.check([work()])
    assert len(tasks(db, flow_id)) == 3
    [again] = claim(db)
    twice = [Settlement(again, "finish", plan=wish)] * 2
    assert settle_as(db, twice).verdicts == [Verdict.ACCEPTED, Verdict.ALREADY]
    assert len(tasks(db, flow_id)) == 4
    hold(db)


def test_a_plan_whose_transaction_ends_before_its_commit_leaves_nothing(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    [held] = claim(db)
    before = tasks(db, flow_id), flow(db, flow_id)
    wish = plan_checks.check([work("a"), work("b", "a")])

    def ends_early() -> None:
        with db.transaction() as conn:
            settle(conn, db, "watcher-1", [Settlement(held, "finish", plan=wish)])
            raise RuntimeError("the process ends here")

    with pytest.raises(RuntimeError, match="ends here"):
        ends_early()
    assert (tasks(db, flow_id), flow(db, flow_id)) == before
    assert rows(db, run_edge) == rows(db, event) == []
    plan(db, held, [work("a"), work("b", "a")])
    run_all(db)
    hold(db, at_rest=True)


def second(db: Database) -> Database:
    other = open_database(db.url.render_as_string(hide_password=False))
    other.can.skip_locked = db.can.skip_locked
    return other


def test_a_join_settled_by_two_at_once(db: Database) -> None:
    define(db, steps=2)
    other = second(db)
    for _ in range(5):
        flow_id = start(db)
        plan(db, claim(db)[0], [work(str(number)) for number in range(20)])
        held = claim(db, 20)
        together(lambda held=held: finish(db, *held[:10]), lambda held=held: finish(other, *held[10:]))
        assert states(db, flow_id)[1] == (0, 0)
        hold(db)
        run_all(db)
    hold(db, at_rest=True)
    other.close()


def test_two_plans_for_one_flow_at_once(db: Database) -> None:
    define_graph(db, "w", [(1, 3), (2, 3)])
    other = second(db)
    for _ in range(5):
        flow_id = start(db)
        first, last = claim(db)
        together(lambda item=first: plan(db, item, [work()] * 7), lambda item=last: plan(other, item, [work()] * 5))
        assert flow(db, flow_id).task_count == 15
        assert states(db, flow_id)[2] == (0, 12)
        hold(db)
        run_all(db)
    hold(db, at_rest=True)
    other.close()


# --- size -------------------------------------------------------------------------------------------------------------


def test_a_fan_out_of_three_thousand(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    plan(db, claim(db)[0], [work(parameters={"n": number}) for number in range(3000)])
    while held := claim(db, 500):
        if held[0].key.seq == 2:
            break
        settle_as(db, [Settlement(item, "finish", result=str(item.key.seq % 7)) for item in held])
    assert upstream(db, (flow_id, 2)) == [seq % 7 for seq in range(3, 3003)]
    finish(db, *held)
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_parameters_of_a_mebibyte_each(db: Database) -> None:
    define(db)
    flow_id = start(db)
    big = {"text": "x" * (1024 * 1024 - 20)}
    plan(db, claim(db)[0], [work(parameters=big) for _ in range(8)])
    assert [len(row.parameters) for row in tasks(db, flow_id)][1:] == [1024 * 1024 - 9] * 8


def test_a_join_with_too_many_edges_is_suspended_and_names_what_to_do(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plans, "MAX_EDGES", 5)
    define_graph(db, "w", [(1, 2), (1, 3)])
    flow_id, other = start(db), start(db)
    held = {item.key.flow_id: item for item in claim(db)}
    batch = [
        Settlement(held[flow_id], "finish", result="1", plan=plan_checks.check([work()] * 3)),
        Settlement(held[other], "finish", plan=plan_checks.check([work()] * 2)),
    ]
    assert settle_as(db, batch).verdicts == [Verdict.ACCEPTED] * 2
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.reason, row.result) == (2, Reason.BAD_RESULT, None)
    assert "its 3 last tasks and the 2 that would wait for them" in row.error
    assert (len(tasks(db, flow_id)), len(tasks(db, other))) == (3, 5)
    assert [(kept.outcome, kept.task_flow_id) for kept in rows(db, attempt)] == [("failed", flow_id)]
    hold(db)


# --- programs ---------------------------------------------------------------------------------------------------------


@program("plans")
def planning(call: Call, what: str) -> Outcome:
    return Plan(PLANS[what])


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"deeper": value}
    return value


PLANS: dict[str, Any] = {
    "circle": [work("a", "c"), work("b", "a"), work("c", "b")],
    "too many": [work()] * 100_001,
    "unknown name": [work("a"), work("b", "nobody")],
    "no JSON": [work(), work("bad", parameters={"x": object()})],
    "deep": [work("deep", parameters=nested(10_000))],
    "no list": (task for task in [work()]),
}
WORDS = {
    "circle": "the plan goes in a circle: 'a' -> ",
    "too many": "the plan has 100,001 tasks, more than the 100,000 that one may have",
    "unknown name": "task 1 ('b') of the plan: comes after 'nobody', and no task of the plan has that name",
    "no JSON": "task 1 ('bad') of the plan: what its parameters hold is not JSON",
    "deep": "task 0 ('deep') of the plan: what its parameters hold is nested too deeply",
    "no list": "the plan: its tasks are a generator, not a list of Task",
}


def watch(db: Database, *programs: Any) -> None:
    Watcher(db, build_catalogue(autoload=False, extra=programs), Settings(interval_s=0.05, heartbeat_in="thread")).run(
        until_idle=True
    )


def test_bad_plans_are_suspended_with_words_and_harm_nobody_else(db: Database) -> None:
    define(db, "bad", steps=2, program="plans")
    flow_ids = {what: start(db, "bad", parameters={"what": what}) for what in PLANS}
    watch(db, planning)
    for what, flow_id in flow_ids.items():
        first, last = tasks(db, flow_id)
        assert (first.exec_status, first.reason) == (Status.SUSPEND, Reason.BAD_RESULT), what
        assert first.error.startswith(WORDS[what]), first.error
        assert (last.exec_status, last.wait_count) == (Status.WAIT, 1)
    hold(db, at_rest=True)


@program("square")
def square(n: int) -> int:
    return n * n


def test_for_each_and_gather(db: Database) -> None:
    define(db, "w", steps=2)
    sql(db, "UPDATE ms_task_definition SET program = 'Gather' WHERE task_seq = 2")
    sql(
        db,
        "UPDATE ms_task_definition SET program = 'ForEach', param1_key = 'ITEMS', param1_value = '[3, 1, 2]',"
        " param2_key = 'PROGRAM', param2_value = 'square', param3_key = 'ITEM_KEY', param3_value = 'n'"
        " WHERE task_seq = 1",
    )
    flow_id = start(db)
    watch(db, square)
    assert [row.exec_status for row in tasks(db, flow_id)] == [3] * 5
    assert [row.parameters for row in tasks(db, flow_id)[2:]] == ['{"n":3}', '{"n":1}', '{"n":2}']
    assert task(db, (flow_id, 2)).result == "[9,1,4]"
    hold(db, at_rest=True)


def test_for_each_of_nothing(db: Database) -> None:
    define(db, "w", steps=2)
    sql(db, "UPDATE ms_task_definition SET program = 'Gather' WHERE task_seq = 2")
    sql(
        db,
        "UPDATE ms_task_definition SET program = 'ForEach', param1_key = 'ITEMS', param1_value = '[]',"
        " param2_key = 'PROGRAM', param2_value = 'square' WHERE task_seq = 1",
    )
    flow_id = start(db)
    watch(db, square)
    assert [row.exec_status for row in tasks(db, flow_id)] == [3, 3]


def test_an_unknown_program_in_a_plan_suspends_the_task_that_names_it(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    plan(db, claim(db)[0], [Task("Nope", name="bad"), Task("Noop", name="good")])
    watch(db)
    bad, good = tasks(db, flow_id)[2:]
    assert (bad.exec_status, bad.reason, good.exec_status) == (2, Reason.UNKNOWN_PROGRAM, 3)
    assert states(db, flow_id)[1] == (0, 1)
    hold(db, at_rest=True)


def test_a_planned_task_begins_with_nothing_of_its_planner_s_run(db: Database) -> None:
    define(db)
    flow_id = start(db)
    plan(db, claim(db)[0], [work()])
    row = task(db, (flow_id, 2))
    untouched = {column.name for column in task_stat.columns if getattr(row, column.name) is None}
    assert {"owner", "claim_id", "result", "error", "reason", "started_ts", "templates", "phase"} <= untouched
    assert (row.claims, row.attempt, row.losses, row.iteration, row.generation, row.aged) == (0, 0, 0, 0, 0, 0)
