"""Changing parameters of tasks and flows: merged or replaced, checked, refused where nobody would read them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import claim, define, enlisted, finish, flow, rows, settle_as, sql, start, task, tasks
from invariants import hold

from engine import control
from engine.database import Database
from engine.errors import BadRequest, Conflict, UnknownFlow
from engine.keys import Key
from engine.settle import Settlement
from engine.states import Reason
from engine.tables import event


@pytest.fixture
def chain(db: Database) -> str:
    """Four tasks with parameters: finished, suspended, waiting, waiting."""
    define(db, steps=4, param1_key="who", param1_value="x", param2_key="n", param2_value="1")
    flow_id = start(db, parameters={"of": "all"})
    enlisted(db)
    finish(db, *claim(db))
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.BAD_PARAMETERS, error="n is no number")])
    return flow_id


def parameters(db: Database, flow_id: str) -> list[dict[str, Any]]:
    return [json.loads(row.parameters) for row in tasks(db, flow_id)]


OLD = {"who": "x", "n": "1"}


def test_parameters_are_merged_into_what_is_still_to_run(db: Database, chain: str) -> None:
    given = {"n": 2, "more": ["ü", None]}
    assert control.set_parameters(db, chain, given, actor="ann", note="typo") == [2, 3, 4]
    assert parameters(db, chain) == [OLD, OLD | given, OLD | given, OLD | given]
    told = [row for row in rows(db, event) if row.what == "parameters set"]
    assert [row.task_exec_seq for row in told] == [2, 3, 4]
    assert json.loads(told[0].details) == {"names": ["more", "n"], "replace": False, "note": "typo"}
    control.retry(db, chain, [2], actor="ann")
    (item,) = claim(db)
    assert json.loads(item.parameters or "") == OLD | given
    hold(db)


def test_parameters_are_replaced(db: Database, chain: str) -> None:
    assert control.set_parameters(db, chain, {"n": 2}, [3], replace=True, actor="ann") == [3]
    assert parameters(db, chain) == [OLD, OLD, {"n": 2}, OLD]


def test_tasks_with_other_parameters_are_merged_each_by_itself(db: Database, chain: str) -> None:
    control.set_parameters(db, chain, {"own": 4}, [4], actor="ann")
    control.set_parameters(db, chain, {"n": 2}, [3, 4], actor="ann")
    assert parameters(db, chain)[2:] == [OLD | {"n": 2}, OLD | {"own": 4, "n": 2}]


def test_what_a_person_gives_is_no_template(db: Database, chain: str) -> None:
    sql(db, """UPDATE kr_task_stat SET templates = '["who","n"]' WHERE task_exec_seq >= 2""")
    control.set_parameters(db, chain, {"n": "{{ 7 * 7 }}"}, [2], actor="ann")
    control.set_parameters(db, chain, {"who": "{{ 7 * 7 }}"}, [3], replace=True, actor="ann")
    found = [row.templates for row in tasks(db, chain)]
    assert found == [None, '["who"]', None, '["who","n"]']


def test_broken_parameters_can_only_be_replaced(db: Database, chain: str) -> None:
    sql(db, "UPDATE kr_task_stat SET parameters = '[1' WHERE task_exec_seq = 2")
    before = tasks(db, chain)
    with pytest.raises(BadRequest, match=r"task 2 of flow .* what is there is not JSON.*; replace it instead"):
        control.set_parameters(db, chain, {"n": 2}, actor="ann")
    assert tasks(db, chain) == before
    control.set_parameters(db, chain, {"n": 2}, [2], replace=True, actor="ann")
    assert json.loads(task(db, Key(chain, 2)).parameters) == {"n": 2}


@pytest.mark.parametrize("seq, words", [(1, "is in FINISH: parameters are set before a task runs"), (9, "no task 9")])
def test_parameters_that_nobody_would_read_are_refused(db: Database, chain: str, seq: int, words: str) -> None:
    before = tasks(db, chain)
    with pytest.raises((Conflict, BadRequest), match=words):
        control.set_parameters(db, chain, {"n": 2}, [3, seq], actor="ann")
    assert tasks(db, chain) == before


BAD: dict[str, Any] = {
    "no object": ["n"],
    "a name that is no text": {1: 2},
    "no JSON": {"n": {1, 2}},
    "not a number": {"n": float("nan")},
    "too large": {"n": "x" * 1024 * 1024},
}


@pytest.mark.parametrize("case", BAD)
def test_bad_parameters_are_refused(db: Database, chain: str, case: str) -> None:
    before = tasks(db, chain)
    for verb in (control.set_parameters, control.set_flow_parameters):
        with pytest.raises(BadRequest, match=r"^parameters"):
            verb(db, chain, BAD[case], actor="ann")
    assert tasks(db, chain) == before


def test_what_grows_too_large_by_merging_is_refused(db: Database, chain: str) -> None:
    half = "x" * 600_000
    control.set_parameters(db, chain, {"a": half}, [3], actor="ann")
    with pytest.raises(BadRequest, match="more than the 1,048,576"):
        control.set_parameters(db, chain, {"b": half}, [3], actor="ann")


def test_parameters_of_a_flow(db: Database, chain: str) -> None:
    assert control.set_flow_parameters(db, chain, {"n": 2}, actor="ann") == [2, 3, 4]
    assert json.loads(flow(db, chain).parameters) == {"of": "all", "n": 2}
    control.set_flow_parameters(db, chain, {"n": 3}, replace=True, actor="ann")
    control.resume(db, chain, [2], actor="ann")
    (item,) = claim(db)
    assert json.loads(item.flow_parameters or "") == {"n": 3}
    assert [row.what for row in rows(db, event) if row.task_exec_seq == 0] == ["flow parameters set"] * 2
    hold(db)


def test_parameters_of_a_flow_that_has_none_or_broken_ones(db: Database, chain: str) -> None:
    sql(db, "UPDATE kr_flow_stat SET parameters = NULL")
    control.set_flow_parameters(db, chain, {"n": 2}, actor="ann")
    sql(db, "UPDATE kr_flow_stat SET parameters = 'n'")
    with pytest.raises(BadRequest, match=r"flow .* replace it instead"):
        control.set_flow_parameters(db, chain, {"n": 2}, actor="ann")


def test_parameters_of_a_flow_that_has_ended_are_refused(db: Database, chain: str) -> None:
    control.cancel(db, chain, actor="ann")
    with pytest.raises(Conflict, match="has ended: no task of it will read them"):
        control.set_flow_parameters(db, chain, {"n": 2}, actor="ann")
    with pytest.raises(UnknownFlow):
        control.set_flow_parameters(db, "nowhere", {"n": 2}, actor="ann")
    assert control.set_parameters(db, chain, {"n": 2}, actor="ann") == []


def test_priority_set_by_a_person_is_where_ageing_starts_from(db: Database, chain: str) -> None:
    sql(db, "UPDATE kr_task_stat SET aged = 3, task_priority = -3")
    control.set_priority(db, chain, 5, [3], actor="ann")
    assert (task(db, Key(chain, 3)).task_priority, task(db, Key(chain, 3)).aged) == (5, 0)
    for bad in (True, 1.5, "3"):
        with pytest.raises(BadRequest, match="is no whole number"):
            control.set_priority(db, chain, bad, actor="ann")  # type: ignore[arg-type]
