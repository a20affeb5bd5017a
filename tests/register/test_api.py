"""The API, version 1: what an operator looks at and asks for, over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from awaiting import awaiting, waits_of
from factories import claim, define, define_graph, enlisted, finish, flow, rows, settle_as, start, states
from letting_in import let_in
from sqlalchemy import insert
from starlette.testclient import TestClient

from engine.commands import COMMANDS
from engine.database import Database
from engine.settle import Settlement
from engine.states import Reason, Status
from engine.tables import attempt, command, event, flow_stat, task_log
from register.api.commands import path_of

pytestmark = pytest.mark.by_turns

API = "/api/v1"


def get(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(API + path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def post(client: TestClient, path: str, body: Any = None) -> Any:
    answer = client.post(API + path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ids(client: TestClient, **query: Any) -> list[str]:
    return [one["task_flow_id"] for one in get(client, "/flows", **query)["flows"]]


def test_every_command_has_a_path(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]
    assert [name for name, one in COMMANDS.items() if "post" not in described.get(path_of(one), {})] == []


def test_a_flow_is_registered_found_steered_and_read(client: TestClient, db: Database) -> None:
    define_graph(db, "w", [(1, 2), (1, 3), (2, 4), (3, 4)])
    made = post(client, "/workflows/w/register", {"run_key": "2026-01-01", "tags": ["team=data", "x"]})
    flow_id = made["answer"]["task_flow_id"]
    assert made == {
        "outcome": "done",
        "verb": "register",
        "subject": "w",
        "answer": {"task_flow_id": flow_id, "replayed": False},
    }
    for query in ({"tag": "x"}, {"run_key": "2026-01-01"}, {"task_id": "w"}, {"status": "wait"}, {"text": "2026-01"}):
        assert ids(client, **query) == [flow_id], query
    for query in ({"tag": "y"}, {"run_key": "2026"}, {"task_id": "v"}, {"status": 3}, {"text": "no such text"}):
        assert ids(client, **query) == [], query
    assert get(client, f"/flows/{flow_id}")["tags"] == ["team=data", "x"]
    found = get(client, f"/flows/{flow_id}/tasks", limit=3)
    assert ([one["task_exec_seq"] for one in found["tasks"]], found["next"]) == ([1, 2, 3], "3")
    rest = get(client, f"/flows/{flow_id}/tasks", limit=3, cursor=found["next"])
    assert ([(one["task_exec_seq"], one["depends"]) for one in rest["tasks"]], rest["next"]) == ([(4, [2, 3])], None)
    edges = get(client, f"/flows/{flow_id}/edges")["edges"]
    pairs = [(edge["depends_task_exec_seq"], edge["task_exec_seq"]) for edge in edges]
    assert pairs == [(1, 2), (1, 3), (2, 4), (3, 4)]
    done = post(client, f"/flows/{flow_id}/pause", {"seqs": [1], "reason": "not yet"})
    assert (done["verb"], done["answer"]) == ("pause", {"seqs": [1]})
    assert states(db, flow_id)[0] == (Status.SUSPEND, 0)
    [asked] = get(client, "/commands", subject=flow_id)["commands"]
    assert (asked["verb"], asked["reason"], asked["door"], asked["arguments"]) == (
        "pause",
        "not yet",
        "http",
        {"seqs": [1]},
    )
    assert asked["request_id"]
    [told] = get(client, "/events", flow_id=flow_id)["events"]
    assert (told["what"], told["details"]) == ("task paused", {"note": "not yet"})


def test_records_are_read_behind_a_number_with_what_was_changed(client: TestClient, db: Database) -> None:
    define(db, "load")
    define(db, "pay")
    for task_id in ("load", "pay", "load"):
        post(client, f"/flows/{start(db, task_id)}/pause", {})
    numbers = [row.command_id for row in rows(db, command)]
    first = get(client, "/commands", after=numbers[0] - 1, limit=2)
    assert [one["command_id"] for one in first["commands"]] == numbers[:2]
    assert first["commands"][0]["changes"]["after"] == {
        "status": "SUSPEND",
        "tasks": [{"seqs": "1", "status": "SUSPEND"}],
    }
    link = client.get(f"{API}/commands", params={"after": numbers[0] - 1, "limit": 2}).links["next"]["url"]
    rest = client.get(link).json()
    assert ([one["command_id"] for one in rest["commands"]], rest["next"]) == (numbers[2:], None)
    assert client.get(f"{API}/commands", params={"after": -1}).status_code == 422
    narrow = let_in(client, db, "operator", workflows=["load"])
    assert narrow.get(f"{API}/commands", params={"after": 0}).status_code == 403
    seen = get(narrow, "/events", after=rows(db, event)[0].event_id - 1)["events"]
    every = [row.event_id for row in rows(db, event)]
    assert [one["event_id"] for one in seen] == [every[0], every[2]], "nothing of what it does not reach"


def test_many_are_registered_at_once_and_each_stands_alone(client: TestClient, db: Database) -> None:
    define(db)
    answer = client.post(f"{API}/workflows/w/register", json=[{"run_key": "a"}, {"runKey": "b"}, {"tags": ["t"]}])
    told = answer.json()
    assert (answer.status_code, told["registered"], told["refused"]) == (207, 2, 1)
    assert [one is None for one in told["task_flow_ids"]] == [False, True, False]
    assert told["problems"][0]["index"] == 1
    lines = b'{"run_key": "c", "idempotency_key": "k"}\n\n{"run_key": "c", "idempotency_key": "k"}\n'
    answer = client.post(f"{API}/workflows/w/register", content=lines, headers={"Content-Type": "application/x-ndjson"})
    first, second = answer.json()["task_flow_ids"]
    assert first == second
    assert len(rows(db, flow_stat)) == 3


def test_tries_logs_waits_and_results_are_read(client: TestClient, db: Database) -> None:
    define(db, steps=2)
    flow_id = start(db)
    enlisted(db)
    finish(db, *claim(db), result='{"sum": 3}')
    assert get(client, f"/flows/{flow_id}/tasks/1/result") == {"result": {"sum": 3}}
    [held] = claim(db)
    with db.transaction() as conn:
        row = {"task_flow_id": flow_id, "task_exec_seq": 2}
        kept = {"claim_id": "old", "claim_no": 1, "outcome": "failed", "log": "one\n"}
        conn.execute(insert(attempt).values(**row, **kept))
        for text in ("two ", "three"):
            part = {"claim_id": held.fence.claim_id, "written_ts": flow(db, flow_id).registered_ts, "text": text}
            conn.execute(insert(task_log).values(**row, **part))
    logs = get(client, f"/flows/{flow_id}/tasks/2/logs")["logs"]
    assert [(one["outcome"], one["text"]) for one in logs] == [("failed", "one\n"), (None, "two three")]
    plain = client.get(f"{API}/flows/{flow_id}/tasks/2/logs", headers={"Accept": "text/plain"})
    assert (plain.text, plain.headers["content-type"]) == ("one\ntwo three\n", "text/plain; charset=utf-8")
    assert [one["outcome"] for one in get(client, f"/flows/{flow_id}/tasks/2")["attempts"]] == ["failed"]


def test_people_answer_what_is_awaited_of_them(client: TestClient, db: Database) -> None:
    define(db)
    key = awaiting(db, "approval", name="ok?")
    [wait] = get(client, "/waits")["waits"]
    assert (wait["task_flow_id"], wait["name"]) == (key.flow_id, "ok?")
    path = f"/waits/{wait['wait_id']}/answer"
    assert client.post(API + path, json={"payload": 1}).status_code == 422
    post(client, path, {"payload": {"approved": True}})
    again = client.post(API + path, json={"payload": {"approved": True}})
    assert (again.status_code, again.json()["type"]) == (409, "urn:penstock:problem:already-answered")
    assert get(client, "/waits")["waits"] == []
    assert get(client, f"/flows/{key.flow_id}/waits")["waits"][0]["state"] == "arrived"


def test_a_call_back_needs_its_token_alone_and_shows_it_nowhere(client: TestClient, db: Database) -> None:
    define(db)
    token = "t" * 43
    key = awaiting(db, "callback", key=token)
    post(client, "/call_back", {"token": token, "payload": {"a": 1}})
    assert waits_of(db, key)[0].state == "arrived"
    listed = get(client, f"/flows/{key.flow_id}/waits")["waits"]
    assert listed[0]["correlation_key"] is None
    assert token not in str(rows(db, command))


def test_queues_limits_and_watchers(client: TestClient, db: Database) -> None:
    define(db, steps=2)
    start(db)
    start(db)
    enlisted(db)
    claim(db, 1)
    post(client, "/limits/default/set", {"scope": "queue", "max_running": 3})
    post(client, "/queues/default/pause", {"reason": "moving"})
    [queue] = get(client, "/queues")["queues"]
    assert (queue["queue"], queue["ready"], queue["running"], queue["max_running"]) == ("default", 1, 1, 3)
    assert (queue["paused_by"], queue["paused_reason"]) == ("http", "moving")
    refused = client.post(f"{API}/queues/default/pause")
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:penstock:problem:conflict")
    assert [one["name"] for one in get(client, "/limits")["limits"]] == ["default"]
    [watcher] = get(client, "/watchers")["watchers"]
    assert (watcher["watcher_id"], watcher["lives"], watcher["running"]) == ("watcher-1", True, 1)
    post(client, "/watchers/watcher-1/drain")
    assert get(client, "/watchers")["watchers"][0]["wanted"] == "drain"
    stats = get(client, "/stats")
    assert (stats["flows_wait"], stats["flows_running"], stats["tasks_running"]) == (1, 1, 1)


def test_a_bulk_is_counted_first(client: TestClient, db: Database) -> None:
    define(db)
    flow_id = start(db)
    where = {"verb": "cancel", "where": {"task_id": "w"}}
    assert post(client, "/bulk", where)["answer"]["flows"] == 1
    assert flow(db, flow_id).flow_status == Status.WAIT
    assert post(client, "/bulk", {**where, "dry_run": False})["answer"]["flows"] == 1
    assert flow(db, flow_id).flow_status == Status.IGNORE


def test_a_failed_task_is_retried(client: TestClient, db: Database) -> None:
    define(db)
    flow_id = start(db)
    enlisted(db)
    settle_as(db, [Settlement(claim(db)[0], "suspend", reason=Reason.FAILED, error="x")])
    assert post(client, f"/flows/{flow_id}/retry")["answer"] == {"seqs": [1]}
    assert states(db, flow_id) == [(Status.WAIT, 0)]


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "problem"),
    [
        ("GET", "/flows/nobody", None, 404, "unknown-flow"),
        ("GET", "/flows/nobody/tasks", None, 404, "unknown-flow"),
        ("GET", "/flows/{flow}/tasks/9", None, 404, "unknown-task"),
        ("GET", "/flows/{flow}/tasks/x", None, 422, "bad-request"),
        ("GET", "/flows/{flow}/tasks/99999999999999999999", None, 422, "bad-request"),
        ("GET", "/flows/%FF", None, 422, "bad-request"),
        ("GET", "/flows/a%00b", None, 422, "bad-request"),
        ("GET", "/flows?status=5", None, 422, "bad-request"),
        ("GET", "/flows?colour=red", None, 422, "bad-request"),
        ("GET", "/flows?limit=1&limit=2", None, 422, "bad-request"),
        ("GET", "/flows?cursor=x", None, 422, "bad-request"),
        ("GET", "/flows?registered_after=2026-01-01T00:00:00", None, 422, "bad-request"),
        ("GET", "/events?flow_id=nobody", None, 404, "unknown-flow"),
        ("GET", "/events?cursor=x", None, 422, "bad-request"),
        ("POST", "/flows/nobody/cancel", {}, 404, "unknown-flow"),
        ("POST", "/flows/{flow}/cancel", {"seqs": [1]}, 422, "bad-request"),
        ("POST", "/flows/{flow}/cancel", [], 422, "bad-request"),
        ("POST", "/flows/{flow}/ignore", {}, 422, "bad-request"),
        ("POST", "/flows/{flow}/retry", {"seqs": [1]}, 409, "conflict"),
        ("POST", "/flows/{flow}/explode", {}, 404, "not-found"),
        ("POST", "/workflows/nobody/register", {}, 404, "unknown-workflow"),
        ("POST", "/watchers/nobody/drain", {}, 404, "unknown-watcher"),
        ("POST", "/waits/nothing/answer", {"payload": 1}, 404, "unknown-wait"),
        ("POST", "/call_back", {"token": "x"}, 404, "unknown-wait"),
        ("DELETE", "/flows/{flow}", None, 405, "method-not-allowed"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(
    client: TestClient, db: Database, method: str, path: str, body: Any, code: int, problem: str
) -> None:
    define(db)
    flow_id = start(db)
    content = None if body is None else json.dumps(body)
    answer = client.request(method, API + path.format(flow=flow_id), content=content)
    assert (answer.status_code, answer.json().get("type")) == (code, f"urn:penstock:problem:{problem}"), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert states(db, flow_id) == [(Status.WAIT, 0)]


def test_the_page_of_the_description_names_every_path_and_loads_nothing_from_elsewhere(client: TestClient) -> None:
    answer = client.get("/docs")
    assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'self'"
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"</b> {path}</h3>" in answer.text
    assert "http" not in answer.text.replace("http-", ""), "no address of anybody else"
    assert client.get("/docs.css").headers["content-type"].startswith("text/css")
