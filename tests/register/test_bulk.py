"""Many registrations in one request: as an array, or line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import define, rows
from sqlalchemy import select
from starlette.testclient import TestClient

from engine.database import Database
from engine.tables import flow_stat, task_stat
from register.bulk import MAX_TOLD, TOGETHER

pytestmark = pytest.mark.by_turns

LINES = {"Content-Type": "application/x-ndjson; charset=utf-8"}


def as_lines(documents: Any) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def ids(db: Database) -> set[str]:
    return {row.task_flow_id for row in rows(db, flow_stat)}


@pytest.fixture(params=["array", "lines"])
def post(request: pytest.FixtureRequest, client: TestClient) -> Any:
    """Post these documents in one of the two ways."""

    def send(documents: Any, path: str = "/register/w", **headers: str) -> Any:
        if request.param == "array":
            return client.post(path, json=documents, headers=headers)
        return client.post(path, content=as_lines(documents), headers={**LINES, **headers})

    return send


def test_each_makes_a_flow(db: Database, post: Any) -> None:
    define(db, "w", 3)
    wishes = [{"parameters": {"n": n}, "priority": n % 5, "runKey": f"day {n}"} for n in range(TOGETHER * 2 + 7)]
    answer = post(wishes)
    assert answer.status_code == 200
    told = answer.json()
    assert (told["status"], told["taskId"], told["registered"], told["refused"]) == ("succeeded", "w", len(wishes), 0)
    assert told["problems"] == []
    assert len(told["taskFlowIds"]) == len(wishes)
    found = {row.task_flow_id: row for row in rows(db, flow_stat)}
    assert [found[one].run_key for one in told["taskFlowIds"]] == [wish["runKey"] for wish in wishes]
    assert [json.loads(found[one].parameters) for one in told["taskFlowIds"]] == [one["parameters"] for one in wishes]
    with db.read() as conn:
        tasks = conn.execute(select(task_stat.c.task_flow_id, task_stat.c.task_priority)).all()
    assert len(tasks) == 3 * len(wishes)
    assert {priority for flow_id, priority in tasks if flow_id == told["taskFlowIds"][4]} == {4}


def test_a_bad_one_harms_itself_alone(db: Database, post: Any) -> None:
    define(db, "w", 1)
    answer = post([{}, {"priority": 99}, [], {"runKey": "x"}, {"colour": "red"}])
    assert answer.status_code == 207
    told = answer.json()
    assert (told["status"], told["registered"], told["refused"]) == ("failed", 2, 3)
    assert [flow_id is None for flow_id in told["taskFlowIds"]] == [False, True, True, False, True]
    assert {flow_id for flow_id in told["taskFlowIds"] if flow_id} == ids(db)
    assert [(problem["index"], problem["code"]) for problem in told["problems"]] == [(1, 422), (2, 422), (4, 422)]
    assert [problem["errors"][0]["pointer"] for problem in told["problems"]] == ["#/priority", "#/body", "#/colour"]


def test_where_none_is_made_it_is_the_problem_of_the_first(db: Database, post: Any) -> None:
    answer = post([{}, {}], "/register/nobody")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:penstock:problem:unknown-workflow"
    define(db, "w", 1)
    assert post([{"priority": "high"}]).status_code == 422
    assert ids(db) == set()


def test_the_same_request_again_makes_what_is_missing(db: Database, post: Any) -> None:
    define(db, "w", 1)
    key = {"Idempotency-Key": "load-7"}
    first = post([{"runKey": "a"}, {"priority": 99}, {"runKey": "c"}], **key).json()
    again = post([{"runKey": "a"}, {"runKey": "b"}, {"runKey": "c"}], **key).json()
    assert again["registered"] == 3
    assert (again["taskFlowIds"][0], again["taskFlowIds"][2]) == (first["taskFlowIds"][0], first["taskFlowIds"][2])
    assert {row.idempotency_key: row.run_key for row in rows(db, flow_stat)} == {
        f"load-7/{n}": name for n, name in enumerate("abc")
    }
    other = post([{"runKey": "z"}], **key)
    assert (other.status_code, other.json()["taskFlowId"]) == (422, first["taskFlowIds"][0])


def test_a_key_of_its_own_comes_first(db: Database, post: Any) -> None:
    define(db, "w", 1)
    wishes = [{"idempotencyKey": "mine"}, {}, {"idempotencyKey": "mine"}]
    told = post(wishes, **{"Idempotency-Key": "all"}).json()
    assert told["taskFlowIds"][0] == told["taskFlowIds"][2] != told["taskFlowIds"][1]
    assert {row.idempotency_key for row in rows(db, flow_stat)} == {"mine", "all/1"}


def test_problems_are_counted_and_the_first_are_told(db: Database, post: Any) -> None:
    define(db, "w", 1)
    told = post([{}] + [{"priority": 99}] * (MAX_TOLD + 20)).json()
    assert (told["registered"], told["refused"], len(told["problems"])) == (1, MAX_TOLD + 20, MAX_TOLD)


def test_nothing_is_asked_for(db: Database, post: Any) -> None:
    define(db, "w", 1)
    answer = post([])
    assert (answer.status_code, answer.json()["registered"]) == (200, 0)


def test_lines_that_are_blank_broken_or_cut(db: Database, client: TestClient) -> None:
    define(db, "w", 1)
    body = b'{"runKey": "a"}\r\n\n   \n{"runKey": \n\xff\xfe\n{"a": 1, "a": 2}\n{"runKey": "last"}'
    answer = client.post("/register/w", content=body, headers=LINES)
    assert answer.status_code == 207
    assert [flow_id is not None for flow_id in answer.json()["taskFlowIds"]] == [True, False, False, False, True]
    assert {row.run_key for row in rows(db, flow_stat)} == {"a", "last"}


def test_a_body_of_lines_may_be_longer_than_any_other(db: Database, serve: Any) -> None:
    define(db, "w", 1)
    client = serve(db, max_body_bytes=200)
    wishes = [{"runKey": f"{n:03}"} for n in range(300)]
    assert client.post("/register/w", json=wishes).status_code == 413
    answer = client.post("/register/w", content=as_lines(wishes), headers=LINES)
    assert answer.json()["registered"] == 300
    long = as_lines([{"runKey": "fits"}] * 250 + [{"runKey": "x" * 250}])
    assert client.post("/register/w", content=long, headers=LINES).status_code == 413


def test_it_leaves_room_for_others(db: Database, serve: Any) -> None:
    """With a queue of four, a request of two hundred waits for places instead of being refused, or taking all."""
    define(db, "w", 1)
    client = serve(db, max_queued=4, group_size=2)
    assert client.post("/register/w", json=[{}] * 200).json()["registered"] == 200
    assert len(ids(db)) == 200
