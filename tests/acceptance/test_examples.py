"""Every workflow in examples/*.sql, as a person would run it: its rows inserted, registered, and run to the end."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from factories import flow, rows, start, tasks

from engine.database import Database
from engine.schema import statements_of
from engine.states import Status
from engine.tables import attempt
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
    example = next(path for path in EXAMPLES if path.stem == name)
    with db.transaction() as conn:
        for statement in statements_of(example.read_text()):
            conn.exec_driver_sql(statement)
    flow_id = start(db, name)
    run(db, flow_id)
    found = flow(db, flow_id).flow_status, [row.exec_status for row in tasks(db, flow_id)]
    assert found == ENDS[name]


def test_the_result_of_an_example(db: Database) -> None:
    example = next(path for path in EXAMPLES if path.stem == "flow_result")
    with db.transaction() as conn:
        for statement in statements_of(example.read_text()):
            conn.exec_driver_sql(statement)
    flow_id = start(db, "flow_result", parameters={"currency": "CHF"})
    run(db, flow_id)
    assert json.loads(flow(db, flow_id).result) == {"total": 42, "currency": "CHF"}


@pytest.mark.parametrize("example", [path for path in EXAMPLES if path.stem not in ENDS], ids=lambda path: path.stem)
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
