"""Every workflow in examples/*.sql, as a person would run it: its rows inserted, registered, and run to the end."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from factories import flow, rows, sql, start, tasks

from engine import answers, messages
from engine.database import Database
from engine.errors import NotAllowed
from engine.schema import statements_of
from engine.states import Status
from engine.tables import attempt, flow_stat, wait
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings

NEED_AN_ANSWER = {"message", "approval", "sensor"}
"""Examples in which somebody else has a part: each has a test of its own below."""
EXAMPLES = sorted((Path(__file__).resolve().parent.parent.parent / "examples").glob("*.sql"))


def run(db: Database, flow_id: str) -> None:
    """Let a watcher work until the flow is over."""
    watcher = Watcher(db, build_catalogue(autoload=False), Settings(interval_s=0.05))
    thread = threading.Thread(target=watcher.run)
    thread.start()
    deadline = time.monotonic() + 30
    while not is_over(flow(db, flow_id)) and time.monotonic() < deadline:
        time.sleep(0.05)
    watcher.stop()
    thread.join(20)


def is_over(found: Any) -> bool:
    return found.flow_status not in (Status.WAIT, Status.RUNNING) and found.closing != 1


ENDS: dict[str, tuple[int, list[int]]] = {
    "stop": (Status.SUSPEND, [2, 2, 3]),
    "roll_back": (Status.IGNORE, [3, 3, 9, 9, 3, 3]),
    "time_out": (Status.FINISH, [9, 9, 3]),
}
"""Status of the flow and of its tasks, of examples in which not every task finishes."""


@pytest.mark.parametrize("name", ENDS)
def test_an_example_in_which_not_every_task_finishes(db: Database, name: str) -> None:
    flow_id = begin(db, name)
    run(db, flow_id)
    found = flow(db, flow_id).flow_status, [row.exec_status for row in tasks(db, flow_id)]
    assert found == ENDS[name]


def test_the_result_of_an_example(db: Database) -> None:
    begin(db, "flow_result")
    flow_id = start(db, "flow_result", parameters={"currency": "CHF"})
    run(db, flow_id)
    assert json.loads(flow(db, flow_id).result) == {"total": 42, "currency": "CHF"}


@pytest.mark.parametrize(
    "example", [path for path in EXAMPLES if path.stem not in {*ENDS, *NEED_AN_ANSWER}], ids=lambda path: path.stem
)
def test_an_example_runs_to_the_end(db: Database, example: Path) -> None:
    with db.transaction() as conn:
        for statement in statements_of(example.read_text()):
            conn.exec_driver_sql(statement)
    flow_id = start(db, example.stem)
    run(db, flow_id)
    assert [(row.task_seq, row.exec_status) for row in tasks(db, flow_id)] == [
        (row.task_seq, Status.FINISH) for row in tasks(db, flow_id)
    ]
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_the_retries_are_the_ones_that_the_rows_ask_for(db: Database) -> None:
    example = next(path for path in EXAMPLES if path.stem == "retries")
    with db.transaction() as conn:
        for statement in statements_of(example.read_text()):
            conn.exec_driver_sql(statement)
    flow_id = start(db, "retries")
    run(db, flow_id)
    tries = sorted((row.claim_no, row.outcome) for row in rows(db, attempt) if row.outcome == "failed")
    assert tries == [(1, "failed"), (2, "failed")]
    first = tasks(db, flow_id)[0]
    assert (first.attempt, first.claims, first.exec_status) == (3, 3, Status.FINISH)
    # half a second after the first failure, one second after the second
    assert (first.started_ts - first.registered_ts).total_seconds() >= 1.5


def begin(db: Database, name: str) -> str:
    """Insert the rows of an example and register it."""
    example = next(path for path in EXAMPLES if path.stem == name)
    with db.transaction() as conn:
        for statement in statements_of(example.read_text()):
            conn.exec_driver_sql(statement)
    return start(db, name)


def run_until_open(db: Database, kind: str) -> str:
    """Let a watcher work until a task awaits something of this kind, and stop it; the id of the wait."""
    watcher = Watcher(db, build_catalogue(autoload=False), Settings(interval_s=0.05))
    thread = threading.Thread(target=watcher.run)
    thread.start()
    deadline = time.monotonic() + 30
    found: list[str] = []
    while not found and time.monotonic() < deadline:
        found = [row.wait_id for row in rows(db, wait) if (row.kind, row.state) == (kind, "open")]
        time.sleep(0.02)
    watcher.stop()
    thread.join(20)
    return found[0]


def test_the_message_example_runs_once_its_message_is_sent(db: Database) -> None:
    flow_id = begin(db, "message")
    wait_id = run_until_open(db, "message")
    assert messages.send(db, "paid", "order-7", {"sum": 120}, actor="bank").wait_id == wait_id
    run(db, flow_id)
    assert [(row.exec_status, row.result) for row in tasks(db, flow_id)] == [
        (Status.FINISH, '{"sum":120}'),
        (Status.FINISH, None),
    ]


def test_the_message_of_the_example_may_be_sent_first_and_by_sql(db: Database) -> None:
    sql(
        db,
        "INSERT INTO kr_message(message_id, name, correlation_key, payload, sent_ts)"
        " VALUES ('any new id', 'paid', 'order-7', :payload, CURRENT_TIMESTAMP)",
        payload='{"sum": 120}',
    )
    flow_id = begin(db, "message")
    run(db, flow_id)
    assert [row.result for row in tasks(db, flow_id)] == ['{"sum":120}', None]
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_the_approval_example_runs_once_people_have_answered(db: Database) -> None:
    flow_id = begin(db, "approval")
    wait_id = run_until_open(db, "approval")
    with pytest.raises(NotAllowed, match="ann, bob"):
        answers.answer(db, wait_id, {"approved": True}, actor="eve")
    sql(
        db,
        "UPDATE kr_wait SET payload = :payload, closed_by = 'ann', due_ts = created_ts"
        " WHERE wait_id = :wait_id AND state = 'open'",
        payload='{"approved": true}',
        wait_id=wait_id,
    )
    answers.answer(db, run_until_open(db, "form"), {"rows": 12}, actor="eve")
    run(db, flow_id)
    assert [row.result for row in tasks(db, flow_id)] == ['{"approved":true}', '{"rows":12}', None]
    assert flow(db, flow_id).flow_status == Status.FINISH


def test_an_approval_that_is_refused_suspends_its_flow(db: Database) -> None:
    flow_id = begin(db, "approval")
    answers.answer(db, run_until_open(db, "approval"), {"approved": False}, actor="bob")
    run(db, flow_id)
    first = tasks(db, flow_id)[0]
    assert (first.exec_status, first.error) == (Status.SUSPEND, "not approved by bob")


def test_the_sensor_example_runs_once_the_service_is_there(db: Database, receiver: Any) -> None:
    receiver.refusals = 2
    flow_id = begin(db, "sensor")
    there = "UPDATE kr_task_stat SET parameters = REPLACE(parameters, 'http://127.0.0.1:8000/healthz', :url)"
    sql(db, there, url=receiver.url)
    run(db, flow_id)
    first = tasks(db, flow_id)[0]
    assert (first.exec_status, first.claims, first.attempt) == (Status.FINISH, 3, 1)
    assert [(row.kind, row.state) for row in rows(db, wait)] == [("poke", "cancelled")]


def test_the_fan_out_gathers_a_result_for_each_item(db: Database) -> None:
    example = next(path for path in EXAMPLES if path.stem == "fan_out")
    with db.transaction() as conn:
        for statement in statements_of(example.read_text()):
            conn.exec_driver_sql(statement)
    flow_id = start(db, "fan_out")
    run(db, flow_id)
    planner, join, *items = tasks(db, flow_id)
    assert [row.parameters for row in items] == [f'{{"SLEEP_TIME_SECOND":{s}}}' for s in (0.1, 0.2, 0.1)]
    assert {row.made_by_exec_seq for row in items} == {planner.task_exec_seq}
    assert (join.result, join.started_ts >= max(row.finished_ts for row in items)) == ("[null,null,null]", True)


def test_the_sub_flow_is_a_flow_of_its_own(db: Database) -> None:
    example = next(path for path in EXAMPLES if path.stem == "sub_flow")
    with db.transaction() as conn:
        for statement in statements_of(example.read_text()):
            conn.exec_driver_sql(statement)
    flow_id = start(db, "sub_flow")
    run(db, flow_id)
    [child] = [row for row in rows(db, flow_stat) if row.task_id == "sub_flow_load"]
    assert (child.parent_flow_id, child.parent_exec_seq, child.run_key, child.flow_status) == (flow_id, 2, "2030-01", 3)
    assert tasks(db, child.task_flow_id)[0].parameters == '{"SLEEP_TIME_SECOND":0.2}'
    assert tasks(db, flow_id)[1].result == "[null]"
