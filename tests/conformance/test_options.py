"""The extras of a step, the versions that flows are made from, and tries after a failure, on every database."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import claim, define, enlisted, finish, flow, rows, run_all, settle_as, sql, start, states, task, tasks
from invariants import hold
from sqlalchemy import insert

from engine import supervise
from engine.database import Database
from engine.errors import BadDefinition, PoisonData
from engine.flows import Registration, register
from engine.keys import Key
from engine.settle import Settled, Settlement, Verdict
from engine.states import Reason, Status
from engine.tables import attempt, task_option, workflow_version


def option(db: Database, task_id: str = "w", task_seq: int = 1, **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id=task_id, task_seq=task_seq, **columns))


def fail_once(db: Database, delay_s: float = 0.0) -> Settled:
    held = claim(db)
    return settle_as(db, [Settlement(item, "retry", error="no luck", delay_s=delay_s) for item in held])


def test_a_step_without_options_is_flowers(db: Database) -> None:
    define(db, steps=2)
    row = tasks(db, start(db))[0]
    assert (row.queue, row.max_attempts, row.retry_delay_s) == ("default", None, None)


def test_options_are_copied_into_the_run(db: Database) -> None:
    define(db, steps=2, param1_key="A", param1_value="1", param2_key="B", param2_value="2")
    option(
        db, queue="slow", max_attempts=4, retry_delay_s=1.5, retry_backoff=2, retry_jitter=0.5, parameters='{"B": [3]}'
    )
    first, second = tasks(db, start(db))
    assert (first.queue, first.max_attempts, first.retry_delay_s) == ("slow", 4, 1.5)
    assert (first.retry_backoff, first.retry_jitter, first.retry_max_delay_s) == (2, 0.5, None)
    assert json.loads(first.parameters) == {"A": "1", "B": [3]}
    assert (second.queue, second.max_attempts) == ("default", None)


def test_a_watcher_takes_only_from_its_queues(db: Database) -> None:
    define(db, steps=1)
    option(db, queue="slow")
    flow_id = start(db)
    enlisted(db)
    assert claim(db) == []
    held = claim(db, queues=("slow",))
    assert [item.key for item in held] == [Key(flow_id, 1)]


@pytest.mark.parametrize(
    "columns, words",
    [
        ({"parameters": "[1]"}, "parameters of ms_task_option is a JSON array"),
        ({"parameters": "{"}, "parameters of ms_task_option is not JSON"),
        ({"queue": ""}, "queue is empty"),
    ],
)
def test_options_that_cannot_work_are_named(db: Database, columns: dict[str, Any], words: str) -> None:
    define(db, steps=1)
    define(db, "good", steps=1)
    option(db, **columns)
    bad, good = Registration("w"), Registration("good")
    answers = db.transact(lambda conn: register(conn, db, [bad, good]))
    answer = answers[bad.flow_id]
    assert isinstance(answer, BadDefinition)
    assert f"step 1: {words}" in str(answer)
    assert not isinstance(answers[good.flow_id], Exception)


@pytest.mark.parametrize(
    "columns",
    [
        {"max_attempts": 0},
        {"retry_delay_s": -1},
        {"retry_backoff": 0.5},
        {"retry_jitter": 2},
        {"retry_max_delay_s": -1},
    ],
)
def test_numbers_out_of_range_are_refused_by_the_table(db: Database, columns: dict[str, Any]) -> None:
    with pytest.raises(PoisonData):
        option(db, **columns)


def test_one_version_for_as_long_as_nothing_changes(db: Database) -> None:
    define(db, steps=2)
    first, second = start(db), start(db)
    assert flow(db, first).version_id == flow(db, second).version_id
    (version,) = rows(db, workflow_version)
    assert version.version_id == flow(db, first).version_id
    content = json.loads(version.definition)
    assert [step["program"] for step in content["steps"]] == ["Noop", "Noop"]
    assert [step["after"] for step in content["steps"]] == [[], [1]]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ms_task_definition SET task_priority = 3 WHERE task_seq = 1",
        "UPDATE ms_task_definition SET param1_key = 'A' WHERE task_seq = 1",
        "INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq) VALUES ('w', 3, 1)",
        "INSERT INTO ms_task_option(task_id, task_seq, max_attempts) VALUES ('w', 2, 5)",
        "DELETE FROM ms_task_definition WHERE task_seq = 3",
    ],
)
def test_a_change_makes_a_new_version_and_touches_no_run(db: Database, change: str) -> None:
    define(db, steps=3)
    before = start(db)
    as_it_was = tasks(db, before)
    sql(db, change)
    after = start(db)
    assert flow(db, before).version_id != flow(db, after).version_id
    assert len(rows(db, workflow_version)) == 2
    assert tasks(db, before) == as_it_was
    enlisted(db)
    run_all(db)
    assert flow(db, before).flow_status == flow(db, after).flow_status == Status.FINISH


def test_a_retry_waits_for_its_time_and_tells_why(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    assert fail_once(db, delay_s=60).verdicts == [Verdict.ACCEPTED]
    row = task(db, Key(flow_id, 1))
    assert (row.exec_status, row.wait_count, row.reason, row.error) == (Status.WAIT, 1, Reason.RETRY, "no luck")
    assert (row.attempt, row.claims) == (1, 1)
    assert supervise.fire_due(db) == 0
    assert claim(db) == []
    (tried,) = rows(db, attempt)
    assert (tried.outcome, tried.accepted, tried.error) == ("failed", False, "no luck")
    hold(db)


def test_a_retried_task_goes_on_with_the_next_attempt(db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    fail_once(db)
    assert supervise.fire_due(db) == 1
    (again,) = claim(db)
    assert (again.attempt, again.claim_no) == (2, 2)
    finish(db, again)
    row = task(db, Key(flow_id, 1))
    assert (row.exec_status, row.attempt, row.reason, row.error) == (Status.FINISH, 2, None, None)
    assert run_all(db) == [Key(flow_id, 2)]
    assert states(db, flow_id) == [(3, -1), (3, -1)]
    hold(db, at_rest=True)


def test_a_retry_settled_twice_is_charged_once(db: Database) -> None:
    """The answer to the COMMIT was lost, and the batch is given again."""
    define(db, steps=1)
    flow_id = start(db)
    enlisted(db)
    (held,) = claim(db)
    item = Settlement(held, "retry", error="no luck", delay_s=60)
    assert settle_as(db, [item]).verdicts == [Verdict.ACCEPTED]
    assert settle_as(db, [item]).verdicts == [Verdict.ALREADY]
    assert task(db, Key(flow_id, 1)).attempt == 1
