"""Ready tasks rise while they wait, so that nothing starves; at a bounded cost, and no further than the most urgent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from factories import (
    claim,
    define,
    enlisted,
    finish,
    rows,
    run_all,
    run_out,
    settle_as,
    sql,
    start,
    task,
    tasks,
    together,
)
from invariants import hold
from sqlalchemy import event, insert, select, update

from engine import control
from engine.database import Database, open_database
from engine.dialects.clock import later, now
from engine.keys import Key, among
from engine.limits import ageing
from engine.limits.ageing import BATCH, GIVEN_BACK, raise_waiting
from engine.settle import Settlement
from engine.tables import task_stat, wait

pytestmark = pytest.mark.by_turns

STEP_S = 300.0


def ready(db: Database, flow_id: str, waited_s: float, priority: int = 0, **columns: Any) -> Key:
    """A ready row, registered so many seconds ago."""
    row = {"task_exec_seq": 1, "task_id": "w", "task_seq": 1, "parameters": "{}", "wait_count": 0, "program": "Noop"}
    with db.transaction() as conn:
        instant: Any = conn.scalar(select(now()))
        since = instant - timedelta(seconds=waited_s)
        values = {**row, "task_flow_id": flow_id, "task_priority": priority, "registered_ts": since, **columns}
        conn.execute(insert(task_stat).values(values))
    return Key(flow_id, 1)


def pass_time(db: Database, seconds: float) -> None:
    """As if so much time had passed: every time in the rows lies so much further back."""
    with db.transaction() as conn:
        for table, names in ((task_stat, ("registered_ts", "started_ts", "finished_ts")), (wait, ("closed_ts",))):
            for row in conn.execute(select(table)).all():
                this = [column == row._mapping[column.name] for column in table.primary_key]
                moved = {
                    name: row._mapping[name] - timedelta(seconds=seconds)
                    for name in names
                    if row._mapping[name] is not None
                }
                if moved:
                    conn.execute(update(table).where(*this).values(moved))


def age(db: Database, queues: tuple[str, ...] = ("default",)) -> int:
    return raise_waiting(db, queues, STEP_S)


def priority(db: Database, key: tuple[str, int]) -> tuple[int, int]:
    row = task(db, key)
    return row.task_priority, row.aged


@contextmanager
def statements(db: Database) -> Iterator[list[str]]:
    sent: list[str] = []

    def note(conn: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    yield sent
    event.remove(db.engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    "waited_s, given, risen",
    [
        (0, 5, (5, 0)),
        (299, 5, (5, 0)),
        (301, 5, (4, 1)),
        (899, 5, (3, 2)),
        (3_001, 5, (-5, 10)),
        (1_000_000, 5, (-20, 25)),
        (1_000_000, 19, (-20, 39)),
        (1_000_000, -20, (-20, 0)),
    ],
)
def test_one_step_for_each_period_of_waiting(db: Database, waited_s: float, given: int, risen: tuple[int, int]) -> None:
    key = ready(db, "f", waited_s, given)
    assert age(db) == (risen[1] > 0)
    assert priority(db, key) == risen
    assert age(db) == 0, "no step twice"
    assert priority(db, key) == risen


def test_the_next_step_comes_a_period_later(db: Database) -> None:
    key = ready(db, "f", 310, 5)
    age(db)
    pass_time(db, 280)
    assert age(db) == 0
    pass_time(db, 20)
    assert age(db) == 1
    assert priority(db, key) == (3, 2)


def test_only_ready_tasks_of_the_queues_that_are_served(db: Database) -> None:
    for number, columns in enumerate(
        (
            {"wait_count": 1},
            {"exec_status": 1},
            {"exec_status": 2},
            {"exec_status": 3, "wait_count": -1},
            {"wait_count": None},
            {"queue": "other"},
            {"registered_ts": None},
        )
    ):
        ready(db, f"f{number}", 10_000, 5, **columns)
    key = ready(db, "ready", 10_000, 5, queue="slow")
    assert age(db, ("default", "slow", "slow")) == 1
    assert priority(db, key)[1] > 0
    assert {row.aged for row in rows(db, task_stat) if row.task_flow_id != "ready"} == {0}


def test_an_old_flow_is_no_old_wait(db: Database) -> None:
    """A later step of a long flow has waited since the step before it finished."""
    define(db, steps=2)
    flow_id = start(db, priority=5)
    enlisted(db)
    [first] = claim(db)
    pass_time(db, 10_000)
    finish(db, first)
    assert age(db) == 0
    pass_time(db, 310)
    assert age(db) == 1
    assert priority(db, (flow_id, 2)) == (4, 1)


def test_a_try_and_an_answer_begin_the_wait_anew(db: Database) -> None:
    enlisted(db)
    key = ready(db, "tried", 10_000, 5)
    [claimed] = claim(db)
    settle_as(db, [Settlement(claimed, "release")])
    other = ready(db, "answered", 10_000, 5)
    with db.transaction() as conn:
        ago = {"created_ts": later(-10_000), "closed_ts": later(-10)}
        row = {
            "wait_id": "x",
            "task_flow_id": other.flow_id,
            "task_exec_seq": 1,
            "kind": "approval",
            "state": "arrived",
        }
        conn.execute(insert(wait).values(**row, **ago))
    assert age(db) == 0
    pass_time(db, 310)
    assert age(db) == 2
    assert priority(db, key) == priority(db, other) == (4, 1)


@pytest.mark.parametrize("arrivals, least, most", [(1, 40, 42), (2, 60, 80)])
def test_an_old_task_starts_in_spite_of_an_endless_stream_of_urgent_ones(
    db: Database, arrivals: int, least: int, most: int
) -> None:
    """Eight steps of five minutes behind a stream that fills every place; where twice as many come as can be served,
    the urgent ones that are left age too, half as long as it has."""
    enlisted(db)
    old = ready(db, "old", 0, 3)
    for minute in range(1, 200):
        for number in range(arrivals):
            ready(db, f"{number}-{minute:03d}", 0, -5)
        age(db)
        [claimed] = claim(db, 1)
        finish(db, claimed)
        if claimed.key == old:
            break
        pass_time(db, 60)
    assert claimed.key == old
    assert least <= minute <= most


def test_without_ageing_it_starves(db: Database) -> None:
    enlisted(db)
    ready(db, "old", 0, 3)
    for minute in range(1, 100):
        ready(db, f"a{minute}", 0, -5)
        [claimed] = claim(db, 1)
        assert claimed.key.flow_id != "old"
        finish(db, claimed)
        pass_time(db, 60)


def test_a_backlog_is_not_read_through(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep takes the head of each level: the oldest, and no more than a batch of them."""
    monkeypatch.setattr(ageing, "BATCH", 20)
    assert BATCH == 500
    with db.transaction() as conn:
        instant: Any = conn.scalar(select(now()))
        row = {
            "task_exec_seq": 1,
            "task_id": "w",
            "task_seq": 1,
            "parameters": "{}",
            "wait_count": 0,
            "program": "Noop",
        }
        backlog = [
            {
                **row,
                "task_flow_id": f"f{number:04d}",
                "task_priority": number % 2,
                "registered_ts": instant - timedelta(seconds=1000 - number / 10),
            }
            for number in range(1000)
        ]
        conn.execute(insert(task_stat), backlog)
    with statements(db) as sent:
        assert age(db) == 40
    assert len(sent) < 30
    risen = sorted(row.task_flow_id for row in rows(db, task_stat) if row.aged)
    assert risen == [f"f{number:04d}" for number in range(40)]
    assert age(db) == 40, "the next ones, which are the head now"


def test_sweeps_that_race_raise_once(db: Database) -> None:
    for number in range(60):
        ready(db, f"f{number:02d}", 700, number % 7)
    others = [open_database(db.url.render_as_string(hide_password=False)) for _ in range(4)]
    raised = together(*[lambda other=other: age(other) for other in others])
    for other in others:
        other.close()
    assert sum(raised) == 60
    assert {
        (row.aged, row.task_priority + row.aged - int(row.task_flow_id[1:]) % 7) for row in rows(db, task_stat)
    } == {(2, 0)}


def test_what_was_claimed_meanwhile_is_left_alone(db: Database) -> None:
    enlisted(db)
    keys = [ready(db, f"f{number}", 700, 5) for number in range(4)]
    claim(db, 2)
    assert age(db) == 2
    assert [priority(db, key) for key in keys] == [(5, 0), (5, 0), (3, 2), (3, 2)]


def test_a_re_run_can_give_the_steps_back(db: Database) -> None:
    key = ready(db, "f", 1_000_000, 19)
    age(db)
    with db.transaction() as conn:
        conn.execute(update(task_stat).where(among([key])).values(GIVEN_BACK))
    assert priority(db, key) == (19, 0)


def test_a_whole_flow_ages_without_harm(db: Database) -> None:
    define(db, steps=3)
    flow_id = start(db, priority=10)
    enlisted(db)
    for _ in range(3):
        pass_time(db, 700)
        age(db)
        finish(db, *claim(db))
    run_out(db)
    assert [row.aged for row in tasks(db, flow_id)] == [2, 2, 2]
    hold(db, at_rest=True)


def test_a_re_run_begins_with_the_priority_that_it_was_given(db: Database) -> None:
    define(db, task_priority=5)
    flow_id = start(db)
    sql(db, "UPDATE kr_task_stat SET task_priority = 2, aged = 3")
    enlisted(db)
    run_all(db)
    control.rerun(db, flow_id, [1], actor="me")
    assert [(row.task_priority, row.aged) for row in tasks(db, flow_id)] == [(5, 0)]
