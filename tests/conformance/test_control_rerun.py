"""Generations: what a re-run keeps of the earlier one, whom it makes wait, what it supersedes, what it refuses."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

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
    rows,
    run_all,
    settle_as,
    sql,
    start,
    states,
    sweep,
    task,
    tasks,
)
from invariants import hold
from sqlalchemy import insert, select, update
from sqlalchemy.event import listen

from engine import control, flow_counts, supervise
from engine.database import Database
from engine.dialects.clock import now
from engine.ending.closing import close_ended
from engine.ending.deadlines import end_overdue
from engine.errors import BadRequest, Conflict, UnknownFlow, UnknownWorkflow
from engine.graph.dependencies import Policy
from engine.growth import looping, plan_checks
from engine.inputs import arrivals_of, upstream_of
from engine.keys import Key
from engine.settle import Settlement, Verdict
from engine.states import Reason, Status
from engine.tables import attempt, event, flow_stat, run_edge, task_option, task_stat, wait, workflow
from programs.outcomes import Task


@pytest.fixture
def chain(db: Database) -> str:
    """A finished flow of three tasks, each with a result."""
    define(db, steps=3)
    flow_id = start(db)
    enlisted(db)
    for seq in (1, 2, 3):
        finish(db, *claim(db), result=f'"first {seq}"')
    return flow_id


def history_of(db: Database, key: Key) -> list[Any]:
    mine = attempt.c.task_flow_id == key.flow_id, attempt.c.task_exec_seq == key.seq
    with db.read() as conn:
        return list(conn.execute(select(attempt).where(*mine).order_by(attempt.c.generation, attempt.c.claim_no)))


def test_the_earlier_generation_stays_readable(db: Database, chain: str) -> None:
    before = task(db, Key(chain, 2))
    control.rerun(db, chain, [2], actor="ann")
    row = task(db, Key(chain, 2))
    assert (row.exec_status, row.wait_count, row.generation) == (Status.WAIT, 0, 1)
    assert (row.result, row.claim_id, row.owner, row.attempt, row.started_ts, row.finished_ts) == (None,) * 3 + (
        0,
        None,
        None,
    )
    assert row.claims == 1, "claims go on counting"
    (kept,) = history_of(db, Key(chain, 2))
    assert (kept.outcome, kept.accepted, kept.result, kept.generation) == ("finished", True, '"first 2"', 0)
    assert (kept.claim_id, kept.claim_no, kept.watcher_id) == (before.claim_id, 1, before.owner)
    assert (kept.claimed_ts, kept.ended_ts) == (before.started_ts, before.finished_ts)
    hold(db)


def test_every_generation_is_kept(db: Database, chain: str) -> None:
    for number in (1, 2, 3):
        control.rerun(db, chain, [2], actor="ann")
        finish(db, *claim(db), result=f'"again {number}"')
        hold(db, at_rest=True)
    found = [(row.generation, row.claim_no, row.result) for row in history_of(db, Key(chain, 2))]
    assert found == [(0, 1, '"first 2"'), (1, 2, '"again 1"'), (2, 3, '"again 2"')]
    row = task(db, Key(chain, 2))
    assert (row.generation, row.claims, row.result) == (3, 4, '"again 3"')


def test_a_finish_that_was_recorded_gets_its_result(db: Database) -> None:
    define(db)
    flow_id = start(db)
    enlisted(db)
    settle_as(db, [Settlement(claim(db)[0], "finish", result="7", log="said something")])
    control.rerun(db, flow_id, [1], actor="ann")
    (kept,) = history_of(db, Key(flow_id, 1))
    assert (kept.outcome, kept.result, kept.log) == ("finished", "7", "said something")


@pytest.mark.parametrize("claimed", [False, True], ids=["never claimed", "failed before"])
def test_a_result_given_by_hand_is_kept_and_no_try_gets_it(db: Database, claimed: bool) -> None:
    define(db)
    flow_id = start(db)
    enlisted(db)
    if claimed:
        settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="x")])
    control.finish(db, flow_id, 1, "mine", actor="ann")
    control.rerun(db, flow_id, [1], actor="ann")
    found = {row.outcome: (row.accepted, row.result) for row in history_of(db, Key(flow_id, 1))}
    assert found == {"by hand": (False, '"mine"')} | ({"failed": (True, None)} if claimed else {})
    hold(db)
    run_all(db)
    control.rerun(db, flow_id, [1], actor="ann")
    assert len(history_of(db, Key(flow_id, 1))) == 2 + claimed
    hold(db)


def test_tries_say_which_generation_they_were_of(db: Database, chain: str) -> None:
    control.rerun(db, chain, [2], actor="ann")
    settle_as(db, [Settlement(claim(db)[0], "retry", error="x", delay_s=0)])
    sql(db, "UPDATE kr_task_stat SET due_ts = '2001-01-01 00:00:00' WHERE due_ts IS NOT NULL")
    sweep(db)
    claim(db)
    kill_lease(db)
    assert supervise.reap(db, grace_s=3600) == 1
    found = [(row.generation, row.outcome) for row in history_of(db, Key(chain, 2))]
    assert found == [(0, "finished"), (1, "failed"), (1, "lost")]


def test_a_successor_that_has_not_settled_waits_again(db: Database) -> None:
    define_graph(db, "g", [(1, 2), (1, 3), (2, 4), (3, 4)])
    flow_id = start(db, "g")
    enlisted(db)
    finish(db, *claim(db))
    finish(db, *claim(db))
    assert states(db, flow_id)[3] == (0, 0)
    control.pause(db, flow_id, [4], actor="ann")
    assert control.rerun(db, flow_id, [2], actor="ann") == [2]
    assert states(db, flow_id) == [(3, -1), (0, 0), (3, -1), (2, 1)]
    hold(db)
    control.resume(db, flow_id, [4], actor="ann")
    assert run_all(db) == [Key(flow_id, 2), Key(flow_id, 4)]
    hold(db, at_rest=True)


def test_what_has_not_begun_comes_along_without_a_new_generation(db: Database) -> None:
    define(db, steps=4)
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db))
    finish(db, *claim(db))
    assert control.rerun_from(db, flow_id, 1, actor="ann") == [1, 2]
    assert states(db, flow_id) == [(0, 0), (0, 1), (0, 1), (0, 1)]
    assert [row.generation for row in tasks(db, flow_id)] == [1, 1, 0, 0]
    hold(db)
    assert len(run_all(db)) == 4
    hold(db, at_rest=True)


@pytest.mark.parametrize("seqs, words", [([3], "is in WAIT: it is still to run"), ([1, 9], "has no task 9")])
def test_named_tasks_must_fit(db: Database, seqs: list[int], words: str) -> None:
    define(db, steps=3)
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db))
    before = tasks(db, flow_id)
    with pytest.raises((Conflict, BadRequest), match=words):
        control.rerun(db, flow_id, seqs, actor="ann")
    assert tasks(db, flow_id) == before


def test_an_unknown_flow_is_named(db: Database) -> None:
    for verb in (control.rerun_all, control.run_again):
        with pytest.raises(UnknownFlow, match="nowhere"):
            verb(db, "nowhere", actor="ann")


def test_a_suspended_task_is_run_again(db: Database, chain: str) -> None:
    control.rerun(db, chain, [2], actor="ann")
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="x")])
    assert control.rerun(db, chain, [2], actor="ann") == [2]
    row = task(db, Key(chain, 2))
    assert (row.exec_status, row.generation, row.error) == (Status.WAIT, 2, None)
    assert [(item.generation, item.outcome) for item in history_of(db, Key(chain, 2))] == [
        (0, "finished"),
        (1, "failed"),
    ]
    run_all(db)
    hold(db, at_rest=True)


def test_a_task_that_waits_for_a_time_or_a_message_starts_anew(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db))
    settle_as(db, [Settlement(claim(db)[0], "again", delay_s=3600)])
    with db.transaction() as conn:
        row = {"wait_id": "w", "task_flow_id": flow_id, "task_exec_seq": 2, "kind": "message", "created_ts": now()}
        conn.execute(insert(wait).values(**row))
    assert control.rerun_from(db, flow_id, 1, actor="ann") == [1, 2]
    row = task(db, Key(flow_id, 2))
    assert (row.wait_count, row.due_ts, row.reason) == (1, None, None)
    assert rows(db, wait)[0].state == "cancelled"
    assert run_all(db) == [Key(flow_id, 1), Key(flow_id, 2)]
    hold(db, at_rest=True)


def test_an_answer_of_the_earlier_generation_does_not_count_for_the_next(db: Database, chain: str) -> None:
    with db.transaction() as conn:
        row = {"wait_id": "w", "task_flow_id": chain, "task_exec_seq": 2, "kind": "approval", "created_ts": now()}
        conn.execute(insert(wait).values(**row, state="arrived", payload="true", closed_ts=now()))
        assert len(arrivals_of(conn, Key(chain, 2))) == 1
    control.rerun(db, chain, [2], actor="ann")
    with db.read() as conn:
        assert arrivals_of(conn, Key(chain, 2)) == []
    assert rows(db, wait)[0].payload == "true", "but it stays readable"


def test_a_running_task_is_refused_unless_forced(db: Database, chain: str) -> None:
    control.rerun(db, chain, [3], actor="ann")
    (held,) = claim(db)
    with pytest.raises(Conflict, match=r"task 3 of flow .* is running: wait until it has ended, or .* force"):
        control.rerun_from(db, chain, 1, actor="ann")
    hold(db)
    assert control.rerun_from(db, chain, 1, force=True, actor="ann") == [1, 2, 3]
    assert states(db, chain) == [(0, 0), (0, 1), (0, 1)]
    assert finish(db, held, result='"late"').verdicts == [Verdict.STALE]
    row = task(db, Key(chain, 3))
    assert (row.exec_status, row.result, row.generation) == (Status.WAIT, None, 2)
    late = history_of(db, Key(chain, 3))[-1]
    assert (late.generation, late.outcome, late.accepted) == (1, "stale", False)
    assert late.claimed_ts is not None
    hold(db)
    assert len(run_all(db)) == 3
    hold(db, at_rest=True)


@pytest.mark.parametrize("force", [False, True])
def test_what_runs_behind_the_set_refuses_it(db: Database, chain: str, force: bool) -> None:
    control.rerun(db, chain, [3], actor="ann")
    (held,) = claim(db)
    with pytest.raises(Conflict, match=r"task 3 of flow .* is running, and depends on task 2: wait until it has ended"):
        control.rerun(db, chain, [2], force=force, actor="ann")
    hold(db)
    finish(db, held)
    assert control.rerun(db, chain, [2], actor="ann") == [2]


def test_the_claim_of_an_earlier_generation_settles_nothing(db: Database, chain: str) -> None:
    """Not even when the row looks, by its numbers, as that claim left it."""
    control.rerun(db, chain, [1], actor="ann")
    (held,) = claim(db)
    for kind in ("finish", "suspend", "again", "retry", "release"):
        control.rerun(db, chain, [1], force=True, actor="ann")
        settlement = Settlement(held, kind, reason="failed", error="x", delay_s=1)
        assert settle_as(db, [settlement]).verdicts == [Verdict.STALE]
        assert states(db, chain)[0] == (0, 0)
        (held,) = claim(db)
    finish(db, held)
    hold(db, at_rest=True)


def test_the_blocker_may_be_one_that_nobody_tells(db: Database, chain: str) -> None:
    """Under Flower's rule an ignored task satisfies nobody."""
    control.rerun(db, chain, [1], actor="ann")
    control.ignore(db, chain, [1], actor="ann")
    with pytest.raises(Conflict, match=r"depends on task 1 \(IGNORE\)"):
        control.rerun(db, chain, [2], actor="ann", policy=Policy(ignore_satisfies=False))
    assert control.rerun(db, chain, [2], actor="ann") == [2]


def test_a_predecessor_settled_by_hand_is_waited_for_until_it_is_told(db: Database, chain: str) -> None:
    control.rerun(db, chain, [1], actor="ann")
    by_hand(db, Key(chain, 1), 9)
    assert control.rerun(db, chain, [2], actor="ann") == [2]
    assert states(db, chain)[1] == (0, 1)
    sweep(db)
    assert states(db, chain)[1] == (0, 0)
    hold(db)


def test_nothing_runs_behind_what_stays_cancelled(db: Database) -> None:
    define_graph(db, "g", [(1, 3), (2, 3)])
    flow_id = start(db, "g")
    enlisted(db)
    finish(db, *claim(db, 1))
    control.cancel(db, flow_id, actor="ann")
    with pytest.raises(Conflict, match=r"task 3 of flow .* depends on task 2 \(cancelled\)"):
        control.rerun_from(db, flow_id, 1, actor="ann")
    assert control.rerun(db, flow_id, [1], actor="ann") == [1]
    assert flow(db, flow_id).reason == Reason.CANCELLED
    run_all(db)
    assert flow(db, flow_id).flow_status == Status.IGNORE
    assert control.rerun_all(db, flow_id, actor="ann") == [1, 2, 3]
    assert flow(db, flow_id).reason is None
    run_all(db)
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_what_was_told_through_an_edge_is_forgotten(db: Database) -> None:
    define_graph(db, "g", [(1, 3), (2, 3)])
    flow_id = start(db, "g")
    enlisted(db)
    run_all(db)
    sql(db, "UPDATE kr_task_edge SET outcome = 'taken'")
    control.rerun(db, flow_id, [1], actor="ann")
    assert [row.outcome for row in rows(db, run_edge)] == ["taken"], "edges of others stay"
    control.rerun(db, flow_id, [2], actor="ann")
    assert [row.outcome for row in rows(db, run_edge)] == [None]


def test_a_flow_that_ends_again_is_closed_again(db: Database, chain: str) -> None:
    sql(db, "UPDATE kr_flow_stat SET closing = 2")
    control.rerun(db, chain, [3], actor="ann")
    assert flow(db, chain).closing == 1


def test_a_flow_that_ran_out_of_time_is_taken_back(db: Database) -> None:
    define(db, steps=3)
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db))
    sql(db, "UPDATE kr_flow_stat SET deadline_ts = '2001-01-01 00:00:00'")
    assert end_overdue(db) == 1
    with pytest.raises(Conflict, match=r"task 3 of flow .* depends on task 2 \(cancelled\)"):
        control.rerun(db, flow_id, [3], actor="ann")
    assert control.recover(db, flow_id, actor="ann") == [2, 3]
    assert (flow(db, flow_id).reason, flow(db, flow_id).deadline_ts) == (None, None)
    assert end_overdue(db) == 0
    assert run_all(db) == [Key(flow_id, 2), Key(flow_id, 3)]
    hold(db, at_rest=True)


@pytest.fixture
def planned(db: Database) -> str:
    """A flow whose second task planned 4 and 5, of which 4 planned 6; 3 has waited for all of them. Finished."""
    define(db, steps=3)
    flow_id = start(db)
    for seq, parent, maker in ((4, 2, 2), (5, 2, 2), (6, 4, 4)):
        made = {"task_seq": seq, "made_by_exec_seq": maker, "wait_count": 1, "program": "Noop"}
        insert_task(db, flow_id, seq, depends_task_exec_seq=parent, **made)
        with db.transaction() as conn:
            conn.execute(insert(run_edge).values(task_flow_id=flow_id, task_exec_seq=3, depends_task_exec_seq=seq))
    sql(db, "UPDATE kr_task_stat SET wait_count = 4 WHERE task_exec_seq = 3")
    sql(db, "UPDATE kr_flow_stat SET task_count = 6")
    enlisted(db)
    hold(db)
    return flow_id


def test_what_a_plan_had_made_is_superseded_when_the_planner_runs_again(db: Database, planned: str) -> None:
    while claimed := claim(db):
        finish(db, *claimed, result='"of old"')
    assert control.rerun_from(db, planned, 2, actor="ann") == [2, 3]
    assert states(db, planned) == [(3, -1), (0, 0), (0, 1), (9, -1), (9, -1), (9, -1)]
    superseded = tasks(db, planned)[3:]
    assert {(row.reason, row.result, row.generation) for row in superseded} == {(Reason.SUPERSEDED, None, 0)}
    (kept,) = history_of(db, Key(planned, 5))
    assert (kept.outcome, kept.result) == ("finished", '"of old"')
    told = {(row.what, row.task_exec_seq) for row in rows(db, event) if row.actor == "ann"}
    assert told == {("task rerun", 2), ("task rerun", 3)} | {("task superseded", seq) for seq in (4, 5, 6)}
    hold(db)
    assert run_all(db) == [Key(planned, 2), Key(planned, 3)]
    hold(db, at_rest=True)
    with pytest.raises(Conflict, match=r"task 5 .* is in IGNORE \(superseded\): run task 2 again, which makes it anew"):
        control.rerun(db, planned, [5], actor="ann")
    assert control.rerun_all(db, planned, actor="ann") == [1, 2, 3]


def test_an_unfinished_plan_does_not_hold_up_what_waits_behind_it(db: Database, planned: str) -> None:
    finish(db, *claim(db))
    finish(db, *claim(db))
    assert states(db, planned) == [(3, -1), (3, -1), (0, 3), (0, 0), (0, 0), (0, 1)]
    assert control.rerun(db, planned, [2], actor="ann") == [2]
    assert states(db, planned) == [(3, -1), (0, 0), (0, 1), (9, -1), (9, -1), (9, -1)]
    hold(db)
    assert run_all(db) == [Key(planned, 2), Key(planned, 3)]
    hold(db, at_rest=True)


def test_a_planned_task_runs_again_by_itself(db: Database, planned: str) -> None:
    run_all(db)
    assert control.rerun(db, planned, [5], actor="ann") == [5]
    assert run_all(db) == [Key(planned, 5)]
    hold(db, at_rest=True)


def run_looping(db: Database, rounds: dict[int, int]) -> list[int]:
    """Run to the end; the steps whose numbers are given go round so often, each time by the innermost loop that they
    may take. Returns the steps in order."""
    ran: list[int] = []

    def is_wanted(*_: Any) -> bool:
        rounds[ran[-1]] = rounds.get(ran[-1], 0) - 1
        return rounds[ran[-1]] >= 0

    with patch.object(looping, "_is_wanted", is_wanted):
        while claimed := claim(db, 1):
            ran.append(claimed[0].task_seq)
            finish(db, *claimed)
    return ran


def begin_loop(db: Database, edges: list[tuple[int, int]], back: list[tuple[int, int]]) -> str:
    define_graph(db, "g", edges)
    flow_id = start(db, "g")
    with db.transaction() as conn:
        for source, target in back:
            ends = {"task_flow_id": flow_id, "task_exec_seq": target, "depends_task_exec_seq": source}
            conn.execute(insert(run_edge).values(**ends, kind="loop", max_iterations=9))
    enlisted(db)
    return flow_id


@pytest.fixture
def looped(db: Database) -> str:
    """1, then 2 and 3 in a loop that went round twice more (5 and 6, 7 and 8), then 4. Finished."""
    flow_id = begin_loop(db, [(1, 2), (2, 3), (3, 4)], [(3, 2)])
    assert run_looping(db, {3: 2}) == [1, 2, 3, 2, 3, 2, 3, 4]
    hold(db, at_rest=True)
    return flow_id


@pytest.mark.parametrize("seq", [2, 3, 5, 6])
def test_an_earlier_iteration_does_not_run_again_alone(db: Database, looped: str, seq: int) -> None:
    before = tasks(db, looped)
    latest = 7 if seq in (2, 5) else 8
    words = rf"task {seq} of flow .* is iteration \d of a loop that has gone on to task {latest}: run again from"
    with pytest.raises(Conflict, match=words):
        control.rerun(db, looped, [seq], actor="ann")
    assert tasks(db, looped) == before


@pytest.mark.parametrize("more", [0, 2])
def test_the_latest_iteration_runs_again_and_may_go_round_further(db: Database, looped: str, more: int) -> None:
    assert control.rerun_from(db, looped, 7, actor="ann") == [4, 7, 8]
    hold(db)
    assert run_looping(db, {3: more}) == [2, 3] * (more + 1) + [4]
    hold(db, at_rest=True)


@pytest.mark.parametrize("whole", [True, False], ids=["all", "from before the loop"])
@pytest.mark.parametrize("more", [0, 3])
def test_from_before_the_loop_it_starts_at_its_first_iteration(
    db: Database, looped: str, whole: bool, more: int
) -> None:
    again = control.rerun_all(db, looped, actor="ann") if whole else control.rerun_from(db, looped, 1, actor="ann")
    assert again == [1, 2, 3, 4]
    assert [row.reason for row in tasks(db, looped)[4:]] == [Reason.SUPERSEDED] * 4
    hold(db)
    assert run_looping(db, {3: more}) == [1] + [2, 3] * (more + 1) + [4]
    assert flow(db, looped).flow_status == Status.FINISH
    hold(db, at_rest=True)


def test_loops_within_loops_start_anew(db: Database) -> None:
    """3 goes back to 2, and 4 to 1: the inner loop once in each of two rounds of the outer one."""
    flow_id = begin_loop(db, [(1, 2), (2, 3), (3, 4), (4, 5)], [(3, 2), (4, 1)])
    assert run_looping(db, {3: 1, 4: 1}) == [1, 2, 3, 2, 3, 4, 1, 2, 3, 4, 5]
    for seq in (2, 4):
        with pytest.raises(Conflict, match="run again from task"):
            control.rerun(db, flow_id, [seq], actor="ann")
    for rounds, order in (({}, [1, 2, 3, 4, 5]), ({3: 2, 4: 1}, [1, 2, 3, 2, 3, 2, 3, 4, 1, 2, 3, 4, 5])):
        assert control.rerun_all(db, flow_id, actor="ann") == [1, 2, 3, 4, 5]
        hold(db)
        assert run_looping(db, rounds) == order
        hold(db, at_rest=True)


def test_rows_of_one_step_in_a_flow_without_loops_are_no_iterations(db: Database) -> None:
    """A person may number them as he likes."""
    for seq in (1, 2, 3):
        insert_task(db, "hand", seq, task_seq=1, program="Noop")
    sweep(db)
    enlisted(db)
    run_all(db)
    assert control.rerun_from(db, "hand", 2, actor="ann") == [2, 3]
    assert len(run_all(db)) == 2
    assert control.rerun_all(db, "hand", actor="ann") == [1, 2, 3]
    assert len(run_all(db)) == 3
    hold(db, at_rest=True)


def test_a_planner_that_runs_again_plans_again(db: Database) -> None:
    """What waits for the plan waits for the new one, and reads its results alone."""
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    for number in (1, 2):
        (planner,) = claim(db)
        wish = plan_checks.check([Task("Noop"), Task("Noop")], join=True)
        settle_as(db, [Settlement(planner, "finish", plan=wish)])
        hold(db)
        held = claim(db)
        assert [item.key.seq for item in held] == [2 * number + 1, 2 * number + 2]
        finish(db, *held, result=str(number))
        with db.read() as conn:
            assert upstream_of(conn, Key(flow_id, 2)) == [number, number]
        finish(db, *claim(db))
        hold(db, at_rest=True)
        if number == 1:
            assert control.rerun_from(db, flow_id, 1, actor="ann") == [1, 2]
            hold(db)


@pytest.mark.parametrize("rule", ["any", "all", "all_taken", "none_failed"])
def test_what_is_superseded_has_no_say_in_what_runs(db: Database, planned: str, rule: str) -> None:
    """It neither satisfies a rule nor spoils one: the planner has to finish first."""
    run_all(db)
    sql(db, "UPDATE kr_task_stat SET trigger_rule = :rule WHERE task_exec_seq = 3", rule=rule)
    control.rerun_from(db, planned, 2, actor="ann")
    assert states(db, planned)[2] == (0, 1)
    assert run_all(db) == [Key(planned, 2), Key(planned, 3)]
    hold(db, at_rest=True)


def test_sub_flows_of_a_task_that_runs_again_are_cancelled(db: Database, chain: str) -> None:
    children = [start(db, flow_id=f"~{n}") for n in range(3)]
    for child, parent, seq in ((children[0], chain, 2), (children[1], children[0], 1), (children[2], chain, 1)):
        of = {"parent": parent, "seq": seq, "flow": child}
        words = "UPDATE kr_flow_stat SET parent_flow_id = :parent, parent_exec_seq = :seq WHERE task_flow_id = :flow"
        sql(db, words, **of)
    assert control.rerun_from(db, chain, 2, actor="ann") == [2, 3]
    assert [flow(db, child).reason for child in children] == [Reason.CANCELLED, Reason.CANCELLED, None]
    assert [flow(db, child).flow_status for child in children] == [Status.IGNORE, Status.IGNORE, Status.WAIT]
    hold(db)


def test_patterns(db: Database, chain: str) -> None:
    sql(db, "UPDATE kr_task_stat SET name = 'extract' WHERE task_exec_seq = 1")
    assert control.rerun_matching(db, chain, "ext", actor="ann") == [1]
    run_all(db)
    assert control.rerun_matching(db, chain, "nothing", actor="ann") == []
    assert control.rerun_matching(db, chain, "Noop|x", actor="ann") == [1, 2, 3]
    for pattern in ("(", "a" * 201):
        with pytest.raises(BadRequest, match="name"):
            control.rerun_matching(db, chain, pattern, actor="ann")


def test_run_again_makes_a_flow_of_the_present_definition(db: Database) -> None:
    define(db, steps=2, param1_key="who", param1_value="x")
    wish = {"parameters": {"who": "eve", "more": 1}, "priority": -3, "run_key": "2026-01"}
    flow_id = start(db, idempotency_key="k", **wish)
    run_all(db)
    sql(db, "DELETE FROM ms_task_definition WHERE task_seq = 2")
    before = flow(db, flow_id)
    new = control.run_again(db, flow_id, actor="ann", note="once more")
    made = flow(db, new)
    assert (made.rerun_of, made.run_key, made.flow_priority, made.task_count) == (flow_id, "2026-01", -3, 1)
    assert made.parameters == before.parameters
    assert tasks(db, new)[0].parameters == '{"who":"eve"}'
    assert flow(db, flow_id) == before
    (told,) = [row for row in rows(db, event) if row.what == "flow run again"]
    assert (told.task_flow_id, told.actor) == (flow_id, "ann")
    assert new in told.details
    hold(db)


def test_run_again_of_a_workflow_that_is_gone(db: Database) -> None:
    define(db)
    flow_id = start(db)
    sql(db, "DELETE FROM ms_task_definition")
    with pytest.raises(UnknownWorkflow, match="'w'"):
        control.run_again(db, flow_id, actor="ann")
    assert len(rows(db, flow_stat)) == 1
    sql(db, "UPDATE kr_flow_stat SET parameters = '{'")
    with pytest.raises(BadRequest, match="parameters"):
        control.run_again(db, flow_id, actor="ann")


def test_the_cost_does_not_grow_with_a_statement_for_each_task(db: Database) -> None:
    define(db, steps=500)
    flow_id = start(db)
    with db.transaction() as conn:
        conn.execute(update(task_stat).values(wait_count=-1, exec_status=3, registered_ts=now(), finished_ts=now()))
        flow_counts.recount(conn, db, [flow_id])
    statements: list[str] = []
    listen(db.engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    assert len(control.rerun_from(db, flow_id, 1, actor="ann")) == 500
    assert len(statements) < 60
    hold(db)


def test_a_flow_that_was_rolled_back_runs_again_and_is_rolled_back_again(db: Database) -> None:
    define(db, steps=2)
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="w", failure_policy="rollback"))
        conn.execute(insert(task_option).values(task_id="w", task_seq=1, rollback_program="Undo"))
    flow_id = start(db)
    enlisted(db)
    for number in (1, 2):
        finish(db, *claim(db))
        settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="x")])
        assert close_ended(db) == 1
        (undoing,) = claim(db)
        assert (undoing.program, undoing.key.seq) == ("Undo", 2 + number)
        finish(db, undoing)
        close_ended(db)
        ended = flow(db, flow_id)
        assert (ended.flow_status, ended.reason, ended.closing) == (Status.IGNORE, Reason.ROLLED_BACK, 2)
        hold(db)
        assert control.rerun_all(db, flow_id, actor="ann") == [1, 2]
        again = flow(db, flow_id)
        assert (again.flow_status, again.reason, again.closing) == (Status.RUNNING, None, 1)
        assert task(db, undoing.key).reason == Reason.SUPERSEDED
        hold(db)
    run_all(db)
    assert flow(db, flow_id).flow_status == Status.FINISH
    hold(db)
