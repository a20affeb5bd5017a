"""Input and output mapping, through a real watcher."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import define, insert_task, start, states, task
from sqlalchemy import update
from waiting import finished, settled, status
from watching import Watch

from engine.database import Database
from engine.tables import task_stat
from penstock import Choose, Outcome, program

pytestmark = pytest.mark.by_turns


@program
def echoes(a: Any = None, b: Any = None) -> Any:
    return {"a": a, "b": b}


@program
def counts() -> Any:
    return {"rows": 150, "files": [{"name": "x.csv", "ok": True}, {"name": "y.csv", "ok": False}], "secret": "s"}


@program
def odd() -> Any:
    return {"not": "json", "big": object()}


@program
def chooses() -> Outcome:
    return Choose(2, result={"rows": 5})


def change(db: Database, flow_id: str, seq: int, **columns: Any) -> None:
    row = task_stat.c.task_flow_id == flow_id, task_stat.c.task_exec_seq == seq
    with db.transaction() as conn:
        conn.execute(update(task_stat).where(*row).values(**columns))


def result(db: Database, flow_id: str, seq: int) -> Any:
    return json.loads(task(db, (flow_id, seq)).result)


def test_parameters_are_worked_out_and_results_are_kept(db: Database, watch: Watch) -> None:
    define(db, "load", steps=2, program="echoes")
    flow_id = start(db, "load", parameters={"limit": 100, "b": "of the flow"}, run_key="2024-03-31")
    kept = {"many": "result.rows > params.limit", "good": "result.files.filter(f, f.ok)", "key": "flow.run_key"}
    change(db, flow_id, 1, program="counts", name="count", output_mapping=json.dumps(kept))
    wanted = {"a": "results.count.good[0].name + '!'"}
    change(db, flow_id, 2, parameters='{"a": "replaced", "b": "own"}', input_mapping=json.dumps(wanted))
    watch(echoes, counts)
    finished(db, flow_id)
    assert result(db, flow_id, 1) == {
        "many": True,
        "good": [{"name": "x.csv", "ok": True}],
        "key": "2024-03-31",
    }
    assert result(db, flow_id, 2) == {"a": "x.csv!", "b": "own"}
    assert task(db, (flow_id, 2)).parameters == '{"a": "replaced", "b": "own"}'  # the row keeps what it said


def test_what_is_worked_out_is_never_a_template(db: Database, watch: Watch) -> None:
    define(db, "w", program="echoes")
    flow_id = start(db, "w", parameters={"text": "{{ flow.id }}"})
    mapping = {"a": "params.text"}
    change(db, flow_id, 1, parameters='{"a": "{{ 1 }}"}', templates='["a"]', input_mapping=json.dumps(mapping))
    watch(echoes)
    finished(db, flow_id)
    assert result(db, flow_id, 1)["a"] == "{{ flow.id }}"


def test_a_mapping_that_fails_suspends_and_says_which_entry(db: Database, watch: Watch) -> None:
    cases = {
        # name: (program, column, mapping, reason, words)
        "missing": ("echoes", "input_mapping", {"a": "params.nope"}, "bad parameters", "'nope'"),
        "result": ("echoes", "input_mapping", {"a": "result.rows"}, "bad parameters", "variable 'result'"),
        "syntax": ("echoes", "input_mapping", {"a": "1", "b": "params."}, "bad parameters", "input_mapping 'b'"),
        "number": ("echoes", "input_mapping", {"a": 3}, "bad parameters", "must be an expression"),
        "text": ("echoes", "input_mapping", "{", "bad parameters", "input_mapping is not JSON"),
        "array": ("echoes", "input_mapping", "[]", "bad parameters", "input_mapping is a JSON array"),
        "unasked": ("echoes", "input_mapping", {"zzz": "1"}, "bad parameters", "zzz"),
        "kept": ("counts", "output_mapping", {"rows": "result.row"}, "bad result", "output_mapping 'rows': expression"),
        "broken": ("counts", "output_mapping", "3", "bad result", "output_mapping is a JSON number"),
        "error": ("counts", "output_mapping", {"rows": "error.reason"}, "bad result", "variable 'error'"),
        "odd": ("odd", "output_mapping", {"rows": "1"}, "bad result", "not JSON"),
    }
    for name, (program_name, column, mapping, *_) in cases.items():
        text = mapping if isinstance(mapping, str) else json.dumps(mapping)
        insert_task(db, name, program=program_name, **{column: text})
    watching = watch(echoes, counts, odd)
    settled(db, *((name, 1) for name in cases))
    wrong = {}
    for name, (*_, reason, words) in cases.items():
        row = task(db, (name, 1))
        if (row.exec_status, row.reason) != (2, reason) or words not in row.error or row.result is not None:
            wrong[name] = (row.exec_status, row.reason, row.error)
    assert wrong == {}
    change(db, "missing", 1, input_mapping='{"a": "1 + 1"}', exec_status=0, wait_count=None)
    settled(db, ("missing", 1))
    assert status(db, ("missing", 1)) == 3
    assert result(db, "missing", 1)["a"] == 2
    assert watching.lives


def test_a_choice_keeps_its_mapped_result(db: Database, watch: Watch) -> None:
    define(db, "w", steps=2, program="Noop")
    flow_id = start(db, "w")
    change(db, flow_id, 1, program="chooses", output_mapping='{"half": "result.rows / 2"}')
    watch(chooses)
    finished(db, flow_id)
    assert result(db, flow_id, 1) == {"half": 2}
    assert states(db, flow_id)[0][0] == 3
