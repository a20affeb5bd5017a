"""What runs before and after a step, as tasks of their own: their rows, and their way through a flow."""

from __future__ import annotations

import json
from typing import Any

from factories import claim, define, enlisted, finish, flow, rows, settle_as, start, states, task, tasks
from invariants import hold
from sqlalchemy import insert

from engine.database import Database
from engine.keys import Key
from engine.settle import Settlement
from engine.states import Reason, Status
from engine.tables import run_edge, task_edge, task_option


def option(db: Database, task_seq: int = 1, task_id: str = "w", **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id=task_id, task_seq=task_seq, **columns))


def edge(db: Database, before: int, after: int, task_id: str = "w", **columns: Any) -> None:
    with db.transaction() as conn:
        ends = {"task_id": task_id, "task_seq": after, "depends_task_seq": before}
        conn.execute(insert(task_edge).values(**ends, **columns))


def edges(db: Database) -> list[tuple[Any, ...]]:
    return sorted((row.depends_task_exec_seq, row.task_exec_seq, row.kind, row.only_if) for row in rows(db, run_edge))


def wrapped(db: Database, task_seq: int = 1, **columns: Any) -> None:
    option(db, task_seq, name=f"s{task_seq}", pre_program="Before", post_program="Behind", **columns)


def fail(db: Database, *held: Any, reason: str = Reason.FAILED) -> None:
    settle_as(db, [Settlement(item, "suspend", reason=reason, error="no luck") for item in held])


def run(db: Database, but: tuple[str, ...] = ()) -> list[str]:
    """Claim and finish until nothing is ready; tasks of the programs in `but` fail. The programs in their order."""
    ran: list[str] = []
    while held := claim(db, 1):
        ran.append(held[0].program or "")
        if held[0].program in but:
            fail(db, *held)
        else:
            finish(db, *held)
    return ran


# --- rows -------------------------------------------------------------------------------------------------------------


def test_a_step_with_phases_is_three_tasks(db: Database) -> None:
    define(db, steps=2, program="Main", task_priority=4)
    more = {"queue": "slow", "max_attempts": 3, "timeout_s": 9, "limit_key": "k", "output_mapping": "{}"}
    wrapped(db, 1, pre_parameters='{"a": "{{ params.x }}"}', post_parameters='{"b": [1]}', **more)
    flow_id = start(db)
    pre, main, post, behind = tasks(db, flow_id)
    assert [(row.task_seq, row.phase, row.name, row.program) for row in (pre, main, post, behind)] == [
        (1, "pre", "s1.pre", "Before"),
        (1, None, "s1", "Main"),
        (1, "post", "s1.post", "Behind"),
        (2, None, None, "Main"),
    ]
    assert [(row.depends_task_exec_seq, row.wait_count) for row in (pre, main, post, behind)] == [
        (-1, 0),
        (1, 1),
        (1, 2),
        (2, 2),
    ]
    assert edges(db) == [(1, 3, None, None), (2, 3, None, None), (3, 4, "after", None)]
    assert [row.trigger_rule for row in (pre, main, post)] == [None, None, "cleanup"]
    for row in (pre, main, post):
        assert (row.queue, row.max_attempts, row.timeout_s, row.task_priority) == ("slow", 3, 9, 4)
    assert (main.limit_key, main.output_mapping) == ("k", "{}")
    assert (pre.limit_key, pre.output_mapping, post.limit_key, post.output_mapping) == (None,) * 4
    assert (pre.parameters, pre.templates) == ('{"a":"{{ params.x }}"}', '["a"]')
    assert (json.loads(post.parameters), post.templates) == ({"b": [1]}, None)
    assert flow(db, flow_id).task_count == 4
    hold(db)


def test_pre_takes_over_what_leads_to_its_step(db: Database) -> None:
    define(db, steps=4)
    option(db, 4, pre_program="Before", trigger_rule="any")
    edge(db, 1, 2, only_if="true")
    edge(db, 1, 3)
    edge(db, 2, 4, only_if="results['2'] == 1")
    edge(db, 3, 4)
    _, _, _, pre, main = tasks(db, start(db))
    assert (pre.trigger_rule, pre.depends_task_exec_seq, pre.wait_count) == ("any", 2, 2)
    assert (main.trigger_rule, main.depends_task_exec_seq, main.wait_count) == (None, 4, 1)
    assert edges(db) == [(1, 2, None, "true"), (2, 4, None, "results['2'] == 1"), (3, 4, None, None)]


def test_what_follows_has_its_edge_from_the_step_itself(db: Database) -> None:
    define(db, steps=3)
    wrapped(db, 1)
    edge(db, 1, 2, only_if="result.ok")
    edge(db, 1, 3, kind="error")
    flow_id = start(db)
    assert edges(db) == [
        (1, 3, None, None),  # post hears of pre
        (1, 5, "error", None),  # a failed pre is a failure of the step
        (2, 3, None, None),
        (2, 4, None, "result.ok"),
        (2, 5, "error", None),
        (3, 4, "after", None),
        (3, 5, "after", None),
    ]
    assert [row.wait_count for row in tasks(db, flow_id)] == [0, 1, 2, 2, 3]


def test_a_loop_leads_to_pre(db: Database) -> None:
    define(db, steps=2)
    option(db, 1, pre_program="Before")
    edge(db, 2, 1, kind="loop")
    start(db)
    assert edges(db) == [(3, 1, "loop", None)]


def test_parameters_of_the_registration_reach_the_phases(db: Database) -> None:
    define(db)
    wrapped(db, 1, pre_parameters='{"day": "{{ x }}", "n": 1}')
    pre = tasks(db, start(db, parameters={"day": "today"}))[0]
    assert (json.loads(pre.parameters), pre.templates) == ({"day": "today", "n": 1}, None)


# --- runs -------------------------------------------------------------------------------------------------------------


def test_phases_run_around_their_step(db: Database) -> None:
    define(db, steps=2, program="Main")
    wrapped(db, 1)
    flow_id = start(db)
    enlisted(db)
    assert run(db) == ["Before", "Main", "Behind", "Main"]
    assert states(db, flow_id) == [(3, -1)] * 4
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_a_step_without_pre_is_followed_by_its_post(db: Database) -> None:
    define(db, steps=2, program="Main")
    option(db, 1, post_program="Behind")
    start(db)
    enlisted(db)
    assert run(db) == ["Main", "Behind", "Main"]
    hold(db, at_rest=True)


def test_post_runs_although_the_step_failed(db: Database) -> None:
    define(db, steps=2, program="Main")
    wrapped(db, 1)
    flow_id = start(db)
    enlisted(db)
    assert run(db, but=("Main",)) == ["Before", "Main", "Behind"]
    assert [row.exec_status for row in tasks(db, flow_id)] == [3, 2, 3, 0], "what follows waits for the repair"
    hold(db)


def test_the_step_does_not_run_where_pre_failed_and_post_does(db: Database) -> None:
    define(db, steps=2, program="Main")
    wrapped(db, 1)
    flow_id = start(db)
    enlisted(db)
    assert run(db, but=("Before",)) == ["Before", "Behind"]
    assert [row.exec_status for row in tasks(db, flow_id)] == [2, 0, 3, 0]
    hold(db)


def test_a_failed_pre_is_handled_as_the_step(db: Database) -> None:
    define(db, steps=3, program="Main")
    wrapped(db, 1)
    edge(db, 1, 2)
    edge(db, 1, 3, kind="error")
    flow_id = start(db)
    enlisted(db)
    assert run(db, but=("Before",)) == ["Before", "Behind", "Main"]
    assert [row.exec_status for row in tasks(db, flow_id)] == [9, 9, 3, 9, 3]
    assert task(db, Key(flow_id, 4)).reason == Reason.SKIPPED
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_the_post_of_a_handled_step_does_not_open_what_follows(db: Database) -> None:
    define(db, steps=3, program="Main")
    option(db, 1, post_program="Behind")
    option(db, 3, name="handler")
    edge(db, 1, 2)
    edge(db, 1, 3, kind="error")
    flow_id = start(db)
    enlisted(db)
    fail(db, *claim(db, 1))
    assert run(db) == ["Behind", "Main"]
    assert [(row.exec_status, row.name) for row in tasks(db, flow_id)][2:] == [(9, None), (3, "handler")]
    hold(db, at_rest=True)


def test_a_branch_that_is_not_taken_takes_its_phases_with_it(db: Database) -> None:
    define(db, steps=3, program="Main")
    wrapped(db, 2)
    edge(db, 1, 2, only_if="false")
    edge(db, 2, 3)
    flow_id = start(db)
    enlisted(db)
    assert run(db) == ["Main"]
    assert [row.exec_status for row in tasks(db, flow_id)] == [3, 9, 9, 9, 9]
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_a_condition_behind_a_step_with_post_decides_alone(db: Database) -> None:
    define(db, steps=3, program="Main")
    option(db, 1, post_program="Behind")
    edge(db, 1, 2, only_if="result == 1")
    edge(db, 1, 3, only_if="result == 2")
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db, 1), result="2")
    assert run(db) == ["Behind", "Main"]
    assert [row.exec_status for row in tasks(db, flow_id)] == [3, 3, 9, 3]
    hold(db, at_rest=True)


def test_a_failed_pre_is_heard_by_those_who_listen(db: Database) -> None:
    define(db, steps=2, program="Main")
    option(db, 1, pre_program="Before")
    option(db, 2, trigger_rule="one_failed")
    edge(db, 1, 2)
    start(db)
    enlisted(db)
    fail(db, *claim(db, 1))
    assert run(db) == ["Main"]
    hold(db)
