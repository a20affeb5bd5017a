"""Stopping: nothing new begins, what runs may end, and what cannot end is handed back."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from factories import hand_made, insert_task, rows, task
from patience import until
from sqlalchemy import insert, select
from waiting import attempts, settled, status
from watching import Watch

from engine.database import Database
from engine.keys import Key
from engine.tables import task_stat, watcher
from penstock import Call, program

pytestmark = pytest.mark.by_turns


def test_a_running_task_finishes_within_the_grace(db: Database, watch: Watch) -> None:
    began = threading.Event()

    @program
    def takes_a_second() -> str:
        began.set()
        time.sleep(1)
        return "whole"

    key = insert_task(db, program="takes_a_second")
    watching = watch(takes_a_second, grace_s=15)
    assert began.wait(15)
    late = insert_task(db, "late", program="Noop", wait_count=0)
    watching.stop()
    assert (status(db, key), task(db, key).result) == (3, '"whole"')
    row = task(db, late)
    assert row.exec_status in (0, 3)  # claimed before the stop, or not at all
    assert rows(db, watcher)[0].state == "stopped"


def test_a_turn_that_waits_for_a_lock_claims_nothing_once_told_to_stop(db: Database, watch: Watch) -> None:
    began, leave = threading.Event(), threading.Event()

    @program
    def holds() -> None:
        began.set()
        leave.wait(20)

    key = insert_task(db, program="holds")
    watching = watch(holds, workers=2, grace_s=15)
    assert began.wait(15)
    with db.transaction() as conn:  # on SQLite it has the one write lock
        if db.can.row_locks:
            conn.execute(select(task_stat).where(task_stat.c.task_flow_id == key.flow_id).with_for_update()).all()
        leave.set()
        until(lambda: all(slot.answered.locked() for slot in watching.watcher._pool.slots.values()))
        time.sleep(0.3)  # for the turn that settles, and claims, to be held up
        conn.execute(insert(task_stat).values(**hand_made("late", program="holds", wait_count=0)))
        watching.watcher.stop()
    watching.join()
    assert status(db, key) == 3
    assert (status(db, Key("late", 1)), task(db, Key("late", 1)).claims) == (0, 0)


def test_prefetched_tasks_go_back_at_once_and_uncharged(db: Database, watch: Watch) -> None:
    began, leave = threading.Event(), threading.Event()

    @program
    def holds() -> None:
        began.set()
        leave.wait(20)

    key = insert_task(db, "held", program="holds", task_priority=-20)
    watching = watch(holds, workers=1, grace_s=15)
    assert began.wait(15)
    watching.watcher._pace.ahead = lambda: 5  # type: ignore[method-assign]
    others = [insert_task(db, f"other {n}", program="holds", wait_count=0) for n in range(5)]
    until(lambda: [status(db, other) for other in others] == [1] * 5)
    watching.watcher.stop()
    until(lambda: [status(db, other) for other in others] == [0] * 5, seconds=10)
    assert status(db, key) == 1, "while the running one goes on"
    leave.set()
    watching.join()
    assert status(db, key) == 3
    found = [task(db, other) for other in others]
    assert {(row.attempt, row.reason, row.wait_count) for row in found} == {(0, "released", 0)}


def test_an_interrupted_program_is_released_uncharged(db: Database, watch: Watch) -> None:
    began = threading.Event()

    @program
    def sleeps(call: Call) -> None:
        began.set()
        call.sleep(60)

    key = insert_task(db, program="sleeps")
    watching = watch(sleeps, grace_s=0.3)
    assert began.wait(15)
    begun = time.monotonic()
    watching.stop()
    assert time.monotonic() - begun < 15
    row = task(db, key)
    assert (row.exec_status, row.attempt, row.reason, row.claims) == (0, 0, "released", 1)
    assert [(item.outcome, item.accepted) for item in attempts(db, key)] == [("released", False)]
    watch(sleeps)
    until(lambda: status(db, key) == 1)


def test_the_second_stop_does_not_wait_for_the_grace(db: Database, watch: Watch) -> None:
    began = threading.Event()

    @program
    def sleeps(call: Call) -> None:
        began.set()
        call.sleep(60)

    key = insert_task(db, program="sleeps")
    watching = watch(sleeps, grace_s=60)
    assert began.wait(15)
    watching.watcher.stop()
    time.sleep(0.3)
    assert watching.lives
    watching.watcher.stop()
    watching.join(20)
    assert status(db, key) == 0


def test_a_program_that_ignores_the_stop_is_handed_back(
    db: Database, watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("watcher.drain.STOP_MARGIN_S", 0.3)
    began, leave, left = threading.Event(), threading.Event(), threading.Event()
    answers: list[Any] = []

    @program
    def stubborn() -> str:
        first = not began.is_set()
        began.set()
        if first:
            leave.wait(30)
            left.set()
            return "late"
        answers.append("second")
        return "second"

    key = insert_task(db, program="stubborn")
    watching = watch(stubborn, grace_s=0.2)
    assert began.wait(15)
    watching.stop()
    row = task(db, key)
    assert (row.exec_status, row.attempt, row.reason) == (0, 0, "released")
    watch(stubborn)
    settled(db, key)
    leave.set()
    assert left.wait(10)
    time.sleep(0.2)
    row = task(db, key)
    assert (row.exec_status, row.result, row.claims, answers) == (3, '"second"', 2, ["second"])


def test_stopped_while_it_waits_for_the_database(watch: Watch, tmp_path: Any) -> None:
    watching = watch(url=f"sqlite:///{tmp_path}", db_wait_s=60)
    time.sleep(0.3)
    begun = time.monotonic()
    watching.stop()
    assert time.monotonic() - begun < 15


test_stopped_while_it_waits_for_the_database = pytest.mark.parametrize("kind", ["sqlite"])(
    test_stopped_while_it_waits_for_the_database
)
