"""What the five seeds promise of their verbs, by the numbers of their feature lists."""

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
    start,
    states,
    task,
    tasks,
)
from invariants import hold

from engine import control
from engine.database import Database
from engine.errors import Conflict
from engine.keys import Key
from engine.settle import Settlement
from engine.states import Reason, Status
from engine.tables import attempt, event, task_definition

EIGHT = [(1, 2), (2, 3), (2, 4), (3, 5), (4, 6), (5, 6), (6, 7), (6, 8)]
"""A sample of eight steps: one start, two branches, two ends."""


def fail(db: Database, item: object, words: str = "x") -> None:
    settle_as(db, [Settlement(item, "suspend", reason=Reason.FAILED, error=words)])  # type: ignore[arg-type]


@pytest.fixture
def failed(db: Database) -> str:
    """A flow of five steps whose fourth has failed."""
    define(db, steps=5)
    flow_id = start(db)
    enlisted(db)
    for _ in range(3):
        finish(db, *claim(db))
    fail(db, *claim(db))
    return flow_id


def test_w14_a_job_with_a_failed_task_is_never_lifted_to_success(db: Database) -> None:
    define_graph(db, "g", [(1, 2), (1, 3)])
    flow_id = start(db, "g")
    enlisted(db)
    finish(db, *claim(db))
    second, third = claim(db)
    fail(db, second)
    finish(db, third)
    assert flow(db, flow_id).flow_status == Status.SUSPEND
    control.cancel(db, flow_id, actor="ann")
    assert flow(db, flow_id).flow_status == Status.IGNORE
    hold(db, at_rest=True)


def test_w15_force_complete_works_on_a_failed_task(db: Database, failed: str) -> None:
    assert control.finish(db, failed, 4, {"by": "hand"}, actor="ann", note="done elsewhere") == [4]
    assert states(db, failed) == [(3, -1)] * 4 + [(0, 0)]
    assert run_all(db) == [Key(failed, 5)]
    (told,) = [row for row in rows(db, event) if row.what == "task finished by force"]
    assert (told.actor, json.loads(told.details)) == ("ann", {"note": "done elsewhere"})
    hold(db, at_rest=True)


def test_w17_an_ignored_task_leaves_nobody_blocked_for_ever(db: Database) -> None:
    define(db, steps=3)
    flow_id = start(db)
    enlisted(db)
    control.ignore(db, flow_id, [2], actor="ann")
    assert run_all(db) == [Key(flow_id, 1), Key(flow_id, 3)]
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_w19_retry_makes_a_failed_task_ready_and_its_flow_running(db: Database, failed: str) -> None:
    assert control.retry(db, failed, [4], actor="ann") == [4]
    row = task(db, Key(failed, 4))
    assert (row.exec_status, row.wait_count, row.attempt, row.losses, row.error) == (0, 0, 0, 0, None)
    assert flow(db, failed).flow_status == Status.RUNNING
    assert [item.outcome for item in rows(db, attempt)] == ["failed"], "the failed try stays readable"
    (again,) = claim(db)
    assert again.claim_no == 2
    hold(db)


@pytest.mark.parametrize("seq, state", [(1, "FINISH"), (5, "WAIT")])
def test_w19_others_cannot_be_retried(db: Database, failed: str, seq: int, state: str) -> None:
    before = states(db, failed)
    with pytest.raises(Conflict, match=f"task {seq} of flow '{failed}' is in {state}: only a suspended"):
        control.retry(db, failed, [4, seq], actor="ann")
    assert states(db, failed) == before


def test_w19_retry_of_a_paused_task_with_unmet_prerequisites_stays_blocked(db: Database, failed: str) -> None:
    control.pause(db, failed, [5], actor="ann")
    control.retry(db, failed, [5], actor="ann")
    assert task(db, Key(failed, 5)).wait_count == 1
    assert claim(db) == []


def test_retry_of_all_that_failed_leaves_what_was_paused(db: Database) -> None:
    define_graph(db, "g", [(1, 4), (2, 4), (3, 4)])
    flow_id = start(db, "g")
    enlisted(db)
    for item in claim(db, 2):
        fail(db, item)
    control.pause(db, flow_id, actor="ann")
    assert control.retry(db, flow_id, actor="ann") == [1, 2]
    assert states(db, flow_id) == [(0, 0), (0, 0), (2, 0), (2, 3)]
    hold(db)


def test_sy16_recover_runs_what_is_left_and_keeps_the_times_of_the_rest(db: Database, failed: str) -> None:
    before = tasks(db, failed)[:3]
    assert control.recover(db, failed, actor="ann") == [4]
    assert run_all(db) == [Key(failed, 4), Key(failed, 5)]
    assert tasks(db, failed)[:3] == before
    assert flow(db, failed).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_sy16_recover_of_a_fresh_flow_is_a_run(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    assert control.recover(db, flow_id, actor="ann") == []
    assert run_all(db) == [Key(flow_id, 1), Key(flow_id, 2)]


def test_rx21_a_second_failure_is_recoverable_too(db: Database, failed: str) -> None:
    for _ in range(3):
        control.recover(db, failed, actor="ann")
        fail(db, *claim(db), words="still")
    control.recover(db, failed, actor="ann")
    assert run_all(db) == [Key(failed, 4), Key(failed, 5)], "and the first steps are not called again"
    assert [row.outcome for row in rows(db, attempt)] == ["failed"] * 4
    hold(db, at_rest=True)


def test_rx19_a_failure_keeps_what_went_wrong_and_where(db: Database, failed: str) -> None:
    row = task(db, Key(failed, 4))
    assert (row.reason, row.error, row.task_seq, row.program) == (Reason.FAILED, "x", 4, "Noop")


def test_rx19_a_final_failure_is_one_that_a_person_makes_final(db: Database, failed: str) -> None:
    """A suspended task can be recovered; a cancelled flow has failed for good, and says so."""
    control.cancel(db, failed, actor="ann")
    assert (flow(db, failed).flow_status, flow(db, failed).reason) == (Status.IGNORE, Reason.CANCELLED)


def test_fx26_mark_success_calls_no_program_and_is_recorded(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    control.finish(db, flow_id, 1, actor="ann")
    assert run_all(db) == [Key(flow_id, 2)]
    row = task(db, Key(flow_id, 1))
    assert (row.claims, row.started_ts, row.exec_status) == (0, None, Status.FINISH)
    assert [item.what for item in rows(db, event)] == ["task finished by force"]


@pytest.fixture
def eight(db: Database) -> str:
    """The sample of eight steps, named, run to its end."""
    define_graph(db, "eight", EIGHT)
    with db.transaction() as conn:
        for seq in range(1, 9):
            step = task_definition.c.task_seq == seq
            conn.execute(task_definition.update().where(step).values(program=f"{'runme' if seq > 2 else 'also'}_{seq}"))
    flow_id = start(db, "eight")
    enlisted(db)
    run_all(db)
    return flow_id


def generations(db: Database, flow_id: str) -> list[int]:
    return [row.generation for row in tasks(db, flow_id)]


def test_sy10_a_second_run_executes_all_steps_again_in_the_same_rows(db: Database, eight: str) -> None:
    registered = flow(db, eight).registered_ts
    assert control.rerun_all(db, eight, actor="ann") == list(range(1, 9))
    assert states(db, eight)[0] == (0, 0)
    assert flow(db, eight).flow_status == Status.RUNNING
    hold(db)
    assert len(run_all(db)) == 8
    assert generations(db, eight) == [1] * 8
    assert (flow(db, eight).flow_status, flow(db, eight).registered_ts) == (Status.FINISH, registered)
    hold(db, at_rest=True)


def test_sy18_run_one_runs_only_that_step(db: Database, eight: str) -> None:
    before = tasks(db, eight)
    assert control.rerun(db, eight, [6], actor="ann") == [6]
    assert states(db, eight)[5] == (0, 0)
    hold(db)
    assert run_all(db) == [Key(eight, 6)]
    after = tasks(db, eight)
    assert [new for new, old in zip(after, before, strict=True) if new != old] == [after[5]]
    assert flow(db, eight).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_sy18_run_one_of_a_blocked_step_names_the_blockers(db: Database, eight: str) -> None:
    control.rerun(db, eight, [4, 5], actor="ann")
    with pytest.raises(Conflict, match=r"task 6 of flow .* depends on task 4 \(WAIT\), 5 \(WAIT\): these must be over"):
        control.rerun(db, eight, [6], actor="ann")
    hold(db)


def test_sy19_run_from_runs_the_step_and_all_behind_it(db: Database, eight: str) -> None:
    first = task(db, Key(eight, 1))
    assert control.rerun_from(db, eight, 2, actor="ann") == [2, 3, 4, 5, 6, 7, 8]
    hold(db)
    ran = run_all(db)
    assert sorted(ran) == [Key(eight, seq) for seq in range(2, 9)], "each once, also behind the diamond (SY20)"
    assert task(db, Key(eight, 1)) == first
    hold(db, at_rest=True)


@pytest.mark.parametrize("seq, behind", [(3, [3, 5, 6, 7, 8]), (6, [6, 7, 8]), (8, [8])])
def test_sy21_all_dependent_steps(db: Database, eight: str, seq: int, behind: list[int]) -> None:
    assert control.rerun_from(db, eight, seq, actor="ann") == behind


def test_sy23_run_one_in_an_unfinished_flow_is_visible_and_recorded(db: Database, failed: str) -> None:
    """The other way than synergy, which hides it: D6. The rest of the flow keeps its state."""
    assert control.rerun(db, failed, [2], actor="ann", note="data came late") == [2]
    assert states(db, failed) == [(3, -1), (0, 0), (3, -1), (2, 0), (0, 1)]
    assert flow(db, failed).flow_status == Status.SUSPEND
    (told,) = [row for row in rows(db, event) if row.what == "task rerun"]
    details = {"generation": 1, "was": "FINISH", "reason": None, "note": "data came late"}
    assert (told.task_exec_seq, told.actor, json.loads(told.details)) == (2, "ann", details)
    hold(db)
    assert run_all(db) == [Key(failed, 2)]
    hold(db)


def test_fx27_force_is_not_needed_to_run_what_succeeded(db: Database, eight: str) -> None:
    assert control.rerun(db, eight, [1], actor="ann") == [1]


def test_fx31_clear_by_pattern_touches_only_what_matches(db: Database, eight: str) -> None:
    assert control.rerun_matching(db, eight, "^runme_[34]", actor="ann") == [3, 4]
    assert sorted(run_all(db)) == [Key(eight, 3), Key(eight, 4)]
    assert generations(db, eight) == [0, 0, 1, 1, 0, 0, 0, 0]
    hold(db, at_rest=True)


@pytest.mark.parametrize(
    "upstream, downstream, picked",
    [
        (False, False, [5]),
        (True, False, [1, 2, 3, 5]),
        (False, True, [5, 6, 7, 8]),
        (True, True, [1, 2, 3, 5, 6, 7, 8]),
    ],
)
def test_fx35_relatives_at_any_depth(
    db: Database, eight: str, upstream: bool, downstream: bool, picked: list[int]
) -> None:
    assert control.rerun_matching(db, eight, "_5$", upstream=upstream, downstream=downstream, actor="ann") == picked
    hold(db)
    assert len(run_all(db)) == len(picked)
    hold(db, at_rest=True)


def test_fx36_descendants_of_a_failure_do_not_run_and_the_rest_does(db: Database) -> None:
    """FX37 as well: A before B and D, B before C."""
    define_graph(db, "g", [(1, 2), (2, 3), (1, 4)])
    flow_id = start(db, "g")
    enlisted(db)
    finish(db, *claim(db))
    for item in claim(db):
        fail(db, item) if item.key.seq == 2 else finish(db, item)
    assert states(db, flow_id) == [(3, -1), (2, 0), (0, 1), (3, -1)]
    assert flow(db, flow_id).flow_status == Status.SUSPEND
