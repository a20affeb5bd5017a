"""Tries that take too long: settled without waiting for them, and their place in the pool taken by another worker."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from factories import define, flow, hand_made, insert_task, sql, start, task
from patience import until
from sqlalchemy import insert
from waiting import attempts, finished, settled
from watching import Watch

from engine.database import Database, open_database
from engine.keys import Key
from engine.states import Reason, Status
from engine.tables import flow_stat, task_option, task_stat, workflow
from penstock import Call, program, services
from penstock.failures import exit_on_failure
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings

pytestmark = pytest.mark.by_turns


class Stuck:
    """A program that does not come back until the test lets it, whatever it is told."""

    def __init__(self, name: str = "stuck") -> None:
        self.open = threading.Event()
        self.calls: list[Call] = []
        self.came_back = threading.Semaphore(0)

        @program(name)
        def stuck(call: Call, patience: int = 10**6) -> int:
            self.calls.append(call)
            if call.attempt <= patience:
                self.open.wait(60)
                self.came_back.release()
            return call.attempt

        self.program = stuck


@pytest.fixture
def stuck() -> Any:
    made = Stuck()
    yield made
    made.open.set()


def limited(db: Database, task_id: str = "w", task_seq: int = 1, timeout_s: float = 0.2, **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id=task_id, task_seq=task_seq, timeout_s=timeout_s, **columns))


def test_a_try_that_takes_too_long_fails(db: Database, watch: Watch, stuck: Stuck) -> None:
    define(db, program="stuck")
    limited(db)
    key = Key(start(db), 1)
    watch(stuck.program)
    settled(db, key)
    row = task(db, key)
    assert (row.exec_status, row.reason) == (Status.SUSPEND, Reason.TIMED_OUT)
    assert row.error == "it did not end within 0.2 seconds"
    assert stuck.calls[0].stopping
    stuck.open.set()
    assert stuck.came_back.acquire(timeout=20)
    time.sleep(0.1)
    assert task(db, key) == row, "what it answers later changes nothing"
    [tried] = attempts(db, key)
    assert (tried.outcome, tried.accepted, tried.error) == ("failed", True, row.error)


def test_it_is_tried_again_by_the_rule(db: Database, watch: Watch, stuck: Stuck) -> None:
    define(db, program="stuck", param1_key="patience", param1_value="1")
    limited(db, max_attempts=2, retry_delay_s=0)
    key = Key(start(db), 1)
    watch(stuck.program)
    finished(db, key.flow_id)
    row = task(db, key)
    assert (row.attempt, row.result) == (2, "2")
    assert [(tried.outcome, tried.error) for tried in attempts(db, key)] == [
        ("failed", "it did not end within 0.2 seconds")
    ]
    stuck.open.set()
    assert stuck.came_back.acquire(timeout=20)
    time.sleep(0.3)
    assert [tried.outcome for tried in attempts(db, key)] == ["failed"], "what it answers later is dropped"


def test_an_edge_for_time_outs_is_taken(db: Database, watch: Watch, stuck: Stuck) -> None:
    define(db, steps=3, program="Noop")
    sql(db, "UPDATE ms_task_definition SET program = 'stuck' WHERE task_seq = 1")
    sql(db, "INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq) VALUES ('w', 2, 1)")
    sql(db, "INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq, kind) VALUES ('w', 3, 1, 'timeout')")
    limited(db)
    flow_id = start(db)
    watch(stuck.program)
    finished(db, flow_id)
    assert [task(db, Key(flow_id, seq)).exec_status for seq in (1, 2, 3)] == [9, 9, 3]


def test_stuck_programs_do_not_use_up_the_workers(db: Database, watch: Watch, stuck: Stuck) -> None:
    define(db, program="stuck")
    limited(db)
    flows = [start(db) for _ in range(6)]
    before = workers()
    watching = watch(stuck.program, workers=2)
    settled(db, *(Key(flow_id, 1) for flow_id in flows))
    define(db, "quick", steps=3)
    finished(db, start(db, "quick"))
    assert watching.watcher._pool._stuck == 6
    stuck.open.set()
    for _ in flows:
        assert stuck.came_back.acquire(timeout=20)
    until(lambda: watching.watcher._pool._stuck == 0)
    finished(db, start(db, "quick"))
    until(lambda: len(workers() - before) == 2)


def workers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("penstock-worker")}


def test_with_too_many_stuck_programs_the_watcher_drains_and_ends(db: Database, watch: Watch, stuck: Stuck) -> None:
    define(db, program="stuck")
    limited(db)
    flows = [start(db) for _ in range(2)]
    watching = watch(stuck.program, workers=2, max_stuck=1)
    settled(db, *(Key(flow_id, 1) for flow_id in flows))
    watching.join()
    assert watching.watcher.is_spent
    later = start(db)
    watch(stuck.program)
    settled(db, Key(later, 1))  # whoever takes its place goes on


@pytest.mark.parametrize("kind", ["sqlite"])
def test_it_ends_with_an_exit_code_of_its_own(db: Database, url: str, stuck: Stuck) -> None:
    insert_task(db, program="stuck", timeout_s=0.2)
    own = open_database(url, role="watcher")
    catalogue = build_catalogue(extra=[stuck.program], autoload=False)
    watcher = Watcher(own, catalogue, Settings(workers=2, max_stuck=0, interval_s=0.1, grace_s=1.0))
    with pytest.raises(SystemExit) as ended, exit_on_failure():
        services.run_watcher(watcher)
    assert ended.value.code == 75
    own.close()


def test_a_program_that_ends_in_time_is_left_alone(db: Database, watch: Watch) -> None:
    stopped: list[bool] = []

    @program
    def brisk(call: Call) -> str:
        stopped.append(call.stop.wait(0.05))
        return "done"

    define(db, steps=3, program="brisk")
    for seq in (1, 2, 3):
        limited(db, task_seq=seq, timeout_s=30)
    flow_id = start(db)
    watch(brisk)
    finished(db, flow_id)
    assert stopped == [False] * 3


@pytest.mark.parametrize("odd", [-1.0, 0.0])
def test_a_limit_that_means_nothing_is_none(db: Database, watch: Watch, odd: float) -> None:
    @program
    def brisk(call: Call) -> bool:
        return call.stop.wait(0.05)

    define(db, program="brisk")
    flow_id = start(db)
    sql(db, "UPDATE kr_task_stat SET timeout_s = :odd", odd=odd)
    watch(brisk)
    finished(db, flow_id)
    assert task(db, Key(flow_id, 1)).result == "false"


def test_a_watcher_stops_although_a_program_is_stuck(db: Database, watch: Watch, stuck: Stuck) -> None:
    define(db, program="stuck")
    limited(db)
    key = Key(start(db), 1)
    watching = watch(stuck.program)
    settled(db, key)
    watching.stop()
    assert task(db, key).reason == Reason.TIMED_OUT


def test_a_flow_that_runs_out_of_time_is_ended_by_the_watcher(db: Database, watch: Watch) -> None:
    told = threading.Event()

    @program
    def patient(call: Call) -> None:
        if call.stop.wait(30):
            told.set()

    define(db, steps=2, program="patient")
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="w", timeout_s=0.5))
    flow_id = start(db)
    watch(patient, interval_s=30)
    until(lambda: flow(db, flow_id).flow_status == Status.IGNORE)
    assert flow(db, flow_id).reason == Reason.TIMED_OUT
    assert told.wait(20), "its program is told to stop"


def test_the_result_of_a_flow_is_worked_out_by_the_watcher(db: Database, watch: Watch) -> None:
    @program
    def count() -> dict[str, int]:
        return {"n": 7}

    define(db, program="count")
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="w", result_mapping='{"rows": "results[\'1\'].n"}'))
    flow_id = start(db)
    watch(count)
    until(lambda: flow(db, flow_id).closing == 2)
    assert flow(db, flow_id).result == '{"rows":7}'


def test_a_flow_is_rolled_back_by_the_watcher(db: Database, watch: Watch) -> None:
    undone: list[int] = []

    @program
    def undo(call: Call) -> None:
        undone.append(call.exec_seq)

    define(db, steps=3)
    sql(db, "UPDATE ms_task_definition SET program = 'FailForTrials' WHERE task_seq = 3")
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="w", failure_policy="rollback"))
        steps = [{"task_id": "w", "task_seq": seq, "rollback_program": "undo"} for seq in (1, 2)]
        conn.execute(insert(task_option), steps)
    flow_id = start(db)
    watch(undo)
    until(lambda: flow(db, flow_id).reason == Reason.ROLLED_BACK)
    assert undone == [4, 5]
    assert flow(db, flow_id).flow_status == Status.IGNORE


def test_a_flow_that_is_overdue_ends_before_its_rows_are_made_ready(db: Database, watch: Watch) -> None:
    """Both are seen by the same look; a row that was made ready first could be claimed by then."""
    watching = watch()
    adopter = watching.watcher._lookout._adopter
    adopt, ended = adopter.adopt, []

    def noted() -> int:
        ended.append(flow(db, "late").flow_status)
        return adopt()

    adopter.adopt = noted
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    with db.transaction() as conn:
        conn.execute(insert(flow_stat).values(task_flow_id="late", task_id="w", flow_status=0, deadline_ts=long_ago))
        conn.execute(insert(task_stat).values(**hand_made("late", program="Noop")))
    until(lambda: ended)
    assert ended[0] == Status.IGNORE
    row = task(db, Key("late", 1))
    assert (row.exec_status, row.claims) == (Status.IGNORE, 0)
