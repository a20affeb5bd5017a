"""The time limit of a sensor: over all its pokes, by the database's clock, in no counter."""

from __future__ import annotations

from typing import Any

import pytest
from awaiting import arrived, await_it, make_due, waits_of
from factories import (
    by_hand,
    claim,
    define,
    enlisted,
    finish,
    flow,
    rows,
    run_out,
    settle_as,
    sql,
    start,
    states,
    sweep,
    task,
    together,
)
from invariants import hold
from sqlalchemy import insert

from engine import control, supervise
from engine.claimed import ClaimedTask
from engine.database import Database, open_database
from engine.keys import Key
from engine.lookout import look
from engine.settle import Settled, Settlement, Verdict
from engine.states import Reason, Status
from engine.tables import attempt, event, task_option
from engine.waiting import overdue

WORDS = "still not there after 60 s of poking"


@pytest.fixture
def key(db: Database) -> Key:
    """The first of two tasks; it runs."""
    define(db, steps=2)
    enlisted(db)
    return Key(start(db), 1)


def poke(db: Database, poke_s: float | None = 60.0, delay_s: float = 0.0) -> tuple[ClaimedTask, Settled]:
    """Run what is ready, and have it answer Again."""
    (held,) = claim(db)
    return held, settle_as(db, [Settlement(held, "again", delay_s=delay_s, poke_s=poke_s)])


def next_poke(db: Database) -> None:
    assert supervise.fire_due(db) == 1


def limits(db: Database, key: Key) -> list[tuple[str, str]]:
    return [(row.kind, row.state) for row in waits_of(db, key)]


def allow_retries(db: Database, tries: int) -> None:
    sql(db, f"UPDATE kr_task_stat SET max_attempts = {tries}, retry_delay_s = 0 WHERE task_exec_seq = 1")


def test_the_first_again_begins_the_limit_and_later_ones_keep_it(db: Database, key: Key) -> None:
    poke(db)
    (begun,) = waits_of(db, key)
    assert (begun.kind, begun.state, begun.details) == ("poke", "open", '{"timeout_s":60.0}')
    assert 55 < (begun.due_ts - begun.created_ts).total_seconds() < 65
    assert (task(db, key).exec_status, task(db, key).wait_count) == (Status.WAIT, 1)
    hold(db)
    for asked in (60.0, 3600.0, None):
        next_poke(db)
        poke(db, asked)
        assert waits_of(db, key) == [begun]
    hold(db)


def test_an_again_without_a_limit_has_none(db: Database, key: Key) -> None:
    poke(db, None)
    assert limits(db, key) == []


def test_an_again_after_the_limit_fails(db: Database, key: Key) -> None:
    poke(db)
    next_poke(db)
    (held,) = claim(db)
    make_due(db)
    late = Settlement(held, "again", delay_s=5.0, poke_s=60.0)
    assert settle_as(db, [late]).verdicts == [Verdict.ACCEPTED]
    row = task(db, key)
    assert (row.exec_status, row.reason, row.error, row.attempt) == (Status.SUSPEND, Reason.TIMED_OUT, WORDS, 1)
    assert limits(db, key) == [("poke", "expired")]
    assert flow(db, key.flow_id).flow_status == Status.SUSPEND
    assert settle_as(db, [late]).verdicts == [Verdict.ALREADY]
    tries = [(row.outcome, row.accepted, row.error) for row in rows(db, attempt) if row.claim_no == 2]
    assert tries == [("failed", True, WORDS)]
    assert [row.what for row in rows(db, event)] == ["task suspended"]
    assert arrived(db, key) == []
    hold(db, at_rest=True)


@pytest.mark.parametrize("pokes", [1, 3])
def test_the_limit_ends_while_the_task_waits_for_its_next_poke(db: Database, key: Key, pokes: int) -> None:
    for _ in range(pokes - 1):
        poke(db)
        next_poke(db)
    poke(db, delay_s=3600.0)
    assert overdue.fire_pokes(db) == 0
    make_due(db)
    assert overdue.fire_pokes(db) == 1
    assert overdue.fire_pokes(db) == 0
    row = task(db, key)
    assert (row.exec_status, row.reason, row.error, row.due_ts) == (Status.SUSPEND, Reason.TIMED_OUT, WORDS, None)
    assert (row.wait_count, row.attempt, row.claims) == (0, 1, pokes)
    assert limits(db, key) == [("poke", "expired")]
    assert [(one.outcome, one.accepted) for one in rows(db, attempt) if one.claim_no == pokes] == [("failed", True)]
    sweep(db)
    assert states(db, key.flow_id) == [(2, 0), (0, 1)]
    hold(db, at_rest=True)


@pytest.mark.parametrize("waits", [True, False], ids=["while it waits", "when it answers"])
def test_a_task_with_tries_left_is_tried_again_with_a_limit_of_its_own(db: Database, key: Key, waits: bool) -> None:
    allow_retries(db, 2)
    poke(db, delay_s=3600.0 if waits else 0.0)
    if waits:
        make_due(db)
        overdue.fire_pokes(db)
    else:
        next_poke(db)
        (held,) = claim(db)
        make_due(db)
        late = Settlement(held, "again", poke_s=60.0)
        assert settle_as(db, [late]).verdicts == [Verdict.ACCEPTED]
        assert settle_as(db, [late]).verdicts == [Verdict.ALREADY]
    row = task(db, key)
    assert (row.exec_status, row.wait_count, row.reason, row.error) == (Status.WAIT, 1, Reason.RETRY, WORDS)
    hold(db)
    sweep(db)
    poke(db)
    assert limits(db, key) == [("poke", "expired"), ("poke", "open")]
    assert task(db, key).attempt == 1
    hold(db)
    make_due(db)
    sweep(db)
    assert (task(db, key).exec_status, task(db, key).reason) == (Status.SUSPEND, Reason.TIMED_OUT)
    hold(db, at_rest=True)


def test_a_limit_that_ends_while_the_task_runs_waits_for_its_answer(db: Database, key: Key) -> None:
    poke(db)
    next_poke(db)
    (held,) = claim(db)
    make_due(db)
    assert overdue.fire_pokes(db) == 1
    assert task(db, key).exec_status == Status.RUNNING
    with db.read() as conn:
        assert look(conn, ["default"]).next_due_s is None, "an idle watcher must not spin"
    assert overdue.fire_pokes(db) == 0
    settle_as(db, [Settlement(held, "again", poke_s=60.0)])
    assert (task(db, key).exec_status, task(db, key).reason) == (Status.SUSPEND, Reason.TIMED_OUT)
    assert limits(db, key) == [("poke", "expired")]
    hold(db)


def test_what_finishes_after_its_limit_has_finished(db: Database, key: Key) -> None:
    poke(db)
    next_poke(db)
    (held,) = claim(db)
    make_due(db)
    overdue.fire_pokes(db)
    finish(db, held)
    assert (task(db, key).exec_status, limits(db, key)) == (Status.FINISH, [("poke", "cancelled")])
    hold(db)


@pytest.mark.parametrize(
    "answer",
    [
        {"kind": "finish"},
        {"kind": "suspend", "reason": Reason.FAILED, "error": "x"},
        {"kind": "retry", "error": "x", "delay_s": 0.0},
    ],
    ids=lambda answer: str(answer["kind"]),
)
def test_settling_in_another_way_ends_the_limit(db: Database, key: Key, answer: dict[str, Any]) -> None:
    poke(db)
    next_poke(db)
    (held,) = claim(db)
    assert settle_as(db, [Settlement(held, **answer)]).verdicts == [Verdict.ACCEPTED]
    assert limits(db, key) == [("poke", "cancelled")]
    hold(db)


def test_awaiting_something_ends_the_limit(db: Database, key: Key) -> None:
    poke(db)
    next_poke(db)
    await_it(db, *claim(db))
    assert limits(db, key) == [("poke", "cancelled"), ("message", "open")]
    hold(db)


def test_handing_back_keeps_the_limit(db: Database, key: Key) -> None:
    poke(db)
    next_poke(db)
    (held,) = claim(db)
    settle_as(db, [Settlement(held, "release")])
    assert limits(db, key) == [("poke", "open")]
    hold(db)


@pytest.mark.parametrize("how", ["ignore", "finish", "set to 9", "set to 3"])
def test_settled_by_a_person_the_limit_is_gone(db: Database, key: Key, how: str) -> None:
    poke(db, delay_s=3600.0)
    match how:
        case "ignore":
            control.ignore(db, key.flow_id, [1], actor="ann")
        case "finish":
            control.finish(db, key.flow_id, 1, actor="ann")
        case _:
            by_hand(db, key, int(how[-1]))
    make_due(db)
    overdue.fire_pokes(db)
    sweep(db)
    assert limits(db, key) == [("poke", "cancelled")]
    assert states(db, key.flow_id)[1] == (0, 0)
    hold(db)


def test_a_paused_sensor_fails_at_its_first_poke_after_the_limit(db: Database, key: Key) -> None:
    poke(db, delay_s=3600.0)
    control.pause(db, key.flow_id, [1], actor="ann")
    make_due(db)
    assert overdue.fire_pokes(db) == 1
    assert (task(db, key).exec_status, task(db, key).reason) == (Status.SUSPEND, Reason.PAUSED)
    control.resume(db, key.flow_id, [1], actor="ann")
    hold(db)
    sql(db, "UPDATE kr_task_stat SET due_ts = '2001-01-01 00:00:00' WHERE due_ts IS NOT NULL")
    next_poke(db)
    poke(db)
    assert (task(db, key).exec_status, task(db, key).reason) == (Status.SUSPEND, Reason.TIMED_OUT)
    hold(db)


def test_recovered_after_its_limit_it_is_poked_anew(db: Database, key: Key) -> None:
    poke(db, delay_s=3600.0)
    make_due(db)
    overdue.fire_pokes(db)
    assert control.recover(db, key.flow_id, actor="ann") == [1]
    poke(db)
    assert limits(db, key) == [("poke", "expired"), ("poke", "open")]
    assert run_out(db) == [key, Key(key.flow_id, 2)]
    hold(db, at_rest=True)


def test_two_sweeps_at_once_fail_each_task_once(db: Database, url: str) -> None:
    define(db, "sensor", steps=1)
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id="sensor", task_seq=1, max_attempts=5, retry_delay_s=3600))
    enlisted(db)
    keys = [Key(start(db, "sensor"), 1) for _ in range(40)]
    held = claim(db, 40)
    settle_as(db, [Settlement(item, "again", delay_s=3600.0, poke_s=60.0) for item in held])
    make_due(db)
    other = open_database(url)
    other.probe()
    done = together(lambda: overdue.fire_pokes(db), lambda: overdue.fire_pokes(other))
    other.close()
    assert sum(done) + overdue.fire_pokes(db) == 40
    assert [(task(db, key).attempt, task(db, key).reason) for key in keys] == [(1, Reason.RETRY)] * 40
    hold(db)


def test_limits_of_deleted_rows_do_not_stay_due(db: Database, key: Key) -> None:
    poke(db)
    make_due(db)
    sql(db, "DELETE FROM kr_task_stat")
    assert overdue.fire_pokes(db) == 1
    assert limits(db, key) == [("poke", "cancelled")]
