"""Reading and recovering flows over HTTP."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from factories import claim, define, enlisted, finish, insert_task, settle_as, settling, sql, start, states
from starlette.testclient import TestClient

from engine.database import Database

pytestmark = pytest.mark.by_turns


def test_pages(client: TestClient, db: Database) -> None:
    define(db)
    made = [start(db) for _ in range(7)]
    seen: list[str] = []
    address: str | None = "/flows?limit=3"
    pages = 0
    while address:
        answer = client.get(address)
        body = answer.json()
        seen += [flow["task_flow_id"] for flow in body["flows"]]
        assert ("next" in answer.links) == (body["next"] is not None)
        address = str(answer.links["next"]["url"]) if body["next"] else None
        pages += 1
    assert seen == made[::-1]
    assert pages == 3


def test_the_link_keeps_the_filters(client: TestClient, db: Database) -> None:
    define(db, "a&b c")
    for _ in range(2):
        start(db, "a&b c")
    answer = client.get("/flows", params={"limit": 1, "taskId": "a&b c", "status": "wait"})
    following = client.get(answer.links["next"]["url"]).json()
    assert [flow["task_id"] for flow in following["flows"]] == ["a&b c"]
    assert following["next"] is None


def test_filters(client: TestClient, db: Database) -> None:
    define(db, "a")
    define(db, "b")
    enlisted(db)
    done = start(db, "a")
    finish(db, *claim(db))
    waiting = start(db, "b")

    def found(**query: Any) -> list[str]:
        return [flow["task_flow_id"] for flow in client.get("/flows", params=query).json()["flows"]]

    assert found() == [waiting, done]
    assert found(taskId="a") == [done]
    assert found(status=3) == found(status="FINISH") == found(status="finish") == [done]
    assert found(status=0, taskId="a") == []


BAD_QUERIES = [
    {"limit": "0"},
    {"limit": "501"},
    {"limit": "x"},
    {"status": "4"},
    {"status": "done"},
    {"status": ""},
    {"taskId": ""},
    {"taskId": "a\x00"},
    {"cursor": "x"},
    {"cursor": "\x00"},
    {"cursor": "0001-01-01T00:00:00+14:00~x"},
    {"state": "3"},
]


@pytest.mark.parametrize("query", BAD_QUERIES)
def test_bad_queries(client: TestClient, query: dict[str, str]) -> None:
    answer = client.get("/flows", params=query)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["parameter"] == next(iter(query))


def test_a_cursor_without_offset_is_no_crash(client: TestClient) -> None:
    assert client.get("/flows", params={"cursor": "2026-01-01~x"}).status_code in (200, 422)


def test_a_flow_with_its_tasks(client: TestClient, db: Database) -> None:
    define(db, "w", 2, param1_key="A")
    enlisted(db)
    flow_id = start(db, parameters={"A": "x"})
    settle_as(db, [settling.Settlement(claim(db)[0], "suspend", error="broke: ü")])
    body = client.get(f"/flows/{flow_id}").json()
    assert (body["task_flow_id"], body["status"], body["suspend_count"]) == (flow_id, "SUSPEND", 1)
    assert [task["depends"] for task in body["tasks"]] == [[], [1]]
    assert body["tasks"][0]["parameters"] == {"A": "x"}
    assert body["tasks"][0]["status"] == "SUSPEND"
    assert body["tasks"][0]["attempts"][0]["error"] == "broke: ü"
    assert body["registered_ts"].endswith("Z")
    assert "idempotency_key" not in body


@pytest.mark.parametrize("flow_id", ["nobody", "x" * 300, "a\x00b", "\\", "%", "🚰"])
def test_flows_that_do_not_exist(client: TestClient, flow_id: str) -> None:
    for answer in (
        client.get(f"/flows/{quote(flow_id, safe='')}"),
        client.post(f"/flows/{quote(flow_id, safe='')}/recover"),
    ):
        assert answer.status_code == 404, answer.text
        assert answer.json()["type"] == "urn:penstock:problem:unknown-flow"


def test_a_flow_id_made_by_hand(client: TestClient, db: Database) -> None:
    define(db)
    insert_task(db, "by hand/1 ü", parameters='{"x": "\\ud800"}', program="Noop")
    sql(db, "INSERT INTO kr_flow_stat (task_flow_id, task_id) VALUES ('by hand/1 ü', 'w')")
    answer = client.get(f"/flows/{quote('by hand/1 ü', safe='')}")
    assert answer.status_code == 200
    assert answer.json()["tasks"][0]["parameters"] == {"x": "\ud800"}


def test_rows_that_a_person_spoilt(client: TestClient, db: Database) -> None:
    define(db)
    for column, value in (
        ("parameters", "'no JSON'"),
        ("flow_status", "7"),
        ("registered_ts", "NULL"),
        ("registered_ts", "NULL"),
    ):
        sql(db, f"UPDATE kr_flow_stat SET {column} = {value} WHERE task_flow_id = :id", id=start(db))
    start(db)
    for limit in (1, 2, 3, 4, 50):
        assert client.get("/flows", params={"limit": limit}).status_code == 200
    statuses = {flow["status"] for flow in client.get("/flows").json()["flows"]}
    assert statuses == {"WAIT", "UNKNOWN 7"}


def test_recover(client: TestClient, db: Database) -> None:
    define(db, "w", 2)
    enlisted(db)
    flow_id = start(db)
    settle_as(db, [settling.Settlement(claim(db)[0], "suspend")])
    answer = client.post(f"/flows/{flow_id}/recover")
    assert answer.json() == {"status": "succeeded", "taskFlowId": flow_id, "recovered": [1]}
    assert states(db, flow_id) == [(0, 0), (0, 1)]
    assert client.post(f"/flows/{flow_id}/recover").json()["recovered"] == []
