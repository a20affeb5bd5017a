"""POST /register: Flower's contract, odd ids, bodies, and what is refused."""

from __future__ import annotations

import itertools
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from factories import define, flow, rows, sql, states, tasks
from sqlalchemy import func, select
from starlette.testclient import TestClient

from engine.database import Database
from engine.tables import flow_stat

pytestmark = pytest.mark.by_turns

ODD_IDS = [
    "a/b",
    "/a",
    "a/",
    "a b",
    " a ",
    'it\'s "quoted"',
    "per%cent",
    "a%2Fb",
    "q?x=1#f",
    "été",
    "工作流",
    "🚰🔧",
    "\\back\\slash",
    "a;b,c&d=e+f",
    "<script>",
    "x" * 256,
    "工" * 256,
]


def flows(db: Database) -> int:
    with db.read() as conn:
        return int(conn.scalar(select(func.count()).select_from(flow_stat)) or 0)


def refused(answer: Any, code: int, kind: str) -> dict[str, Any]:
    """The problem in an answer, checked for all that every problem carries."""
    assert answer.status_code == code, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:penstock:problem:{kind}"
    assert (problem["status"], problem["taskId"], problem["code"]) == ("failed", "error", code)
    assert problem["instance"] == answer.headers["x-request-id"] != ""
    assert problem["title"]
    assert problem["detail"]
    assert problem["description"]
    assert "Traceback" not in answer.text
    return problem  # type: ignore[no-any-return]


def test_the_answer_is_flowers(client: TestClient, db: Database) -> None:
    define(db, "example", 3)
    answer = client.post("/register/example")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert body == {"status": "succeeded", "taskId": "example", "taskFlowId": body["taskFlowId"]}
    made = tasks(db, body["taskFlowId"])
    assert [(row.task_exec_seq, row.depends_task_exec_seq, row.exec_status) for row in made] == [
        (1, -1, 0),
        (2, 1, 0),
        (3, 2, 0),
    ]
    assert all(row.registered_ts and not row.started_ts for row in made)
    assert "idempotency-replayed" not in answer.headers


def test_an_unknown_workflow(client: TestClient, db: Database) -> None:
    problem = refused(client.post("/register/nobody"), 404, "unknown-workflow")
    assert problem["description"] == "no tasks registered"
    assert flows(db) == 0


@pytest.mark.parametrize("task_id", ODD_IDS)
def test_odd_ids(client: TestClient, db: Database, task_id: str) -> None:
    define(db, task_id)
    for address in (quote(task_id, safe=""), quote(task_id, safe="") + "/"):
        answer = client.post(f"/register/{address}")
        assert answer.status_code == 200, answer.text
        assert answer.json()["taskId"] == task_id
        assert flow(db, answer.json()["taskFlowId"]).task_id == task_id


def test_a_slash_that_is_not_encoded_is_part_of_the_id_too(client: TestClient, db: Database) -> None:
    define(db, "team/nightly")
    assert client.post("/register/team/nightly/").json()["taskId"] == "team/nightly"


def test_one_slash_is_stripped_and_no_more(client: TestClient, db: Database) -> None:
    define(db, "a")
    refused(client.post("/register/a//"), 404, "unknown-workflow")
    refused(client.post("/register/a%2F"), 404, "unknown-workflow")


@pytest.mark.parametrize(
    "path", ["/register/", "/register//", "/register", "/registerexample", "/nope", "/flows/a/b", "/healthz/"]
)
def test_paths_that_lead_nowhere(client: TestClient, path: str) -> None:
    refused(client.post(path), 404, "not-found")


@pytest.mark.parametrize("address", ["x" * 257, quote("工" * 257), "%FF", "a%00b"])
def test_ids_that_no_row_can_have(client: TestClient, address: str) -> None:
    problem = refused(client.post(f"/register/{address}"), 422, "bad-request")
    assert problem["errors"][0]["parameter"] == "taskId"


METHODS = {
    "/": "GET",
    "/register/example": "POST",
    "/flows": "GET",
    "/flows/1": "GET",
    "/flows/1/recover": "POST",
    "/healthz": "GET",
    "/readyz": "GET",
    "/openapi.json": "GET",
    "/echo": "POST",
}


@pytest.mark.parametrize("path", METHODS)
def test_wrong_methods(client: TestClient, path: str) -> None:
    right = {"GET", "HEAD"} if METHODS[path] == "GET" else {"POST"}
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"} - right:
        answer = client.request(method, path)
        refused(answer, 405, "method-not-allowed")
        assert set(answer.headers["allow"].split(", ")) == right


def test_a_body(client: TestClient, db: Database) -> None:
    define(db, "w", 2, param1_key="A", param1_value="old", task_priority=5)
    body = {"parameters": {"A": "neu 工", "B": [1, None]}, "priority": -20, "runKey": "2026-11"}
    flow_id = client.post("/register/w", json=body).json()["taskFlowId"]
    made = flow(db, flow_id)
    assert (json.loads(made.parameters), made.flow_priority, made.run_key) == (body["parameters"], -20, "2026-11")
    first = tasks(db, flow_id)[0]
    assert (json.loads(first.parameters)["A"], first.task_priority) == ("neu 工", -20)


@pytest.mark.parametrize("body", ["", "  \n", "{}", '{"priority": null, "parameters": null, "runKey": null}'])
@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", "", "nonsense"])
def test_any_content_type_will_do(client: TestClient, db: Database, body: str, content_type: str) -> None:
    define(db)
    assert client.post("/register/w", content=body, headers={"Content-Type": content_type}).status_code == 200


BAD_BODIES = {
    "no JSON": "x=1",
    "an array of no registrations": "[1]",
    "a text": '"x"',
    "null": "null",
    "unknown field": '{"prio": 1}',
    "repeated key": '{"priority": 1, "priority": 2}',
    "NaN": '{"parameters": {"x": NaN}}',
    "infinite": '{"parameters": {"x": [1e999]}}',
    "too urgent": '{"priority": -21}',
    "too patient": '{"priority": 20}',
    "true": '{"priority": true}',
    "a float": '{"priority": 1.5}',
    "a number as text": '{"priority": "1"}',
    "an empty key": '{"runKey": ""}',
    "a long key": json.dumps({"runKey": "k" * 257}),
    "a NUL": '{"runKey": "a\\u0000"}',
    "a lone surrogate": '{"runKey": "\\ud800"}',
    "a lone surrogate below": '{"parameters": {"x": "\\ud800"}}',
    "a number as key": '{"runKey": 7}',
    "parameters in an array": '{"parameters": [1]}',
    "very deep": '{"parameters": {"x": ' + "[" * 10_000 + "]" * 10_000 + "}}",
    "fairly deep": '{"parameters": {"x": ' + "[" * 985 + "]" * 985 + "}}",
    "a long integer": '{"parameters": {"x": ' + "9" * 5_000 + "}}",
    "many keys": "{" + ",".join(f'"{n}":1' for n in range(50_000)) + ',"49999":1}',
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_bad_bodies(client: TestClient, db: Database, name: str) -> None:
    define(db)
    began = time.perf_counter()
    answer = client.post("/register/w", content=BAD_BODIES[name])
    took_s = time.perf_counter() - began
    problem = refused(answer, 422, "bad-request")
    assert problem["errors"]
    assert took_s < 10  # a sane machine takes a hundredth of it
    assert flows(db) == 0


def test_a_body_that_is_no_utf8(client: TestClient, db: Database) -> None:
    define(db)
    refused(client.post("/register/w", content=b'{"runKey": "\xff"}'), 422, "bad-request")


def test_a_body_beyond_the_limit(db: Database, serve: Any) -> None:
    define(db)
    client = serve(db, max_body_bytes=100, echo=True)
    fits, too_long = b'{"parameters":{}}'.ljust(100), b'{"parameters":{}}'.ljust(101)
    assert client.post("/register/w", content=fits).status_code == 200
    for path in ("/register/w", "/echo"):
        refused(client.post(path, content=too_long), 413, "body-too-large")

    def endless() -> Iterator[bytes]:
        yield from itertools.repeat(b" " * 60, 1_000_000)  # of no declared length: read to its end, it takes minutes

    refused(client.post("/register/w", content=endless()), 413, "body-too-large")
    assert flows(db) == 1


def test_broken_definitions_are_said_to_be_so(client: TestClient, db: Database) -> None:
    define(db)
    sql(db, "INSERT INTO ms_task_edge (task_id, task_seq, depends_task_seq) VALUES ('w', 1, 99)")
    assert "99" in refused(client.post("/register/w"), 409, "bad-definition")["detail"]


def test_request_ids(client: TestClient) -> None:
    assert client.get("/healthz", headers={"X-Request-Id": "abc-1"}).headers["x-request-id"] == "abc-1"
    for harmful in ("a b", "x" * 65, "a\tb", "ü"):
        answer = client.get("/healthz", headers={"X-Request-Id": harmful.encode()})  # type: ignore[dict-item]
        assert answer.headers["x-request-id"] not in ("", harmful)
    assert client.get("/healthz").headers["x-request-id"] != client.get("/healthz").headers["x-request-id"]


def test_the_chain_is_ready_to_run(client: TestClient, db: Database) -> None:
    define(db, "w", 2)
    assert states(db, client.post("/register/w").json()["taskFlowId"]) == [(0, 0), (0, 1)]
    assert len(rows(db, flow_stat)) == 1
