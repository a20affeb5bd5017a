"""Flux's examples as rows: diamonds, retries, failures that take their own descendants alone, and clearing."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

import pytest
from factories import flow, rows, start, task, tasks
from workshop import Workshop, failing

from engine import control
from engine.database import Database
from engine.errors import Conflict
from engine.keys import Key
from engine.states import Reason, Status
from engine.tables import attempt
from penstock import Again, Call, Fail, Finish, Outcome

pytestmark = pytest.mark.by_turns

DIAMOND = [(1, 2), (1, 3), (2, 4), (3, 4)]
A, B, C, D = range(1, 5)
CHAIN_AND_BRANCH = [(A, B), (B, C), (A, D)]
NAMES = {A: {"name": "runme_first"}, B: {"name": "runme_second"}, C: {"name": "report"}, D: {"name": "also"}}


def test_a_task_waits_for_all_that_is_upstream(db: Database, shop: Workshop) -> None:
    """FX23: the end of a diamond begins after both of its sides have ended."""
    shop.define("dag", DIAMOND)
    shop.does[3] = lambda call: call.sleep(0.3)
    flow_id = start(db, "dag")
    shop.run(flow_id)
    _, second, third, last = tasks(db, flow_id)
    assert last.started_ts >= max(second.finished_ts, third.finished_ts)
    assert shop.worked[-1] == 4


def test_one_side_alone_is_not_enough(db: Database, shop: Workshop) -> None:
    """FX23: with one side failed, the end of the diamond does not run."""
    shop.define("dag", DIAMOND)
    shop.does[3] = failing
    flow_id = start(db, "dag")
    shop.run(flow_id)
    assert shop.ends(flow_id) == {1: 3, 2: 3, 3: 2, 4: 0}


def test_three_retries_are_four_attempts(db: Database, shop: Workshop) -> None:
    """FX25: at least the delay lies between two of them, all are listed, and then the task has failed."""
    shop.define("dag", [(1, 2)], {1: {"max_attempts": 4, "retry_delay_s": 0.2}})
    shop.does[1] = failing
    flow_id = start(db, "dag")
    shop.run(flow_id)
    tries = sorted(rows(db, attempt), key=lambda row: row.claim_no)
    assert [(row.claim_no, row.outcome) for row in tries] == [(n, "failed") for n in (1, 2, 3, 4)]
    for earlier, later in pairwise(tries):
        assert later.claimed_ts - earlier.claimed_ts >= timedelta(seconds=0.2)
    first, second = tasks(db, flow_id)
    assert (first.exec_status, first.reason, second.exec_status) == (Status.SUSPEND, Reason.FAILED, Status.WAIT)
    assert shop.worked == [1, 1, 1, 1]


def test_a_retry_that_succeeds_lets_the_flow_go_on(db: Database, shop: Workshop) -> None:
    """FX25: up for retry, and then a success like any other."""
    shop.define("dag", [(1, 2)], {1: {"max_attempts": 4, "retry_delay_s": 0.05}})
    shop.does[1] = lambda call: Fail("not yet") if call.attempt < 3 else None
    flow_id = start(db, "dag")
    shop.run(flow_id)
    assert shop.worked == [1, 1, 1, 2]
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_a_failure_takes_its_descendants_and_nothing_else(db: Database, shop: Workshop) -> None:
    """FX36, FX37: A before B before C, A before D; B fails: C does not run, D does."""
    shop.define("dag", CHAIN_AND_BRANCH)
    shop.does[B] = failing
    flow_id = start(db, "dag")
    shop.run(flow_id)
    assert sorted(shop.worked) == [A, B, D]
    assert shop.ends(flow_id) == {A: 3, B: 2, C: 0, D: 3}
    assert flow(db, flow_id).flow_status == Status.SUSPEND


def test_descendants_of_any_depth_do_not_run(db: Database, shop: Workshop) -> None:
    """FX36, FX37: in Flux, descendants deeper than two levels loop for ever."""
    depth = 12
    shop.define("dag", [(n, n + 1) for n in range(1, depth)] + [(1, depth + 1)])
    shop.does[2] = failing
    flow_id = start(db, "dag")
    shop.run(flow_id)
    assert sorted(shop.worked) == [1, 2, depth + 1]


def test_once_repaired_the_rest_runs_and_nothing_runs_twice(db: Database, shop: Workshop) -> None:
    """FX36: B is cleared, runs once more, and C after it."""
    shop.define("dag", CHAIN_AND_BRANCH)
    shop.does[B] = failing
    flow_id = start(db, "dag")
    shop.run(flow_id)
    del shop.does[B]
    control.recover(db, flow_id, actor="ann")
    shop.run(flow_id)
    assert sorted(shop.worked) == [A, B, B, C, D]


@pytest.mark.parametrize(
    "upstream, downstream, cleared",
    [(False, False, [B]), (True, False, [A, B]), (False, True, [B, C]), (True, True, [A, B, C])],
)
def test_clear_with_relatives(
    db: Database, shop: Workshop, upstream: bool, downstream: bool, cleared: list[int]
) -> None:
    """FX31, FX35: what matches, with or without what is ahead of it and behind it; the count is what runs again."""
    shop.define("dag", CHAIN_AND_BRANCH, NAMES)
    flow_id = start(db, "dag")
    shop.run(flow_id)
    shop.forget()
    picked = control.rerun_matching(db, flow_id, "^runme_second", upstream=upstream, downstream=downstream, actor="ann")
    assert picked == cleared
    shop.run(flow_id, workers=1)
    assert shop.worked == cleared
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_clear_by_pattern_leaves_the_rest_alone(db: Database, shop: Workshop) -> None:
    """FX34: in Flux, a pattern clears the whole DAG."""
    shop.define("dag", CHAIN_AND_BRANCH, NAMES)
    flow_id = start(db, "dag")
    shop.run(flow_id)
    shop.forget()
    assert control.rerun_matching(db, flow_id, "^runme_", actor="ann") == [A, B]
    shop.run(flow_id, workers=1)
    assert shop.worked == [A, B]
    assert [row.generation for row in tasks(db, flow_id)] == [1, 1, 0, 0]


def test_relatives_of_any_depth_are_cleared(db: Database, shop: Workshop) -> None:
    """FX34, FX35: in Flux, relatives go only two levels deep."""
    shop.define("dag", [(n, n + 1) for n in range(1, 10)])
    flow_id = start(db, "dag")
    shop.run(flow_id)
    assert control.rerun(db, flow_id, [5], upstream=True, actor="ann") == [1, 2, 3, 4, 5]
    shop.run(flow_id)
    assert control.rerun(db, flow_id, [5], downstream=True, actor="ann") == [5, 6, 7, 8, 9, 10]


def test_marked_as_a_success_without_running(db: Database, shop: Workshop) -> None:
    """FX26: the program is not called, what follows runs."""
    shop.define("dag", CHAIN_AND_BRANCH)
    flow_id = start(db, "dag")
    assert control.finish(db, flow_id, B, actor="ann") == [B]
    shop.run(flow_id)
    assert sorted(shop.worked) == [A, C, D]
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_run_although_it_succeeded(db: Database, shop: Workshop) -> None:
    """FX27: force runs a task again that has succeeded; in Flux it does nothing."""
    shop.define("dag", CHAIN_AND_BRANCH)
    flow_id = start(db, "dag")
    shop.run(flow_id)
    assert control.rerun(db, flow_id, [A], actor="ann") == [A]
    shop.run(flow_id)
    assert sorted(shop.worked) == [A, A, B, C, D]


def test_a_running_task_is_cleared_by_force_alone(db: Database, shop: Workshop) -> None:
    """FX46: its program is told to stop, what it answers is refused, and the task runs from the start."""
    shop.define("dag", [(1, 2)])
    stopped: list[int] = []

    def first_time_for_long(call: Call) -> None:
        if shop.worked.count(1) == 1:
            stopped.append(call.stop.wait(30))

    shop.does[1] = first_time_for_long
    flow_id = start(db, "dag")
    with shop.watching():
        shop.until(lambda: shop.worked == [1])
        with pytest.raises(Conflict, match="is running"):
            control.rerun(db, flow_id, [1], actor="ann")
        assert control.rerun(db, flow_id, [1], force=True, actor="ann") == [1]
        shop.until(lambda: shop.rests(flow_id))
        shop.until(lambda: stopped)
    assert stopped == [True]
    assert shop.worked == [1, 1, 2]
    assert task(db, Key(flow_id, 1)).generation == 1


def test_a_sensor_holds_no_worker_between_two_looks(db: Database, shop: Workshop) -> None:
    """FX13, FX14: with one worker the other branch runs while the sensor waits; what it looks for comes later."""
    shop.define("dag", [(1, 3), (2, 3)])
    there: list[bool] = []
    shop.does[1] = lambda call: Finish() if there else Again(after=0.1)
    shop.does[2] = lambda call: there.append(True)
    flow_id = start(db, "dag")
    shop.run(flow_id, workers=1)
    assert shop.worked[:2] == [1, 2]
    assert shop.worked[-1] == 3
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_a_sensor_gives_up(db: Database, shop: Workshop) -> None:
    """FX13: after its time-out, and not before."""
    shop.define("dag", [(1, 2)])

    def look(call: Call) -> Outcome:
        return Again(after=0.2, timeout=1)

    shop.does[1] = look
    flow_id = start(db, "dag")
    shop.run(flow_id)
    first, second = tasks(db, flow_id)
    assert (first.exec_status, second.exec_status) == (Status.SUSPEND, Status.WAIT)
    assert first.suspended_ts - first.registered_ts >= timedelta(seconds=1)
    assert first.claims >= 2


def test_many_generated_tasks(db: Database, shop: Workshop) -> None:
    """FX6: ten tasks between a first and a last, as a loop would write them."""
    between = range(2, 12)
    shop.define("dag", [(1, n) for n in between] + [(n, 12) for n in between])
    flow_id = start(db, "dag")
    shop.run(flow_id)
    assert (shop.worked[0], sorted(shop.worked[1:11]), shop.worked[11]) == (1, list(between), 12)
