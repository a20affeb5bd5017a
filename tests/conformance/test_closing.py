"""What is left to do when a flow has ended: its result, worked out once, and the row that says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import claim, define, define_graph, enlisted, finish, flow, rows, run_all, sql, start, together
from invariants import hold
from sqlalchemy import insert

from engine import control, lookout
from engine.database import Database
from engine.ending.closing import close_ended
from engine.queries import list_flows, read_flow
from engine.states import Status
from engine.tables import event, flow_stat, task_option, workflow


def option(db: Database, task_seq: int, task_id: str = "w", **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id=task_id, task_seq=task_seq, **columns))


def mapping(db: Database, document: dict[str, str], task_id: str = "w", **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id=task_id, result_mapping=json.dumps(document), **columns))


def result_of(db: Database, flow_id: str) -> Any:
    with db.read() as conn:
        return read_flow(conn, flow_id)["result"]


def complaints(db: Database) -> list[str]:
    return [json.loads(row.details)["error"] for row in rows(db, event) if row.what == "flow result failed"]


def has_ended(db: Database) -> bool:
    with db.read() as conn:
        return lookout.look(conn, ["default"]).ended


def test_the_result_of_a_flow(db: Database) -> None:
    define(db, steps=2)
    option(db, 1, name="load")
    mapping(db, {"rows": "results.load.n", "day": "params.day", "of": "flow.task_id", "last": "results['2']"})
    flow_id = start(db, parameters={"day": "2026-11-21"})
    enlisted(db)
    finish(db, *claim(db), result='{"n": 7}')
    assert close_ended(db) == 0
    assert not has_ended(db)
    finish(db, *claim(db), result="[1,2]")
    assert (flow(db, flow_id).closing, flow(db, flow_id).result) == (1, None)
    assert has_ended(db)
    assert close_ended(db) == 1
    assert not has_ended(db)
    expected = {"rows": 7, "day": "2026-11-21", "of": "w", "last": [1, 2]}
    assert json.loads(flow(db, flow_id).result) == expected
    assert result_of(db, flow_id) == expected
    assert (flow(db, flow_id).closing, flow(db, flow_id).flow_status) == (2, Status.FINISH)
    assert close_ended(db) == 0
    with db.read() as conn:
        assert list_flows(conn)[0][0]["result"] == expected
    hold(db, at_rest=True)


@pytest.mark.parametrize(
    "text, words",
    [
        ("results.nobody.n", "result_mapping: "),
        ("1 / 0", "result_mapping: "),
        ("params.text + 1", "result_mapping: "),
    ],
)
def test_a_mapping_that_fails_leaves_no_result_and_says_why(db: Database, text: str, words: str) -> None:
    define(db)
    mapping(db, {"fine": "1", "broken": text})
    flow_id = start(db)
    enlisted(db)
    run_all(db)
    assert close_ended(db) == 1
    made = flow(db, flow_id)
    assert (made.flow_status, made.reason, made.result, made.closing) == (Status.FINISH, None, None, 2)
    [said] = complaints(db)
    assert said.startswith(words)


def test_a_result_that_is_too_large(db: Database) -> None:
    define(db)
    mapping(db, {"a": "results['1']", "b": "results['1']"})
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db), result=json.dumps("x" * 600_000))
    close_ended(db)
    assert flow(db, flow_id).result is None
    [said] = complaints(db)
    assert "bytes of JSON, more than" in said


def test_one_bad_flow_does_not_keep_the_others_open(db: Database) -> None:
    define(db, "bad")
    define(db, "good")
    mapping(db, {"x": "results.nobody"}, "bad")
    mapping(db, {"x": "42"}, "good")
    flows = [start(db, "bad"), start(db, "good"), start(db, "bad")]
    enlisted(db)
    run_all(db)
    assert close_ended(db) == 3
    assert [flow(db, flow_id).closing for flow_id in flows] == [2, 2, 2]
    assert result_of(db, flows[1]) == {"x": 42}


def test_a_cancelled_flow_has_no_result(db: Database) -> None:
    define(db)
    mapping(db, {"x": "results['1']"})
    flow_id = start(db)
    control.ignore(db, flow_id, [1], actor="me")
    sql(db, "UPDATE kr_flow_stat SET flow_status = 9, reason = 'cancelled'")
    assert close_ended(db) == 1
    assert (flow(db, flow_id).result, flow(db, flow_id).closing) == (None, 2)
    assert complaints(db) == []


def test_many_flows_take_several_sweeps(db: Database) -> None:
    define(db)
    mapping(db, {"x": "1"})
    for _ in range(120):
        start(db)
    enlisted(db)
    run_all(db)
    assert [close_ended(db) for _ in range(3)] == [100, 20, 0]
    assert all(json.loads(row.result) == {"x": 1} for row in rows(db, flow_stat))


def test_two_watchers_close_each_flow_once(db: Database) -> None:
    define(db)
    mapping(db, {"x": "1 / 0"})
    for _ in range(20):
        start(db)
    enlisted(db)
    run_all(db)
    together(*[lambda: close_ended(db)] * 4)
    close_ended(db)
    assert len(complaints(db)) == 20


# --- without a mapping ------------------------------------------------------------------------------------------------


def test_without_a_mapping_the_last_task_gives_the_result(db: Database) -> None:
    define(db, steps=2)
    option(db, 2, post_program="Behind")
    flow_id = start(db)
    enlisted(db)
    for text in ('"first"', '"second"', '"clean"'):
        assert result_of(db, flow_id) is None
        finish(db, *claim(db), result=text)
    assert result_of(db, flow_id) == "second"
    assert flow(db, flow_id).closing is None


def test_several_last_tasks_give_none(db: Database) -> None:
    define_graph(db, "w", [(1, 2), (1, 3)])
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db), result="1")
    finish(db, *claim(db), result="2")
    assert result_of(db, flow_id) is None


def test_of_two_branches_the_one_that_ran_gives_the_result(db: Database) -> None:
    define_graph(db, "w", [(1, 2), (1, 3)])
    sql(db, "UPDATE ms_task_edge SET only_if = 'result == 1' WHERE task_seq = 2")
    sql(db, "UPDATE ms_task_edge SET is_default = TRUE WHERE task_seq = 3")
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db), result="1")
    finish(db, *claim(db), result='"two"')
    assert result_of(db, flow_id) == "two"
