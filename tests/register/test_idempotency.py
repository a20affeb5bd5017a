"""Idempotency-Key: one flow for one key, whoever asks, however often, wherever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from factories import define, rows
from starlette.testclient import TestClient

from engine.database import Database
from engine.tables import flow_stat


def post(client: TestClient, key: str, path: str = "/register/w", **body: Any) -> Any:
    return client.post(path, json=body, headers={"Idempotency-Key": key})


def test_a_replay(client: TestClient, db: Database) -> None:
    define(db)
    first, second = post(client, "k", priority=1), post(client, "k", priority=1)
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json() == second.json()
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == "true"
    assert len(rows(db, flow_stat)) == 1


def test_another_request_with_the_same_key(client: TestClient, db: Database) -> None:
    define(db)
    first = post(client, "k", priority=1)
    second = post(client, "k", priority=2)
    assert second.status_code == 422
    assert second.json()["type"] == "urn:penstock:problem:key-reused"
    assert second.json()["taskFlowId"] == first.json()["taskFlowId"]
    assert len(rows(db, flow_stat)) == 1


def test_a_key_belongs_to_its_workflow(client: TestClient, db: Database) -> None:
    define(db)
    define(db, "v")
    assert post(client, "k").json()["taskFlowId"] != post(client, "k", "/register/v").json()["taskFlowId"]


def test_without_a_key_each_request_makes_a_flow(client: TestClient, db: Database) -> None:
    define(db)
    assert client.post("/register/w").json() != client.post("/register/w").json()


@pytest.mark.parametrize("key", ["", "a b", "k" * 256, "ü", "tab\t."])
def test_keys_that_are_none(client: TestClient, db: Database, key: str) -> None:
    define(db)
    answer = client.post("/register/w", headers={"Idempotency-Key": key.encode()})  # type: ignore[dict-item]
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "Idempotency-Key"
    assert not rows(db, flow_stat)


def test_a_key_given_twice(client: TestClient, db: Database) -> None:
    define(db)
    assert client.post("/register/w", headers=[("Idempotency-Key", "a"), ("Idempotency-Key", "a")]).status_code == 422


def test_the_longest_key(client: TestClient, db: Database) -> None:
    define(db)
    assert post(client, "!~" + "k" * 253).status_code == 200


def test_fifty_at_once_in_two_services(db: Database, other_db: Database, serve: Any) -> None:
    define(db, "w", 3)
    clients = serve(db), serve(other_db)
    for key in ("a", "b", "c"):
        with ThreadPoolExecutor(50) as pool:
            answers = list(pool.map(lambda n, key=key: post(clients[n % 2], key), range(50)))  # type: ignore[misc]
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["taskFlowId"] for answer in answers}) == 1
        assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert len(rows(db, flow_stat)) == 3


def test_many_keys_at_once_in_two_services(db: Database, other_db: Database, serve: Any) -> None:
    """Both services insert the same keys in opposite orders: locks must not turn that into an error."""
    define(db, "w", 2)
    clients = serve(db), serve(other_db)
    with ThreadPoolExecutor(40) as pool:
        asked = [(clients[side], f"k{n if side else 19 - n}") for n in range(20) for side in (0, 1)]
        answers = list(pool.map(lambda one: post(*one), asked))
    assert {answer.status_code for answer in answers} == {200}
    assert len(rows(db, flow_stat)) == 20
