"""The sample flows of synergy_flow as rows, run by whole watchers: order, failure, recovery, re-runs, phases."""

from __future__ import annotations

import threading

import pytest
from factories import flow, start, tasks
from workshop import Workshop, failing

from engine import control
from engine.database import Database
from engine.errors import Conflict
from engine.states import Reason, Status
from penstock import Call

pytestmark = pytest.mark.by_turns

PARALLEL = [(1, 2), (2, 3), (2, 4), (3, 5), (4, 5), (2, 6), (6, 7), (7, 8)]
"""The sample flow of eight steps, as (before, after)."""
FAILURE = [(1, 2), (2, 3), (2, 4), (3, 5), (4, 5)]
PATIENCE_S = 30


def two_at_once(*seqs: int) -> dict[int | tuple[str, int], object]:
    """These steps end only once all of them run."""
    meeting = threading.Barrier(len(seqs))

    def meet(_: Call) -> None:
        meeting.wait(PATIENCE_S)

    return dict.fromkeys(seqs, meet)


def times(db: Database, flow_id: str) -> dict[int, tuple[object, ...]]:
    return {row.task_seq: (row.started_ts, row.finished_ts, row.claims) for row in tasks(db, flow_id)}


def failed_at_4(db: Database, shop: Workshop, **extras: object) -> str:
    shop.define("failure", FAILURE, failure_policy="stop", **extras)
    shop.does[4] = failing
    flow_id = start(db, "failure")
    shop.run(flow_id, workers=2)
    return flow_id


def test_eight_steps_run_in_order_on_one_worker(db: Database, shop: Workshop) -> None:
    """SY12, and SY11 with one cluster: one step at a time, the first that is not blocked."""
    shop.define("simple", PARALLEL)
    flow_id = start(db, "simple")
    shop.run(flow_id, workers=1)
    assert shop.worked == [1, 2, 3, 4, 5, 6, 7, 8]
    assert shop.most == 1
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_two_clusters_run_two_branches_at_once(db: Database, shop: Workshop) -> None:
    """SY11: two workers in one process."""
    shop.define("simple", PARALLEL)
    shop.does = two_at_once(3, 4)
    flow_id = start(db, "simple")
    shop.run(flow_id, workers=2)
    assert shop.most == 2
    assert set(shop.ends(flow_id).values()) == {Status.FINISH}


def test_a_step_never_spans_clusters(db: Database, shop: Workshop) -> None:
    """SY11: two watchers of one worker each run two branches at once, and each step is one watcher's."""
    shop.define("simple", PARALLEL)
    shop.does = two_at_once(4, 6)
    shop.does[3] = lambda call: call.sleep(0.5)
    with shop.watching(workers=1) as one, shop.watching(workers=1) as other:
        flow_id = start(db, "simple")
        shop.until(lambda: shop.rests(flow_id))
    owners = {row.task_seq: row.owner for row in tasks(db, flow_id)}
    assert {owners[4], owners[6]} == {one.id, other.id}
    assert sorted(shop.worked) == [1, 2, 3, 4, 5, 6, 7, 8], "each once"
    assert {row.claims for row in tasks(db, flow_id)} == {1}


def test_a_failed_step_stops_the_flow(db: Database, shop: Workshop) -> None:
    """SY13, SY14: 1 to 4 are executed, 5 is not, and the flow has not succeeded."""
    flow_id = failed_at_4(db, shop)
    assert sorted(shop.worked) == [1, 2, 3, 4]
    assert shop.ends(flow_id) == {1: 3, 2: 3, 3: 3, 4: 2, 5: 2}
    assert [row.reason for row in tasks(db, flow_id)][3:] == [Reason.FAILED, Reason.STOPPED]
    assert flow(db, flow_id).flow_status == Status.SUSPEND


def test_a_running_branch_completes_and_what_is_behind_it_does_not_begin(db: Database, shop: Workshop) -> None:
    """SY13: 4 fails while 3 runs; 3 ends as it would have, and the branch of 6, 7, 8 gets no further."""
    shop.define("simple", PARALLEL, failure_policy="stop")
    has_failed = threading.Event()

    def fail(call: Call) -> object:
        has_failed.set()
        return failing(call)

    shop.does = {**two_at_once(3, 4), 4: fail, 3: lambda _: has_failed.wait(PATIENCE_S) and call_settled()}

    def call_settled() -> None:
        shop.until(lambda: tasks(db, flow_id)[3].exec_status == Status.SUSPEND)

    flow_id = start(db, "simple")
    shop.run(flow_id, workers=2)
    assert sorted(shop.worked) == [1, 2, 3, 4]
    assert shop.ends(flow_id) == {1: 3, 2: 3, 3: 3, 4: 2, 5: 2, 6: 2, 7: 2, 8: 2}


def test_recover_runs_only_what_is_left(db: Database, shop: Workshop) -> None:
    """SY16, SY17: 4 and 5 run, and of the others not even a time has changed."""
    flow_id = failed_at_4(db, shop)
    before = times(db, flow_id)
    shop.forget()
    del shop.does[4]
    assert control.recover(db, flow_id, actor="ann") == [4, 5]
    shop.run(flow_id, workers=2)
    assert shop.worked == [4, 5]
    after = times(db, flow_id)
    assert {seq: after[seq] for seq in (1, 2, 3)} == {seq: before[seq] for seq in (1, 2, 3)}
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_run_executes_every_step_again_in_the_same_rows(db: Database, shop: Workshop) -> None:
    """SY10: a second run of the same key, without a second row of anything."""
    shop.define("simple", PARALLEL)
    flow_id = start(db, "simple", run_key="2030-01-31")
    shop.run(flow_id, workers=1)
    shop.forget()
    assert control.rerun_all(db, flow_id, actor="ann") == [1, 2, 3, 4, 5, 6, 7, 8]
    shop.run(flow_id, workers=1)
    assert shop.worked == [1, 2, 3, 4, 5, 6, 7, 8]
    assert [(row.task_exec_seq, row.generation) for row in tasks(db, flow_id)] == [(n, 1) for n in range(1, 9)]


def test_run_one_runs_that_step_alone(db: Database, shop: Workshop) -> None:
    """SY18: its dependants are left as they are."""
    shop.define("simple", PARALLEL)
    flow_id = start(db, "simple")
    shop.run(flow_id, workers=1)
    before = times(db, flow_id)
    shop.forget()
    assert control.rerun(db, flow_id, [3], actor="ann") == [3]
    shop.run(flow_id)
    after = times(db, flow_id)
    assert shop.worked == [3]
    assert [seq for seq in after if after[seq] != before[seq]] == [3]


@pytest.mark.parametrize("downstream", [False, True], ids=["run_one", "run_from"])
def test_a_blocked_step_is_refused_with_its_blockers(db: Database, shop: Workshop, downstream: bool) -> None:
    """SY18, SY19: 5 depends on 4, which is to be run once more and fails."""
    shop.define("failure", FAILURE)
    flow_id = start(db, "failure")
    shop.run(flow_id, workers=2)
    shop.does[4] = failing
    control.rerun(db, flow_id, [4], actor="ann")
    shop.run(flow_id)
    rows = tasks(db, flow_id)
    with pytest.raises(Conflict, match=r"task 5 of flow .* depends on task 4"):
        control.rerun(db, flow_id, [5], downstream=downstream, actor="ann")
    assert tasks(db, flow_id) == rows


def test_a_step_that_has_not_run_is_refused_too(db: Database, shop: Workshop) -> None:
    """SY18: what waits for a failed step cannot be run ahead of it."""
    shop.define("failure", FAILURE)
    shop.does[4] = failing
    flow_id = start(db, "failure")
    shop.run(flow_id, workers=2)
    with pytest.raises(Conflict, match=r"task 5 of flow .* is in WAIT"):
        control.rerun(db, flow_id, [5], actor="ann")
    assert shop.ends(flow_id)[5] == Status.WAIT


@pytest.mark.parametrize(
    "seq, again",
    [(1, [1, 2, 3, 4, 5, 6, 7, 8]), (2, [2, 3, 4, 5, 6, 7, 8]), (3, [3, 5]), (6, [6, 7, 8]), (8, [8])],
)
def test_run_from_runs_the_step_and_all_its_dependants(
    db: Database, shop: Workshop, seq: int, again: list[int]
) -> None:
    """SY19, SY20, SY21: behind step 3 is 5, behind 6 are 7 and 8; from 2 on everything but 1 runs once more."""
    shop.define("simple", PARALLEL)
    flow_id = start(db, "simple")
    shop.run(flow_id, workers=1)
    before = times(db, flow_id)
    shop.forget()
    assert control.rerun_from(db, flow_id, seq, actor="ann") == again
    shop.run(flow_id, workers=1)
    after = times(db, flow_id)
    assert shop.worked == again
    assert [seq for seq in after if after[seq] != before[seq]] == again
    assert flow(db, flow_id).flow_status == Status.FINISH


AROUND = {"pre_program": "Prepare", "post_program": "Tidy"}
"""What the sample flows do before and after each step."""


def test_the_eight_steps_with_what_is_done_before_and_after_each(db: Database, shop: Workshop) -> None:
    """SY5, SY12: pre, main and post of a step in order, and then the next step."""
    shop.define("simple", PARALLEL, dict.fromkeys(range(1, 9), AROUND))
    flow_id = start(db, "simple")
    shop.run(flow_id, workers=1)
    assert shop.ran == [(name, seq) for seq in range(1, 9) for name in ("Prepare", "Work", "Tidy")]
    assert {row.phase for row in tasks(db, flow_id)} == {None, "pre", "post"}


def test_the_states_of_the_phases_are_those_of_rows(db: Database, shop: Workshop) -> None:
    """SY5: pre fails, so that the step itself does not run; it is cleaned up after all the same."""
    shop.define("simple", [(1, 2)], {1: AROUND})
    shop.does["Prepare", 1] = failing
    flow_id = start(db, "simple")
    shop.run(flow_id)
    assert shop.ran == [("Prepare", 1), ("Tidy", 1)]
    found = [(row.task_seq, row.phase, row.exec_status) for row in tasks(db, flow_id)]
    assert found == [(1, "pre", 2), (1, None, 0), (1, "post", 3), (2, None, 0)]


@pytest.mark.parametrize("fails", [False, True], ids=["success", "failure"])
def test_cleanup_after_success_and_after_failure(db: Database, shop: Workshop, fails: bool) -> None:
    """SY7: once for each step, whatever became of it."""
    shop.define("simple", [(1, 2)], {1: AROUND})
    if fails:
        shop.does[1] = failing
    flow_id = start(db, "simple")
    shop.run(flow_id)
    assert shop.ran.count(("Tidy", 1)) == 1
    assert shop.ran.index(("Tidy", 1)) > shop.ran.index(("Work", 1))
    assert (("Work", 2) in shop.ran) is not fails


def test_what_was_done_is_undone_in_reverse(db: Database, shop: Workshop) -> None:
    """SY26: 5 fails; what had finished is rolled back, the last first, and nothing else is."""
    undone = {seq: {"rollback_program": "Undo"} for seq in (1, 2, 4, 5)}
    shop.define("failure", FAILURE, undone, failure_policy="rollback")
    shop.does[5] = failing
    flow_id = start(db, "failure")
    shop.run(flow_id, workers=1)
    assert shop.ran == [("Work", seq) for seq in (1, 2, 3, 4, 5)] + [("Undo", seq) for seq in (4, 2, 1)]
    ended = flow(db, flow_id)
    assert (ended.flow_status, ended.reason) == (Status.IGNORE, Reason.ROLLED_BACK)


def test_without_a_policy_other_branches_go_on(db: Database, shop: Workshop) -> None:
    """The difference to SY13 that decision D5 makes: 6, 7 and 8 do not depend on 4."""
    shop.define("simple", PARALLEL)
    shop.does[4] = failing
    flow_id = start(db, "simple")
    shop.run(flow_id, workers=1)
    assert shop.ends(flow_id) == {1: 3, 2: 3, 3: 3, 4: 2, 5: 0, 6: 3, 7: 3, 8: 3}
