"""Definition rows -> run rows: the copy, the parameters, the order, and each flow whole or not at all."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import define, define_graph, enlisted, flow, rows, run_out, sql, start, tasks, together
from invariants import hold

from engine.database import Database, open_database
from engine.errors import BadDefinition, BadRequest, KeyReused, UnknownWorkflow
from engine.flows import Registered, Registration, find_registered, register
from engine.keys import Key
from engine.tables import flow_stat, run_edge, task_stat


def register_all(db: Database, *wishes: Registration) -> list[Any]:
    answers = db.transact(lambda conn: register(conn, db, wishes))
    return [answers[wish.flow_id] for wish in wishes]


def test_flowers_example(db: Database) -> None:
    for values in (
        "('example', 1, 'EchoRandomTimeSleep', 0)",
        "('example', 2, 'EchoParamTimeSleep', 10)",
        "('example', 3, 'HTTPPostRequest', -5)",
    ):
        sql(db, f"INSERT INTO ms_task_definition(task_id, task_seq, program, task_priority) VALUES {values}")
    made = tasks(db, start(db, "example"))
    assert [(row.task_exec_seq, row.depends_task_exec_seq, row.exec_status) for row in made] == [
        (1, -1, 0),
        (2, 1, 0),
        (3, 2, 0),
    ]
    assert [row.task_priority for row in made] == [0, 10, -5]
    assert [row.program for row in made] == ["EchoRandomTimeSleep", "EchoParamTimeSleep", "HTTPPostRequest"]
    for row in made:
        assert row.registered_ts is not None
        assert (row.started_ts, row.finished_ts, row.suspended_ts, row.owner, row.claim_id) == (None,) * 5
    hold(db)


def test_flows_have_ids_of_their_own(db: Database) -> None:
    define(db)
    ids = [start(db) for _ in range(20)]
    assert len(set(ids)) == 20
    assert ids == sorted(ids), "later flows sort after earlier ones"


def test_steps_are_numbered_in_the_order_of_task_seq(db: Database) -> None:
    for seq in (30, 10, 20, 9):
        sql(db, f"INSERT INTO ms_task_definition(task_id, task_seq, program) VALUES ('w', {seq}, 'P{seq}')")
    made = tasks(db, start(db))
    assert [(row.task_exec_seq, row.task_seq, row.program) for row in made] == [
        (1, 9, "P9"),
        (2, 10, "P10"),
        (3, 20, "P20"),
        (4, 30, "P30"),
    ]


PAIRS = [
    ({}, {}),
    ({"param1_key": "A", "param1_value": "1"}, {"A": "1"}),
    ({"param2_key": "A"}, {"A": ""}),
    ({"param1_value": "lost"}, {}),
    ({"param1_key": "A", "param1_value": "1", "param5_key": "A", "param5_value": "5"}, {"A": "5"}),
    ({"param1_key": "", "param1_value": "x"}, {"": "x"}),
    ({f"param{n}_key": f"K{n}" for n in range(1, 6)}, {f"K{n}": "" for n in range(1, 6)}),
    ({"param1_key": "ключ", "param1_value": '"\\ 🦆\n'}, {"ключ": '"\\ 🦆\n'}),
]


@pytest.mark.parametrize("columns, parameters", PAIRS)
def test_parameters(db: Database, columns: dict[str, str], parameters: dict[str, str]) -> None:
    define(db, **columns)
    assert json.loads(tasks(db, start(db))[0].parameters) == parameters


def test_parameters_of_the_request_replace_those_of_the_same_name(db: Database) -> None:
    define(db, steps=2, param1_key="A", param1_value="1", param2_key="B", param2_value="2")
    flow_id = start(db, parameters={"A": 7, "C": [1]})
    assert [json.loads(row.parameters) for row in tasks(db, flow_id)] == [{"A": 7, "B": "2"}] * 2
    assert json.loads(flow(db, flow_id).parameters) == {"A": 7, "C": [1]}


def test_priority_of_the_request_replaces_those_of_the_steps(db: Database) -> None:
    define(db, steps=2, task_priority=5)
    assert {row.task_priority for row in tasks(db, start(db, priority=-20))} == {-20}
    assert {row.task_priority for row in tasks(db, start(db, priority=0))} == {0}
    assert {row.task_priority for row in tasks(db, start(db))} == {5}


@pytest.mark.parametrize(
    "wish",
    [
        {"priority": 20},
        {"priority": -21},
        {"parameters": {"x": float("nan")}},
        {"parameters": {"x": {1}}},
        {"parameters": {"x": "\ud800"}},
        {"parameters": {"x": "y" * 2_000_000}},
        {"run_key": "x" * 257},
        {"run_key": "\x00"},
        {"idempotency_key": ""},
        {"idempotency_key": "x" * 256},
        {"task_id": ""},
        {"task_id": "x" * 257},
    ],
    ids=str,
)
def test_bad_requests_are_refused_before_any_statement(wish: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        Registration(**{"task_id": "w", **wish})


ODD_IDS = ["a" * 256, "日" * 256, "🦆", "a/b", "%s %(x)s", "'; DROP TABLE kr_task_stat; --", " ", "a\nb", "../x", "<b>"]


@pytest.mark.parametrize("task_id", ODD_IDS, ids=ascii)
def test_odd_ids_are_carried_as_they_are(db: Database, task_id: str) -> None:
    define(db, task_id, program=task_id)
    enlisted(db)
    flow_id = start(db, task_id)
    assert {row.task_id for row in tasks(db, flow_id)} == {task_id}
    assert run_out(db) == [Key(flow_id, 1)]


def test_an_unknown_workflow_spoils_itself_alone(db: Database) -> None:
    define(db)
    unknown, known = register_all(db, Registration("W"), Registration("w"))
    assert isinstance(unknown, UnknownWorkflow)
    assert "'W' has no rows in ms_task_definition" in str(unknown)
    assert isinstance(known, Registered)


BROKEN = {
    "cycle": [(1, 2), (2, 3), (3, 1)],
    "self": [(1, 1)],
    "starts nowhere": [(9, 2)],
    "ends nowhere": [(1, 2), (1, 9)],
    "only ends nowhere": [(1, 9)],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_definition_that_cannot_run_spoils_itself_alone(db: Database, name: str) -> None:
    define(db, "bad", steps=3)
    define(db, "good")
    for before, after in BROKEN[name]:
        sql(db, f"INSERT INTO ms_task_edge(task_id, task_seq, depends_task_seq) VALUES ('bad', {after}, {before})")
    bad, good = register_all(db, Registration("bad"), Registration("good"))
    assert isinstance(bad, BadDefinition)
    assert str(bad).startswith("workflow 'bad': ")
    assert isinstance(good, Registered)
    assert {row.task_id for row in rows(db, task_stat)} == {"good"}


def test_edges_make_a_graph(db: Database) -> None:
    define_graph(db, "g", [(10, 20), (10, 30), (20, 40), (30, 40), (10, 40)])
    flow_id = start(db, "g")
    assert [(row.task_seq, row.depends_task_exec_seq, row.wait_count) for row in tasks(db, flow_id)] == [
        (10, -1, 0),
        (20, 1, 1),
        (30, 1, 1),
        (40, 1, 3),
    ]
    assert sorted((row.task_exec_seq, row.depends_task_exec_seq) for row in rows(db, run_edge)) == [(4, 2), (4, 3)]
    enlisted(db)
    assert [key.seq for key in run_out(db)] in ([1, 2, 3, 4], [1, 3, 2, 4])
    hold(db, at_rest=True)


def test_a_run_does_not_change_because_its_definition_did(db: Database) -> None:
    define(db, program="Old", param1_key="A", param1_value="1")
    flow_id = start(db)
    sql(db, "UPDATE ms_task_definition SET program = 'New', param1_value = '2'")
    [row] = tasks(db, flow_id)
    assert (row.program, row.parameters) == ("Old", '{"A":"1"}')


# --- one flow for one wish --------------------------------------------------------------------------------------------


def test_the_same_key_and_request_give_the_same_flow(db: Database) -> None:
    define(db)
    [first] = register_all(db, Registration("w", {"a": 1, "b": 2}, idempotency_key="k"))
    [again] = register_all(db, Registration("w", {"b": 2, "a": 1}, idempotency_key="k"))
    assert (again.flow_id, again.replayed) == (first.flow_id, True)
    assert len(rows(db, flow_stat)) == len(rows(db, task_stat)) == 1
    hold(db)


@pytest.mark.parametrize("other", [{"parameters": {"a": 2}}, {"priority": 3}, {"run_key": "x"}])
def test_the_same_key_with_another_request_is_refused(db: Database, other: dict[str, Any]) -> None:
    define(db)
    [first] = register_all(db, Registration("w", idempotency_key="k"))
    [refused] = register_all(db, Registration("w", idempotency_key="k", **other))
    assert isinstance(refused, KeyReused)
    assert refused.flow_id == first.flow_id
    assert len(rows(db, flow_stat)) == 1


def test_keys_belong_to_their_workflow_and_are_compared_as_they_are(db: Database) -> None:
    define(db, "v")
    define(db, "w")
    wishes = [("v", "k"), ("w", "k"), ("w", "K"), ("w", "k "), ("w", "ḱ")]
    register_all(db, *(Registration(task_id, idempotency_key=key) for task_id, key in wishes))
    assert len(rows(db, flow_stat)) == 5


def test_one_key_twice_in_a_batch(db: Database) -> None:
    define(db)
    first, again, other = register_all(
        db,
        Registration("w", idempotency_key="k"),
        Registration("w", idempotency_key="k"),
        Registration("w", priority=1, idempotency_key="k"),
    )
    assert (again.flow_id, again.replayed) == (first.flow_id, True)
    assert isinstance(other, KeyReused)
    assert len(rows(db, task_stat)) == 1


def test_twenty_at_once_make_one_flow(db: Database) -> None:
    define(db, steps=3)
    others = [open_database(db.url.render_as_string(hide_password=False)) for _ in range(4)]
    jobs = [lambda o=others[n % 4]: register_all(o, Registration("w", idempotency_key="k"))[0] for n in range(20)]
    answers = together(*jobs)
    for other in others:
        other.close()
    assert len({answer.flow_id for answer in answers}) == 1
    assert sum(not answer.replayed for answer in answers) == 1
    assert len(rows(db, flow_stat)) == 1
    assert len(rows(db, task_stat)) == 3
    hold(db)


def test_a_flow_is_there_whole_or_not_at_all(db: Database) -> None:
    define(db, steps=2)
    wish = Registration("w")

    def breaks(conn: Any) -> None:
        register(conn, db, [wish])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        db.transact(breaks)
    assert rows(db, flow_stat) == rows(db, task_stat) == []
    with db.read() as conn:
        assert find_registered(conn, [wish]) == {}
    register_all(db, wish)
    with db.read() as conn:
        assert find_registered(conn, [wish, Registration("w")]) == {wish.flow_id: Registered(wish.flow_id, "w")}


def test_a_crash_between_flow_and_tasks_leaves_nothing(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine import flows

    define(db, steps=2)

    def crash(*_: Any) -> None:
        raise SystemExit

    monkeypatch.setattr(flows, "_insert_tasks", crash)
    with pytest.raises(SystemExit):
        register_all(db, Registration("w"))
    assert rows(db, flow_stat) == rows(db, task_stat) == []


def test_many_registrations_in_one_transaction(db: Database) -> None:
    define(db, "a", steps=3)
    define_graph(db, "b", [(1, 3), (2, 3)])
    answers = register_all(db, *(Registration("ab"[n % 2]) for n in range(100)))
    assert all(isinstance(answer, Registered) for answer in answers)
    assert len(rows(db, task_stat)) == 300
    hold(db)
