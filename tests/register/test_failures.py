"""What is answered when something is broken on our side: enough to act on, and nothing to learn from."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import pytest
from factories import define, rows

from engine.database import Database, open_database
from engine.tables import flow_stat
from register import routes
from register.readers import AT_ONCE

CALLS = [("POST", "/register/w"), ("GET", "/flows"), ("GET", "/flows/x"), ("POST", "/flows/x/recover")]
NOBODY = {
    "sqlite": "sqlite:////",  # a folder
    "mariadb": "mysql://u:secret@127.0.0.1:1/x",
    "postgresql": "postgresql://u:secret@127.0.0.1:1/x",
}


def test_nobody_answers(kind: str, serve: Any) -> None:
    db = open_database(NOBODY[kind])
    client = serve(db)
    for method, path in CALLS:
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1"), answer.text
        assert answer.json()["type"] == "urn:penstock:problem:database-unavailable"
    ready = client.get("/readyz")
    assert (ready.status_code, ready.headers["retry-after"]) == (503, "1")
    [reason] = ready.json()["reasons"]
    assert "the database" in reason
    assert "secret" not in ready.text
    assert "://" not in reason
    assert client.get("/healthz").json() == {"status": "ok"}
    db.close()


def test_no_tables(empty_url: str, serve: Any) -> None:
    db = open_database(empty_url)
    client = serve(db)
    for method, path in CALLS:
        answer = client.request(method, path)
        assert answer.status_code == 500
        assert answer.json()["type"] == "urn:penstock:problem:database-refuses"
    reasons = client.get("/readyz").json()["reasons"]
    assert len(reasons) == 1
    assert "penstock db init" in reasons[0]
    assert "://" not in reasons[0]
    db.close()


def test_ready(db: Database, serve: Any) -> None:
    assert serve(db).get("/readyz").json() == {"status": "ok"}


def test_our_own_mistake(
    db: Database, serve: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(routes.queries, "list_flows", fail)
    with caplog.at_level(logging.INFO, "penstock.register"):
        answer = serve(db).get("/flows", headers={"X-Request-Id": "find-me"})
    assert (answer.status_code, answer.json()["instance"], answer.headers["x-request-id"]) == (
        500,
        "find-me",
        "find-me",
    )
    assert answer.json()["type"] == "urn:penstock:problem:internal-error"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    [record] = [record for record in caplog.records if record.name == "penstock.register"]
    assert "find-me" in record.getMessage()
    assert record.exc_info is not None
    assert "secret" in str(record.exc_info[1])


def test_too_slow(db: Database, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(routes.queries, "read_flow", lambda *_: answered.wait(20))
    answer = serve(db, request_timeout_s=0.2).get("/flows/x")
    answered.set()
    assert answer.status_code == 504
    assert answer.json()["type"] == "urn:penstock:problem:timeout"
    while db.engine.pool.checkedout():  # type: ignore[attr-defined]
        time.sleep(0.01)


def test_readers_do_not_wait_without_bound(db: Database, serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    monkeypatch.setattr(routes.queries, "read_flow", lambda *_: go.wait(20) and {})
    client = serve(db, max_queued=5)
    with ThreadPoolExecutor(AT_ONCE + 15) as pool:
        asked = [pool.submit(client.get, "/flows/x") for _ in range(AT_ONCE + 15)]
        early = [one.result() for one in itertools.islice(as_completed(asked, timeout=20), 10)]
        go.set()
        codes = [one.result().status_code for one in asked]
    assert {answer.status_code for answer in early} == {503}
    assert {answer.json()["type"] for answer in early} == {"urn:penstock:problem:busy"}
    assert codes.count(200) == AT_ONCE + 5


def test_nothing_is_said_about_good_requests(db: Database, serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    define(db)
    client = serve(db)
    with caplog.at_level(logging.INFO, "penstock.register"):
        client.post("/register/w")
        client.get("/nope")
    assert [record for record in caplog.records if record.name.startswith("penstock")] == []
    with caplog.at_level(logging.DEBUG, "penstock.register"):
        client.post("/register/w")
        time.sleep(0.05)
    assert {record.message for record in caplog.records if record.name.startswith("penstock")} == {
        "registrations committed"
    }
    assert len(rows(db, flow_stat)) == 2
