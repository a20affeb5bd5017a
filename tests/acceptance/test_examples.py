"""Every workflow in examples/*.sql, as a person would run it: its rows inserted, registered, and run to the end."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
from factories import flow, rows, start, tasks

from engine import subflows
from engine.database import Database
from engine.schema import statements_of
from engine.states import Status
from engine.tables import attempt, flow_stat
from programs.catalogue import build_catalogue
from watcher.loop import Watcher
from watcher.settings import Settings

EXAMPLES = sorted((Path(__file__).resolve().parent.parent.parent / "examples").glob("*.sql"))


def run(db: Database, flow_id: str) -> None:
    """Let a watcher work until the flow is over."""
    watcher = Watcher(db, build_catalogue(autoload=False), Settings(interval_s=0.05))
    thread = threading.Thread(target=watcher.run)
    thread.start()
    deadline = time.monotonic() + 30
    while flow(db, flow_id).flow_status not in (Status.FINISH, Status.SUSPEND) and time.monotonic() < deadline:
        subflows.sweep(db)
        time.sleep(0.05)
    watcher.stop()
    thread.join(20)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
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
