"""What a failure that nothing handles means for the rest of its flow: nothing, a stop, or a roll-back."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from factories import (
    claim,
    define,
    define_graph,
    enlisted,
    finish,
    flow,
    kill_lease,
    rows,
    settle_as,
    sql,
    start,
    sweep,
    task,
    tasks,
    together,
)
from invariants import hold
from sqlalchemy import insert

from engine import control, supervise
from engine.claimed import ClaimedTask
from engine.database import Database
from engine.ending.closing import close_ended
from engine.keys import Key
from engine.settle import Settlement, Verdict, settle
from engine.states import Reason, Status
from engine.tables import event, flow_stat, task_option, wait, workflow
from engine.wishes import PlannedTask, PlanWish, WaitWish


def option(db: Database, task_seq: int, task_id: str = "w", **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id=task_id, task_seq=task_seq, **columns))


def policy(db: Database, name: str | None, task_id: str = "w", **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id=task_id, failure_policy=name, **columns))


def fork(db: Database, name: str | None) -> str:
    """1 before 2 and 3; 2 before 4; 3 before 5; 4 and 5 before 6."""
    define_graph(db, "w", [(1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 6)])
    policy(db, name)
    return "w"


def fail(db: Database, *held: ClaimedTask, reason: str = Reason.FAILED) -> None:
    settle_as(db, [Settlement(item, "suspend", reason=reason, error="no luck") for item in held])


def begin(db: Database, workflow_id: str = "w") -> tuple[str, ClaimedTask, ClaimedTask]:
    """Run the first task; the flow, and its two branches, claimed."""
    flow_id = start(db, workflow_id)
    enlisted(db)
    finish(db, *claim(db))
    left, right = claim(db)
    return flow_id, left, right


def statuses(db: Database, flow_id: str) -> list[int]:
    return [row.exec_status for row in tasks(db, flow_id)]


def told(db: Database, what: str) -> list[dict[str, Any]]:
    return [json.loads(row.details) for row in rows(db, event) if row.what == what]


def run(db: Database, but: Callable[[ClaimedTask], bool] = lambda held: False) -> list[tuple[str | None, int]]:
    """Claim and finish one by one until nothing is ready; (program, run number) in order. `but`: those that fail."""
    ran: list[tuple[str | None, int]] = []
    while held := claim(db, 1):
        ran.append((held[0].program, held[0].key.seq))
        if but(held[0]):
            fail(db, *held)
        else:
            finish(db, *held)
    return ran


# --- continue, stop ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [None, "continue"])
def test_other_branches_go_on_unless_told_otherwise(db: Database, name: str | None) -> None:
    flow_id, left, right = begin(db, fork(db, name))
    fail(db, left)
    finish(db, right)
    assert run(db) == [("Noop", 5)]
    assert statuses(db, flow_id) == [3, 2, 3, 0, 3, 0]
    assert flow(db, flow_id).flow_status == Status.SUSPEND
    hold(db)


def test_a_stopped_flow_begins_nothing_new(db: Database) -> None:
    flow_id, left, right = begin(db, fork(db, "stop"))
    fail(db, left)
    assert statuses(db, flow_id) == [3, 2, 1, 2, 2, 2]
    assert [task(db, Key(flow_id, seq)).reason for seq in (2, 4, 5, 6)] == [Reason.FAILED, *[Reason.STOPPED] * 3]
    hold(db)
    finish(db, right)  # what runs may end
    assert claim(db) == []
    assert statuses(db, flow_id) == [3, 2, 3, 2, 2, 2]
    assert task(db, Key(flow_id, 5)).wait_count == 0
    assert told(db, "flow stopped") == [{"failed": [2], "suspended": 3}]
    hold(db)


def test_recovery_of_a_stopped_flow(db: Database) -> None:
    flow_id, left, right = begin(db, fork(db, "stop"))
    fail(db, left)
    finish(db, right)
    control.recover(db, flow_id, actor="me")
    sweep(db)
    assert sorted(run(db)) == [("Noop", 2), ("Noop", 4), ("Noop", 5), ("Noop", 6)]
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_a_flow_that_stops_twice(db: Database) -> None:
    flow_id, left, right = begin(db, fork(db, "stop"))
    fail(db, left)
    fail(db, right)
    assert statuses(db, flow_id) == [3, 2, 2, 2, 2, 2]
    control.recover(db, flow_id, actor="me")
    fail(db, *claim(db, 1))
    assert sorted(statuses(db, flow_id)) == [2, 2, 2, 2, 2, 3]
    hold(db)


@pytest.mark.parametrize("rule", ["cleanup", "all_done", "one_failed"])
def test_what_listens_to_failures_runs_in_a_stopped_flow(db: Database, rule: str) -> None:
    define_graph(db, "w", [(1, 2), (2, 3), (1, 4), (3, 5)])
    option(db, 3, trigger_rule=rule)
    policy(db, "stop")
    flow_id, left, right = begin(db)
    fail(db, left)
    finish(db, right)
    assert run(db) == [("Noop", 3)]
    assert statuses(db, flow_id) == [3, 2, 3, 3, 2]
    hold(db)


def test_post_runs_in_a_stopped_flow(db: Database) -> None:
    define(db, steps=3)
    option(db, 1, post_program="Behind")
    policy(db, "stop")
    flow_id = start(db)
    enlisted(db)
    assert run(db, but=lambda held: held.program == "Noop") == [("Noop", 1), ("Behind", 2)]
    assert statuses(db, flow_id) == [2, 3, 2, 2]
    hold(db)


def test_what_has_begun_may_come_to_its_end(db: Database) -> None:
    flow_id, left, right = begin(db, fork(db, "stop"))
    settle_as(db, [Settlement(right, "retry", error="once more", delay_s=0)])
    fail(db, left)
    assert task(db, Key(flow_id, 3)).reason == Reason.RETRY
    supervise.fire_due(db)
    assert run(db) == [("Noop", 3)]
    assert claim(db) == []
    hold(db)


def test_a_plan_in_a_stopped_flow_begins_nothing(db: Database) -> None:
    flow_id, left, right = begin(db, fork(db, "stop"))
    fail(db, left)
    plan = PlanWish((PlannedTask("Noop"), PlannedTask("Noop", after=(0,))))
    settle_as(db, [Settlement(right, "finish", plan=plan)])
    assert claim(db) == []
    assert statuses(db, flow_id)[6:] == [2, 2]
    hold(db)


def test_what_a_person_resumes_in_a_stopped_flow_stays_resumed(db: Database) -> None:
    flow_id, left, right = begin(db, fork(db, "stop"))
    fail(db, left)
    control.resume(db, flow_id, [5], actor="me")
    finish(db, right)
    assert run(db) == [("Noop", 5)]
    hold(db)


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_PROGRAM, Reason.BAD_PARAMETERS])
@pytest.mark.parametrize("name", ["stop", "rollback"])
def test_what_was_never_tried_has_not_failed(db: Database, name: str, reason: str) -> None:
    flow_id, left, right = begin(db, fork(db, name))
    fail(db, left, reason=reason)
    finish(db, right)
    assert run(db) == [("Noop", 5)]
    assert flow(db, flow_id).reason is None
    hold(db)


def test_a_lost_task_stops_its_flow(db: Database) -> None:
    flow_id, left, _ = begin(db, fork(db, "stop"))
    kill_lease(db)
    supervise.reap(db, grace_s=0, max_losses=1)
    assert task(db, left.key).reason == Reason.LOST
    assert statuses(db, flow_id) == [3, 2, 2, 2, 2, 2]
    hold(db)


def test_two_branches_that_fail_together(db: Database) -> None:
    flow_id, left, right = begin(db, fork(db, "stop"))
    together(lambda: fail(db, left), lambda: fail(db, right))
    assert statuses(db, flow_id) == [3, 2, 2, 2, 2, 2]
    hold(db)


# --- roll back --------------------------------------------------------------------------------------------------------


def chain(db: Database, steps: int = 4, **columns: Any) -> None:
    """Steps that undo themselves by a program of their own, except the third."""
    define(db, steps=steps, program="Do", param1_key="n", param1_value="1")
    for seq in range(1, steps + 1):
        if seq != 3:
            option(db, seq, name=f"s{seq}", rollback_program=f"Undo{seq}", **columns)
    policy(db, "rollback")


def test_a_failed_flow_is_undone_backwards(db: Database) -> None:
    chain(db, 5)
    flow_id = start(db)
    enlisted(db)
    assert run(db, but=lambda held: held.key.seq == 4) == [("Do", seq) for seq in (1, 2, 3, 4)]
    made = flow(db, flow_id)
    assert (made.flow_status, made.reason, made.closing) == (Status.IGNORE, Reason.ROLLING_BACK, 1)
    failed, never = tasks(db, flow_id)[3:]
    assert (failed.exec_status, failed.reason, failed.error) == (9, Reason.FAILED, "no luck")
    assert (never.exec_status, never.reason) == (9, Reason.ROLLED_BACK)
    hold(db)
    assert close_ended(db) == 1
    made = flow(db, flow_id)
    assert (made.flow_status, made.task_count, made.finished_ts) == (Status.RUNNING, 7, None)
    second, first = tasks(db, flow_id)[5:]
    assert [(row.program, row.made_by_exec_seq, row.phase, row.name) for row in (second, first)] == [
        ("Undo2", 2, "rollback", "s2.rollback"),
        ("Undo1", 1, "rollback", "s1.rollback"),
    ]
    assert [(row.depends_task_exec_seq, row.wait_count) for row in (second, first)] == [(-1, 0), (6, 1)]
    assert second.parameters == '{"n":"1"}', "as the step itself was told"
    hold(db)
    assert run(db) == [("Undo2", 6), ("Undo1", 7)]
    assert close_ended(db) == 1
    assert close_ended(db) == 0
    made = flow(db, flow_id)
    assert (made.flow_status, made.reason, made.closing) == (Status.IGNORE, Reason.ROLLED_BACK, 2)
    assert told(db, "flow rolling back") == [{"failed": [4], "closed": 1}]
    assert told(db, "roll-back begun") == [{"tasks": 2, "undoes": [2, 1]}]
    hold(db, at_rest=True)


def test_the_order_is_that_of_completion(db: Database) -> None:
    define_graph(db, "w", [(1, 4), (2, 4), (3, 4)])
    for seq in (1, 2, 3):
        option(db, seq, rollback_program=f"Undo{seq}")
    policy(db, "rollback")
    flow_id = start(db)
    enlisted(db)
    one, two, three = claim(db)
    for held in (two, three, one):
        finish(db, held)
    fail(db, *claim(db))
    close_ended(db)
    assert [row.program for row in tasks(db, flow_id)[4:]] == ["Undo1", "Undo3", "Undo2"]


def test_parameters_of_a_roll_back_replace_those_of_the_step(db: Database) -> None:
    chain(db, 2, rollback_parameters='{"path": "{{ results.s1.path }}", "n": 2}', queue="slow", max_attempts=3)
    sql(db, "UPDATE ms_task_option SET queue = 'default'")
    flow_id = start(db)
    enlisted(db)
    run(db, but=lambda held: held.key.seq == 2)
    close_ended(db)
    undo = tasks(db, flow_id)[2]
    assert json.loads(undo.parameters) == {"path": "{{ results.s1.path }}", "n": 2}
    assert json.loads(undo.templates) == ["path"]
    assert (undo.queue, undo.max_attempts) == ("default", 3)


def test_a_flow_with_nothing_to_undo(db: Database) -> None:
    fork(db, "rollback")
    flow_id, left, right = begin(db)
    fail(db, left)
    assert close_ended(db) == 0, "a task still runs"
    finish(db, right)
    assert close_ended(db) == 1
    assert (flow(db, flow_id).reason, flow(db, flow_id).closing) == (Reason.ROLLED_BACK, 2)
    assert statuses(db, flow_id) == [3, 9, 3, 9, 9, 9]
    hold(db, at_rest=True)


def test_what_runs_may_end_and_is_undone_too(db: Database) -> None:
    fork(db, "rollback")
    option(db, 3, rollback_program="Undo3")
    flow_id, left, right = begin(db)
    fail(db, left)
    assert statuses(db, flow_id) == [3, 9, 1, 9, 9, 9]
    finish(db, right)
    close_ended(db)
    assert run(db) == [("Undo3", 7)]
    hold(db)


@pytest.mark.parametrize(
    "settlement",
    [
        {"kind": "retry", "error": "once more", "delay_s": 60},
        {"kind": "again", "delay_s": 60},
        {"kind": "await", "wait": WaitWish("approval", "may we?")},
        {"kind": "suspend", "reason": Reason.FAILED, "error": "no luck either"},
        {"kind": "suspend", "reason": Reason.UNKNOWN_PROGRAM, "error": "who?"},
        {"kind": "finish", "plan": PlanWish((PlannedTask("Noop"),))},
    ],
    ids=lambda given: given["kind"] + given.get("reason", "") + ("plan" if "plan" in given else ""),
)
def test_whatever_ran_on_ends_with_the_flow(db: Database, settlement: dict[str, Any]) -> None:
    fork(db, "rollback")
    flow_id, left, right = begin(db)
    fail(db, left)
    settle_as(db, [Settlement(right, **settlement)])
    assert flow(db, flow_id).flow_status == Status.IGNORE
    assert all(row.state != "open" for row in rows(db, wait))
    assert close_ended(db) == 1
    assert flow(db, flow_id).reason == Reason.ROLLED_BACK
    hold(db, at_rest=True)


@pytest.mark.needs("row_locks")
def test_a_task_that_goes_back_to_waiting_while_the_other_fails(db: Database) -> None:
    fork(db, "rollback")
    flow_id, left, right = begin(db)
    with ThreadPoolExecutor(1) as pool:
        with db.transaction() as conn:
            settle(conn, db, "watcher-1", [Settlement(right, "await", wait=WaitWish("approval", "may we?"))])
            failing = pool.submit(fail, db, left)
            with pytest.raises(TimeoutError):
                failing.result(0.5)  # it waits for the flow, to see what the other does to it
        failing.result(30)
    assert (task(db, right.key).exec_status, task(db, right.key).reason) == (9, Reason.ROLLED_BACK)
    assert flow(db, flow_id).flow_status == Status.IGNORE
    hold(db)


def test_a_task_that_waited_is_closed_with_its_wait(db: Database) -> None:
    fork(db, "rollback")
    flow_id, left, right = begin(db)
    settle_as(db, [Settlement(right, "await", wait=WaitWish("approval", "may we?"))])
    fail(db, left)
    assert (task(db, right.key).exec_status, task(db, right.key).reason) == (9, Reason.ROLLED_BACK)
    assert [row.state for row in rows(db, wait)] == ["cancelled"]
    assert flow(db, flow_id).flow_status == Status.IGNORE
    hold(db)


def test_a_sub_flow_ends_with_its_parent(db: Database) -> None:
    define(db, "child", steps=2)
    fork(db, "rollback")
    flow_id, left, right = begin(db)
    settle_as(db, [Settlement(right, "await", wait=WaitWish("flow", "child"))])
    [child] = [row for row in rows(db, flow_stat) if row.task_id == "child"]
    [running] = claim(db)
    fail(db, left)
    made = flow(db, child.task_flow_id)
    assert (made.flow_status, made.reason) == (Status.IGNORE, Reason.CANCELLED)
    assert settle_as(db, [Settlement(running, "finish")]).verdicts == [Verdict.STALE]
    assert flow(db, flow_id).flow_status == Status.IGNORE
    close_ended(db)
    hold(db, at_rest=True)


def test_a_deadline_does_not_cut_off_a_roll_back(db: Database) -> None:
    fork(db, "rollback")
    sql(db, "UPDATE ms_workflow SET timeout_s = 3600")
    flow_id, left, _ = begin(db)
    assert flow(db, flow_id).deadline_ts is not None
    fail(db, left)
    assert (flow(db, flow_id).flow_status, flow(db, flow_id).deadline_ts) == (Status.RUNNING, None)


def test_what_a_plan_added_is_not_undone_as_its_step(db: Database) -> None:
    chain(db, 2)
    flow_id = start(db)
    enlisted(db)
    plan = PlanWish((PlannedTask("Other"),))
    settle_as(db, [Settlement(claim(db)[0], "finish", plan=plan)])
    assert run(db, but=lambda held: held.key.seq == 2) == [("Other", 3), ("Do", 2)]
    close_ended(db)
    assert [(row.program, row.made_by_exec_seq) for row in tasks(db, flow_id)[3:]] == [("Undo1", 1)]


def test_a_roll_back_that_was_run_again_can_be_rolled_back_again(db: Database) -> None:
    chain(db, 3)
    flow_id = start(db)
    enlisted(db)
    run(db, but=lambda held: held.key.seq == 3)
    close_ended(db)
    run(db)
    close_ended(db)
    before = len(tasks(db, flow_id))
    control.rerun_from(db, flow_id, 1, actor="me", force=True)
    run(db, but=lambda held: held.key.seq == 3)
    while close_ended(db):
        run(db)
    undone = [row.program for row in tasks(db, flow_id)[before:]]
    assert undone == ["Undo2", "Undo1"]
    assert flow(db, flow_id).reason == Reason.ROLLED_BACK
    hold(db, at_rest=True)


def test_a_paused_task_does_not_hold_up_a_roll_back(db: Database) -> None:
    fork(db, "rollback")
    flow_id, left, right = begin(db)
    control.pause(db, flow_id, [6], actor="me")
    finish(db, right)
    fail(db, left)
    assert statuses(db, flow_id) == [3, 9, 3, 9, 9, 9]
    hold(db)


def test_clean_up_runs_before_the_roll_back(db: Database) -> None:
    define(db, steps=3, program="Do")
    option(db, 1, rollback_program="Undo")
    option(db, 2, post_program="Behind")
    option(db, 3, post_program="Never")
    policy(db, "rollback")
    flow_id = start(db)
    enlisted(db)
    ran = run(db, but=lambda held: held.key.seq == 2)
    assert [program for program, _ in ran] == ["Do", "Do", "Behind"]
    assert close_ended(db) == 1
    assert run(db) == [("Undo", 6)]
    assert close_ended(db) == 1
    assert statuses(db, flow_id) == [3, 9, 3, 9, 9, 3], "a post of what never ran is skipped"
    hold(db, at_rest=True)


def test_a_handler_of_errors_comes_first(db: Database) -> None:
    define(db, steps=3, program="Do")
    policy(db, "rollback")
    sql(db, "INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq) VALUES ('w', 2, 1)")
    sql(db, "INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq, kind) VALUES ('w', 3, 1, 'error')")
    flow_id = start(db)
    enlisted(db)
    assert run(db, but=lambda held: held.key.seq == 1) == [("Do", 1), ("Do", 3)]
    assert (flow(db, flow_id).flow_status, flow(db, flow_id).reason) == (Status.FINISH, None)


def test_a_cleanup_behind_an_error_edge_is_not_left_waiting(db: Database) -> None:
    """Nothing takes its edge any more: it is skipped, and the flow ends."""
    define(db, steps=3, program="Do")
    policy(db, "rollback")
    option(db, 3, trigger_rule="cleanup")
    sql(db, "INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq) VALUES ('w', 2, 1)")
    edge = "INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq, kind, only_if) VALUES ('w', 3, 1, 'error', "
    sql(db, edge + "'error.message == \"another\"')")
    flow_id = start(db)
    enlisted(db)
    assert [seq for _, seq in run(db, but=lambda held: held.key.seq == 1)] == [1]
    assert statuses(db, flow_id) == [9, 9, 9]
    assert close_ended(db) == 1
    hold(db, at_rest=True)


def test_a_failed_roll_back_waits_for_a_person(db: Database) -> None:
    chain(db, 3)
    flow_id = start(db)
    enlisted(db)
    run(db, but=lambda held: held.key.seq == 3)
    close_ended(db)
    assert run(db, but=lambda held: held.program == "Undo2") == [("Undo2", 4)]
    assert (flow(db, flow_id).flow_status, flow(db, flow_id).reason) == (Status.SUSPEND, Reason.ROLLING_BACK)
    assert close_ended(db) == 0
    hold(db)
    control.recover(db, flow_id, actor="me")
    assert run(db, but=lambda held: held.program == "Undo2") == [("Undo2", 4)]
    control.ignore(db, flow_id, [4], actor="me", note="undone by hand")
    assert run(db) == [("Undo1", 5)]
    close_ended(db)
    assert (flow(db, flow_id).flow_status, flow(db, flow_id).reason) == (Status.IGNORE, Reason.ROLLED_BACK)
    hold(db, at_rest=True)


def test_a_retried_roll_back_is_retried(db: Database) -> None:
    chain(db, 3, max_attempts=2, retry_delay_s=0)
    flow_id = start(db)
    enlisted(db)
    run(db, but=lambda held: held.key.seq == 3)
    close_ended(db)
    [held] = claim(db)
    settle_as(db, [Settlement(held, "retry", error="once more", delay_s=0)])
    supervise.fire_due(db)
    assert run(db) == [("Undo2", 4), ("Undo1", 5)]
    close_ended(db)
    assert flow(db, flow_id).reason == Reason.ROLLED_BACK


def test_a_lost_task_rolls_its_flow_back(db: Database) -> None:
    chain(db, 2)
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db))
    claim(db)
    kill_lease(db)
    supervise.reap(db, grace_s=0, max_losses=1)
    assert (flow(db, flow_id).flow_status, flow(db, flow_id).reason) == (Status.IGNORE, Reason.ROLLING_BACK)
    close_ended(db)
    enlisted(db, "watcher-2")
    [held] = claim(db, watcher_id="watcher-2")
    assert held.program == "Undo1"


@pytest.mark.parametrize("rule", ["cleanup", "one_failed", "all_done"])
def test_who_listens_hears_of_a_lost_task_before_the_roll_back(db: Database, rule: str) -> None:
    define(db, program="Do")
    sql(db, "INSERT INTO ms_task_definition(task_id, task_seq, program) VALUES ('w', 2, 'Behind')")
    option(db, 2, trigger_rule=rule)
    policy(db, "rollback")
    flow_id = start(db)
    enlisted(db)
    claim(db)
    kill_lease(db)
    supervise.reap(db, grace_s=0, max_losses=1)
    enlisted(db, "watcher-2")
    [held] = claim(db, watcher_id="watcher-2")
    assert held.program == "Behind"
    assert close_ended(db) == 0
    settle_as(db, [Settlement(held, "finish")], "watcher-2")
    assert close_ended(db) == 1
    assert flow(db, flow_id).reason == Reason.ROLLED_BACK


def test_two_watchers_close_one_flow_once(db: Database) -> None:
    chain(db, 3)
    flow_id = start(db)
    enlisted(db)
    run(db, but=lambda held: held.key.seq == 3)
    together(*[lambda: close_ended(db)] * 4)
    assert [row.program for row in tasks(db, flow_id)[3:]] == ["Undo2", "Undo1"]
    hold(db)


def test_definitions_edited_meanwhile_change_nothing(db: Database) -> None:
    chain(db, 3)
    flow_id = start(db)
    enlisted(db)
    run(db, but=lambda held: held.key.seq == 3)
    sql(db, "UPDATE ms_task_option SET rollback_program = 'Other'")
    close_ended(db)
    assert [row.program for row in tasks(db, flow_id)[3:]] == ["Undo2", "Undo1"]
