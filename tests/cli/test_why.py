"""`penstock why`: what a person and a script are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import claim, define, insert_task, run_all, settle_as, start

from engine.database import Database
from engine.settle import Settlement

Penstock = Any


@pytest.fixture
def failed(sqlite_db: Database) -> str:
    """A flow whose first task has failed, and whose second waits for it."""
    define(sqlite_db, steps=2)
    flow_id = start(sqlite_db)
    settle_as(sqlite_db, [Settlement(claim(sqlite_db)[0], "suspend", reason="failed", error="no [such] file")])
    return flow_id


def test_a_flow_is_told_task_by_task(penstock: Penstock, sqlite_url: str, failed: str) -> None:
    answer = penstock("why", failed, "--db", sqlite_url)
    assert answer.exit_code == 0
    first, second = answer.output.split("\n1  Noop  SUSPEND")[1].split("\n2  Noop  WAIT")
    assert "it needs a person (failed): no [such] file" in first, "markup in values is shown, not obeyed"
    assert "retry it" in first
    assert "task 1 (Noop) has to end first, and is SUSPEND, failed" in second
    assert "The flow is SUSPEND; 1 of its tasks needs a person" in answer.output


def test_a_task_is_told_with_what_lies_at_the_bottom(penstock: Penstock, sqlite_url: str, failed: str) -> None:
    answer = penstock("why", f"{failed}/2", "--db", sqlite_url)
    assert "At the bottom of that:\n  task 1 (Noop) is SUSPEND: it needs a person" in answer.output
    assert "1  Noop  SUSPEND" not in answer.output


def test_a_script_gets_a_document(penstock: Penstock, sqlite_url: str, failed: str) -> None:
    found = json.loads(penstock("why", f"{failed}/2", "--db", sqlite_url, "--json").stdout)
    (task,) = found["tasks"]
    (cause,) = task["causes"]
    assert (found["task_flow_id"], found["status"], task["task_exec_seq"], cause["cause"]) == (
        failed,
        "SUSPEND",
        2,
        "dependency",
    )
    assert cause["facts"]["seq"] == 1
    assert task["roots"][0]["causes"][0]["facts"]["error"] == "no [such] file"


def test_an_id_with_slashes_is_an_id_first(penstock: Penstock, sqlite_url: str, sqlite_db: Database) -> None:
    define(sqlite_db)
    for flow_id in ("a", "a/1"):
        insert_task(sqlite_db, flow_id)
    whole = json.loads(penstock("why", "a/1", "--db", sqlite_url, "--json").stdout)
    assert whole["task_flow_id"] == "a/1"
    parted = json.loads(penstock("why", "a/1/1", "--db", sqlite_url, "--json").stdout)
    assert (parted["task_flow_id"], parted["tasks"][0]["task_exec_seq"]) == ("a/1", 1)


def test_what_is_over_waits_for_nothing(penstock: Penstock, sqlite_url: str, sqlite_db: Database) -> None:
    define(sqlite_db)
    flow_id = start(sqlite_db)
    run_all(sqlite_db)
    assert "The flow is over: FINISH" in penstock("why", flow_id, "--db", sqlite_url).output
    assert "Task 1 (Noop) is over: FINISH" in penstock("why", f"{flow_id}/1", "--db", sqlite_url).output


@pytest.mark.parametrize("subject", ["nobody", "nobody/1", "{flow}/3", "{flow}/x", "/1", "{flow}/" + "9" * 30])
def test_what_there_is_not_exits_with_3(penstock: Penstock, sqlite_url: str, failed: str, subject: str) -> None:
    answer = penstock("why", subject.format(flow=failed), "--db", sqlite_url)
    assert answer.exit_code == 3
    assert answer.output.startswith("penstock: flow ")
    assert penstock("why", subject.format(flow=failed), "--db", sqlite_url, "--json").exit_code == 3
