"""Definition rows become run rows, with all of their columns; what cannot run is refused, named by step and edge."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from factories import define, flow, rows, sql, start, tasks
from invariants import hold
from sqlalchemy import insert

from engine.database import Database
from engine.errors import BadDefinition, BadRequest, PenstockError
from engine.flows import Registration, register
from engine.tables import run_edge, task_edge, task_option, workflow, workflow_version

pytestmark = pytest.mark.by_turns


def option(db: Database, task_seq: int = 1, task_id: str = "w", **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(task_option).values(task_id=task_id, task_seq=task_seq, **columns))


def edge(db: Database, before: int, after: int, task_id: str = "w", **columns: Any) -> None:
    with db.transaction() as conn:
        ends = {"task_id": task_id, "task_seq": after, "depends_task_seq": before}
        conn.execute(insert(task_edge).values(**ends, **columns))


def extras(db: Database, task_id: str = "w", **columns: Any) -> None:
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id=task_id, **columns))


def answer_to(db: Database, **wish: Any) -> Any:
    registration = Registration("w", **wish)
    return db.transact(lambda conn: register(conn, db, [registration]))[registration.flow_id]


def refusal(db: Database, **wish: Any) -> str:
    answer = answer_to(db, **wish)
    assert isinstance(answer, BadDefinition | BadRequest), answer
    return str(answer)


def edges_of(db: Database, flow_id: str) -> list[tuple[Any, ...]]:
    """(before, after, kind, only_if, is_default, max_iterations) of each stored edge."""
    found = [row for row in rows(db, run_edge) if row.task_flow_id == flow_id]
    return sorted(
        (row.depends_task_exec_seq, row.task_exec_seq, row.kind, row.only_if, row.is_default, row.max_iterations)
        for row in found
    )


# --- steps ------------------------------------------------------------------------------------------------------------


def test_every_option_is_copied_into_the_run(db: Database) -> None:
    define(db, steps=2)
    given = {
        "name": "load",
        "trigger_rule": "all_done",
        "timeout_s": 2.5,
        "limit_key": "key",
        "input_mapping": '{"day":"params.day"}',
        "output_mapping": '{"rows":"result.n"}',
        "queue": "slow",
        "max_attempts": 3,
    }
    option(db, 2, **given)
    first, second = tasks(db, start(db))
    assert {name: getattr(second, name) for name in given} == given
    empty = {**dict.fromkeys(given), "queue": "default"}
    assert {name: getattr(first, name) for name in given} == empty
    assert (first.phase, first.templates, first.made_by_exec_seq, first.iteration) == (None, None, None, 0)
    hold(db)


def test_templates_are_marked_but_for_what_a_registration_gave(db: Database) -> None:
    values = {
        "param1_key": "A",
        "param1_value": "{{ params.day }}",
        "param2_key": "B",
        "param2_value": "{{ params.x }}",
    }
    define(db, **values, param3_key="C", param3_value="plain")
    [row] = tasks(db, start(db))
    assert json.loads(row.templates) == ["A", "B"]
    [row] = tasks(db, start(db, parameters={"B": "{{ as text }}"}))
    assert json.loads(row.templates) == ["A"]
    [row] = tasks(db, start(db, parameters={"A": "1", "B": "2"}))
    assert row.templates is None


def test_flows_with_and_without_extras_share_a_transaction(db: Database) -> None:
    define(db, "w")
    define(db, "plain", steps=2)
    option(db, name="named", queue="slow", timeout_s=1)
    extras(db, failure_policy="rollback")
    wishes = [Registration("plain"), Registration("w"), Registration("plain")]
    db.transact(lambda conn: register(conn, db, wishes))
    assert [row.name for row in tasks(db, wishes[1].flow_id)] == ["named"]
    assert [(row.name, row.queue, row.timeout_s) for row in tasks(db, wishes[2].flow_id)] == [
        (None, "default", None)
    ] * 2
    assert flow(db, wishes[1].flow_id).closing == 1
    assert flow(db, wishes[0].flow_id).closing is None
    hold(db)


BAD_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "rule": ({"trigger_rule": "most"}, "trigger_rule 'most' is none of all, all_taken"),
    "no time": ({"timeout_s": 0}, "timeout_s 0.0 is no number of seconds above 0"),
    "negative": ({"timeout_s": -1}, "timeout_s -1.0 is no number"),
    "empty name": ({"name": ""}, "name is empty"),
    "empty program": ({"pre_program": ""}, "pre_program is empty"),
    "parameters alone": ({"post_parameters": "{}"}, "post_parameters without a post_program"),
    "no object": ({"rollback_program": "Noop", "rollback_parameters": "[]"}, "rollback_parameters is a JSON array"),
    "mapping": ({"input_mapping": "[]"}, "input_mapping is a JSON array, not an object"),
    "mapping of numbers": ({"output_mapping": '{"x": 1}'}, "the expression for 'x' is no text"),
    "broken expression": ({"input_mapping": '{"x": "1 +"}'}, "input_mapping: the expression for 'x'"),
    "unknown name": ({"input_mapping": '{"x": "parms.y"}'}, "does not know the variable 'parms'"),
    "limit key": ({"limit_key": "{params.a.b}"}, "limit_key '{params.a.b}': {params.a.b} is not {params.NAME}"),
    "reaching": ({"limit_key": "{params.__class__.x}"}, "is not {params.NAME}"),
    "item": ({"limit_key": "{params[a]}"}, "{params[a]} is not"),
    "converted": ({"limit_key": "{params.a!r}"}, "{params.a!r} is not"),
    "formatted": ({"limit_key": "{params.a:9999999}"}, "{params.a:9999999} is not"),
    "nested": ({"limit_key": "{params.a:{params.b}}"}, "is not {params.NAME}"),
    "other": ({"limit_key": "{flow}"}, "{flow} is not"),
    "unclosed": ({"limit_key": "{params.a"}, "limit_key '{params.a'"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_options_that_cannot_work_are_named_with_their_step(db: Database, name: str) -> None:
    columns, words = BAD_OPTIONS[name]
    define(db, steps=2)
    option(db, 2, **columns)
    said = refusal(db)
    assert "workflow 'w': step 2" in said
    assert words in said


def test_everything_wrong_is_said_at_once(db: Database) -> None:
    define(db, steps=2)
    option(db, 1, name="first", timeout_s=-1, trigger_rule="most")
    option(db, 2, queue="")
    said = refusal(db)
    assert "step 1 ('first'): trigger_rule" in said
    assert "step 1 ('first'): timeout_s" in said
    assert "step 2: queue is empty" in said


def test_names_are_unique_in_a_workflow(db: Database) -> None:
    define(db, steps=3)
    option(db, 1, name="load")
    option(db, 3, name="load")
    assert "step 1 and step 3 are both called 'load'" in refusal(db)


def test_a_name_may_not_be_that_of_a_phase(db: Database) -> None:
    define(db, steps=2)
    option(db, 1, name="load", pre_program="Noop")
    option(db, 2, name="load.pre")
    assert "both called 'load.pre'" in refusal(db)


def test_a_name_must_leave_room_for_its_phases(db: Database) -> None:
    define(db)
    option(db, name="n" * 128, pre_program="Noop")
    assert "has 132 characters, more than 128" in refusal(db)
    sql(db, "UPDATE ms_task_option SET pre_program = NULL")
    assert len(tasks(db, start(db))[0].name) == 128


# --- edges ------------------------------------------------------------------------------------------------------------


def test_edges_keep_what_they_say(db: Database) -> None:
    define(db, steps=6)
    edge(db, 1, 2, only_if="results['1'].n > 3")
    edge(db, 1, 3, is_default=True)
    edge(db, 2, 4, kind="normal")
    edge(db, 3, 4)
    edge(db, 4, 5, kind="error", only_if="error.reason == 'failed'")
    edge(db, 4, 6, kind="timeout")
    edge(db, 4, 1, kind="loop", only_if="result.more", max_iterations=7)
    flow_id = start(db)
    assert [(row.depends_task_exec_seq, row.wait_count) for row in tasks(db, flow_id)] == [
        (-1, 0),
        (1, 1),
        (1, 1),
        (2, 2),
        (-1, 1),
        (-1, 1),
    ]
    assert edges_of(db, flow_id) == [
        (1, 2, None, "results['1'].n > 3", None, None),
        (1, 3, None, None, True, None),
        (3, 4, None, None, None, None),
        (4, 1, "loop", "result.more", None, 7),
        (4, 5, "error", "error.reason == 'failed'", None, None),
        (4, 6, "timeout", None, None, None),
    ]
    hold(db)


def test_a_rule_other_than_all_needs_the_first_edge_stored_too(db: Database) -> None:
    define(db, steps=3)
    edge(db, 1, 3)
    edge(db, 2, 3)
    option(db, 3, trigger_rule="any")
    flow_id = start(db)
    assert tasks(db, flow_id)[2].depends_task_exec_seq == 1
    assert edges_of(db, flow_id) == [(1, 3, None, None, None, None), (2, 3, None, None, None, None)]


def test_the_rule_all_said_in_words_is_a_plain_join(db: Database) -> None:
    define(db, steps=2)
    option(db, 2, trigger_rule="all")
    assert edges_of(db, start(db)) == []


def test_handlers_and_loops_alone_leave_flowers_chain(db: Database) -> None:
    define(db, steps=4)
    edge(db, 3, 4, kind="error")
    edge(db, 2, 1, kind="loop", max_iterations=2)
    flow_id = start(db)
    assert [(row.depends_task_exec_seq, row.wait_count) for row in tasks(db, flow_id)] == [
        (-1, 0),
        (1, 1),
        (2, 1),
        (-1, 1),  # what failures lead to is no link of the chain
    ]
    assert edges_of(db, flow_id) == [(2, 1, "loop", None, None, 2), (3, 4, "error", None, None, None)]


BAD_EDGES: dict[str, tuple[list[tuple[int, int, dict[str, Any]]], str]] = {
    "from nowhere": ([(9, 2, {})], "edge 9 -> 2 starts at step 9, which does not exist"),
    "to nowhere": ([(1, 9, {})], "edge 1 -> 9 leads to step 9, which does not exist"),
    "kind": ([(1, 2, {"kind": "maybe"})], "edge 1 -> 2: kind 'maybe' is none of normal, error, timeout, loop"),
    "after": ([(1, 2, {"kind": "after"})], "edge 1 -> 2: kind 'after' is none of"),
    "iterations": ([(1, 2, {"max_iterations": 3})], "edge 1 -> 2: max_iterations is for loop edges only"),
    "no iteration": ([(2, 1, {"kind": "loop", "max_iterations": 0})], "edge 2 -> 1: max_iterations 0 is no whole"),
    "condition": ([(1, 2, {"only_if": "1 +"})], "edge 1 -> 2: its condition '1 +'"),
    "unknown name": ([(1, 2, {"only_if": "resluts.a"})], "does not know the variable 'resluts'"),
    "empty condition": ([(1, 2, {"only_if": ""})], "edge 1 -> 2: its condition ''"),
    "default error": ([(1, 2, {"kind": "error", "is_default": True})], "an edge of kind error cannot be the default"),
    "default loop": ([(2, 1, {"kind": "loop", "is_default": True})], "an edge of kind loop cannot be the default"),
    "default with condition": ([(1, 2, {"only_if": "true", "is_default": True})], "so it can have none of its own"),
    "two defaults": (
        [(1, 2, {"is_default": True}), (1, 3, {"is_default": True}), (1, 4, {"only_if": "true"})],
        "step 1 has 2 default edges, 1 -> 2 and 1 -> 3",
    ),
    "default alone": ([(1, 2, {"is_default": True}), (1, 3, {})], "no other edge behind step 1 has a condition"),
    "circle": ([(1, 2, {}), (2, 3, {}), (3, 2, {})], "the edges go in a circle: "),
    "circle by an error": ([(1, 2, {}), (2, 1, {"kind": "error"})], "the edges go in a circle: "),
    "itself": ([(2, 2, {})], "the edges go in a circle: 2 -> 2"),
    "loop forward": (
        [(1, 2, {}), (1, 4, {"kind": "loop"})],
        "loop edge 1 -> 4 leads to a step that does not come before",
    ),
    "loop aside": ([(1, 2, {}), (1, 3, {}), (3, 2, {"kind": "loop"})], "loop edge 3 -> 2 leads to a step that"),
    "loop by an error": (
        [(1, 2, {"kind": "error"}), (3, 4, {}), (2, 1, {"kind": "loop"})],
        "loop edge 2 -> 1 leads to a step that does not come before step 2",
    ),
    "out of the middle": (
        [(1, 2, {}), (2, 3, {}), (2, 4, {}), (3, 1, {"kind": "loop"})],
        "loop edge 3 -> 1: edge 2 -> 4 leaves its body from the middle; only step 3 may be left",
    ),
    "handler out of the middle": (
        [(1, 2, {}), (2, 3, {}), (2, 4, {"kind": "error"}), (3, 1, {"kind": "loop"})],
        "edge 2 -> 4 leaves its body",
    ),
    "into the middle": (
        [(1, 2, {}), (2, 3, {}), (4, 2, {}), (3, 1, {"kind": "loop"})],
        "loop edge 3 -> 1: edge 4 -> 2 enters its body in the middle; only step 1 may be entered",
    ),
    "crossing loops": (
        [(1, 2, {}), (2, 3, {}), (3, 4, {}), (3, 1, {"kind": "loop"}), (4, 2, {"kind": "loop"})],
        "leaves its body",
    ),
}


@pytest.mark.parametrize("name", BAD_EDGES)
def test_edges_that_cannot_work_are_named(db: Database, name: str) -> None:
    edges, words = BAD_EDGES[name]
    define(db, steps=4)
    for before, after, columns in edges:
        edge(db, before, after, **columns)
    assert words in refusal(db)


def test_the_circle_is_named_whole(db: Database) -> None:
    define(db, steps=4)
    for before, after in [(1, 2), (2, 3), (3, 4), (4, 2)]:
        edge(db, before, after)
    said = refusal(db)
    named = said[said.index("circle: ") + 8 : said.index(";")].split(" -> ")
    assert sorted(named[1:]) == ["2", "3", "4"]
    assert named[0] == named[-1]


GOOD_LOOPS: dict[str, list[tuple[int, int, dict[str, Any]]]] = {
    "itself": [(1, 2, {}), (2, 2, {"kind": "loop"})],
    "from the first step": [(1, 2, {}), (2, 1, {"kind": "loop"}), (2, 3, {}), (3, 4, {})],
    "with branches": [(1, 2, {}), (1, 3, {}), (2, 4, {}), (3, 4, {}), (4, 1, {"kind": "loop"})],
    "one in another": [(1, 2, {}), (2, 3, {}), (3, 4, {}), (3, 2, {"kind": "loop"}), (4, 1, {"kind": "loop"})],
    "two from one step": [(1, 2, {}), (2, 3, {}), (3, 2, {"kind": "loop"}), (3, 1, {"kind": "loop"}), (3, 4, {})],
    "two to one step": [(1, 2, {}), (2, 3, {}), (3, 4, {}), (2, 1, {"kind": "loop"}), (4, 1, {"kind": "loop"})],
    "handler within": [(1, 2, {}), (2, 4, {}), (1, 3, {"kind": "error"}), (3, 4, {}), (4, 1, {"kind": "loop"})],
}


@pytest.mark.parametrize("name", GOOD_LOOPS)
def test_loops_that_can_be_repeated(db: Database, name: str) -> None:
    define(db, steps=4)
    for before, after, columns in GOOD_LOOPS[name]:
        edge(db, before, after, **columns)
    start(db)


def test_a_loop_cannot_repeat_the_clean_up_of_its_last_step(db: Database) -> None:
    define(db, steps=2)
    edge(db, 2, 1, kind="loop")
    option(db, 2, post_program="Noop")
    assert "loop edge 2 -> 1: step 2 has a post_program" in refusal(db)


@pytest.mark.parametrize("rule", ["any", "one_failed", "cleanup"])
def test_a_rule_that_no_edge_can_satisfy_is_refused(db: Database, rule: str) -> None:
    define(db, steps=2)
    option(db, 1, name="first", trigger_rule=rule)
    assert f"step 1 ('first') has the rule {rule}, which" in refusal(db)


def test_a_rule_for_failures_needs_an_edge_that_can_fail(db: Database) -> None:
    define(db, steps=3)
    edge(db, 1, 2)
    edge(db, 1, 3, kind="error")
    option(db, 3, trigger_rule="one_failed")
    assert "step 3 has the rule one_failed and no normal edge" in refusal(db)


@pytest.mark.parametrize("rule", ["all", "all_taken", "all_done", "none_failed"])
def test_a_rule_that_holds_without_edges_may_begin_a_flow(db: Database, rule: str) -> None:
    define(db)
    option(db, trigger_rule=rule)
    assert tasks(db, start(db))[0].wait_count == 0


# --- limit keys -------------------------------------------------------------------------------------------------------


def test_a_limit_key_is_filled_at_registration(db: Database) -> None:
    define(db, param1_key="BANK", param1_value="north")
    option(db, limit_key="bank:{params.BANK}/{params.day}{{x}}")
    assert tasks(db, start(db, parameters={"day": 7}))[0].limit_key == "bank:north/7{x}"
    assert tasks(db, start(db, parameters={"day": 7, "BANK": "south"}))[0].limit_key == "bank:south/7{x}"


@pytest.mark.parametrize(
    "parameters, words",
    [
        ({}, "parameters: 'day' is not given, and limit_key 'k{params.day}' needs it"),
        ({"day": [1]}, "'day' is neither text nor number"),
        ({"day": True}, "'day' is neither text nor number"),
        ({"day": None}, "'day' is neither text nor number"),
        ({"day": "x" * 256}, "which no row can carry"),
        ({"day": "\x00"}, "which no row can carry"),
    ],
)
def test_a_limit_key_that_cannot_be_filled(db: Database, parameters: dict[str, Any], words: str) -> None:
    define(db)
    option(db, limit_key="k{params.day}")
    said = refusal(db, parameters=parameters)
    assert words in said


def test_a_limit_key_needs_what_is_known_now(db: Database) -> None:
    define(db, param1_key="A", param1_value="{{ params.x }}")
    option(db, limit_key="{params.A}")
    assert "'A' is worked out later" in refusal(db)
    assert tasks(db, start(db, parameters={"A": "now"}))[0].limit_key == "now"


# --- workflows --------------------------------------------------------------------------------------------------------


def test_defaults_of_a_workflow_fill_what_the_registration_leaves_open(db: Database) -> None:
    define(db, param1_key="A", param1_value="own")
    extras(db, parameters='{"A": "default", "B": "default", "C": 3}', flow_priority=7)
    flow_id = start(db, parameters={"B": "given"})
    made = flow(db, flow_id)
    assert json.loads(made.parameters) == {"A": "default", "B": "given", "C": 3}
    assert made.flow_priority == 7
    [row] = tasks(db, flow_id)
    assert json.loads(row.parameters) == {"A": "own"}, "a step's own value is closer than the workflow's default"
    assert row.task_priority == 7
    assert tasks(db, start(db, priority=-3))[0].task_priority == -3


def test_policy_and_deadline_are_copied_into_the_flow(db: Database) -> None:
    define(db)
    extras(db, failure_policy="stop", timeout_s=90)
    made = flow(db, start(db))
    assert (made.failure_policy, made.closing) == ("stop", None)
    assert (made.deadline_ts - made.registered_ts).total_seconds() == 90
    sql(db, "UPDATE ms_workflow SET timeout_s = 1e300, result_mapping = '{}'")
    made = flow(db, start(db))
    assert (made.deadline_ts - made.registered_ts).days > 365 * 90
    assert made.closing == 1


SCHEMA = """{"type": "object", "required": ["day"], "additionalProperties": false,
    "properties": {"day": {"type": "string", "pattern": "^[0-9-]+$"}, "n": {"$ref": "#/$defs/n"}},
    "$defs": {"n": {"type": "integer", "minimum": 1}}}"""


def test_parameters_must_fit_the_schema(db: Database) -> None:
    define(db)
    extras(db, parameter_schema=SCHEMA, parameters='{"n": 2}')
    assert json.loads(flow(db, start(db, parameters={"day": "2026-11-21"})).parameters) == {"n": 2, "day": "2026-11-21"}
    answer = answer_to(db, parameters={"day": "today", "n": 0, "x": 1})
    assert isinstance(answer, BadRequest)
    assert answer.field == "parameters"
    for words in ("day: 'today' does not match", "n: 0 is less than the minimum of 1", "'x' was unexpected"):
        assert words in answer.why
    assert "'day' is a required property" in refusal(db)


BAD_EXTRAS: dict[str, tuple[dict[str, Any], str]] = {
    "parameters": ({"parameters": "[]"}, "parameters is a JSON array"),
    "schema text": ({"parameter_schema": "{"}, "parameter_schema is not JSON"),
    "schema": ({"parameter_schema": '{"type": "nothing"}'}, "parameter_schema is no JSON schema: at type"),
    "reference": ({"parameter_schema": '{"$ref": "#/nowhere"}'}, "parameter_schema refers to"),
    "elsewhere": ({"parameter_schema": '{"$ref": "http://127.0.0.1:1/x"}'}, "parameter_schema refers to"),
    "endless": ({"parameter_schema": '{"$ref": "#"}'}, "parameter_schema refers to itself without end"),
    "mapping": ({"result_mapping": '{"x": "1 +"}'}, "result_mapping: the expression for 'x'"),
    "no mapping": ({"result_mapping": "7"}, "result_mapping is a JSON number"),
}


@pytest.mark.parametrize("name", BAD_EXTRAS)
def test_extras_that_cannot_work_are_named(db: Database, name: str) -> None:
    columns, words = BAD_EXTRAS[name]
    define(db)
    extras(db, **columns)
    said = refusal(db)
    assert said.startswith("workflow 'w': ms_workflow: ")
    assert words in said


@pytest.mark.parametrize(
    "columns",
    [
        {"flow_priority": 20},
        {"failure_policy": "hope"},
        {"timeout_s": 0},
        {"max_active_flows": 0},
        {"on_limit": "wait"},
    ],
)
def test_extras_out_of_range_are_refused_by_the_table(db: Database, columns: dict[str, Any]) -> None:
    define(db)
    with pytest.raises(PenstockError):
        extras(db, **columns)


def test_a_reference_is_never_fetched(db: Database) -> None:
    """A schema may come from anybody: it must not make the register ask other machines."""
    asked: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"type": "integer"}')

        def log_message(self, *_: Any) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/x"
        define(db)
        extras(db, parameter_schema=json.dumps({"properties": {"a": {"$ref": address}}}))
        said = refusal(db, parameters={"a": 1})
        server.shutdown()
    assert f"parameter_schema refers to {address!r}, which is not in it" in said
    assert asked == []


# --- versions ---------------------------------------------------------------------------------------------------------

CHANGES = [
    "INSERT INTO ms_workflow(task_id, failure_policy) VALUES ('w', 'stop')",
    "INSERT INTO ms_workflow(task_id, max_active_flows) VALUES ('w', 3)",
    "INSERT INTO ms_workflow(task_id, result_mapping) VALUES ('w', '{}')",
    "INSERT INTO ms_task_option(task_id, task_seq, name) VALUES ('w', 2, 'n')",
    "INSERT INTO ms_task_option(task_id, task_seq, rollback_program) VALUES ('w', 2, 'Noop')",
    "INSERT INTO ms_task_option(task_id, task_seq, post_program) VALUES ('w', 2, 'Noop')",
    "INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq, kind) VALUES ('w', 1, 3, 'loop')",
    "INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq, kind) VALUES ('w', 3, 1, 'error')",
]


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_makes_a_new_version(db: Database, change: str) -> None:
    define(db, steps=3)
    before = flow(db, start(db)).version_id
    sql(db, change)
    after = flow(db, start(db)).version_id
    assert before != after
    assert len(rows(db, workflow_version)) == 2
    sql(db, f"DELETE FROM {change.split('(')[0].split()[-1]} WHERE task_id = 'w'")
    assert flow(db, start(db)).version_id == before


def test_a_version_says_everything(db: Database) -> None:
    define(db, steps=3)
    option(db, 1, name="a", rollback_program="Undo", rollback_parameters='{"x": 1}', pre_program="Before")
    edge(db, 1, 2, only_if="true")
    edge(db, 2, 3)
    extras(db, failure_policy="rollback", parameters='{"p": 1}')
    start(db)
    [version] = rows(db, workflow_version)
    content = json.loads(version.definition)
    first, second, third = content["steps"]
    assert (first["name"], first["rollback_program"], first["rollback_parameters"]) == ("a", "Undo", {"x": 1})
    assert (first["pre_program"], first["pre_parameters"]) == ("Before", {})
    assert (second["after"], second["edges"]) == ([], [{"after": 1, "only_if": "true"}])
    assert third["after"] == [2]
    assert content["workflow"] == {"failure_policy": "rollback", "parameters": {"p": 1}}
