"""Many requests, few commits: each answered after its own, none harmed by another's."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from factories import define, rows, sql
from patience import until
from sqlalchemy import Column, Index, MetaData, String, Table, event
from starlette.testclient import TestClient

from engine.database import Database
from engine.flows import Registered, Registration
from engine.tables import flow_stat, task_stat
from register.commits import commit_all


class Commits:
    count = 0


@contextmanager
def counted(db: Database) -> Iterator[Commits]:
    """How many transactions were committed on this database."""
    commits = Commits()

    def one_more(conn: Any) -> None:
        commits.count += 1

    event.listen(db.repeating, "commit", one_more)
    try:
        yield commits
    finally:
        event.remove(db.repeating, "commit", one_more)


class Gate:
    """Holds the committing thread after a commit, so that a test decides what shares the next one."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.calls = 0

    def __call__(self) -> None:
        self.calls += 1
        assert self.open.wait(30)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(64) as pool:
        yield pool


def queue_up(client: TestClient, pool: ThreadPoolExecutor, bodies: list[Any]) -> list[Future[Any]]:
    """Requests that wait behind the gate."""
    waiting = [pool.submit(client.post, "/register/w", json=body) for body in bodies]
    until(lambda: client.app.state.service.commits.waiting == len(bodies))  # type: ignore[attr-defined]
    return waiting


@pytest.mark.parametrize("group_size, commits", [(200, 1), (10, 3)])
def test_requests_share_a_commit(
    db: Database, serve: Any, gate: Gate, pool: ThreadPoolExecutor, group_size: int, commits: int
) -> None:
    define(db, "w", 3)
    client = serve(db, on_registered=gate, group_size=group_size)
    assert client.post("/register/w").status_code == 200
    waiting = queue_up(client, pool, [{}] * 30)
    with counted(db) as seen:
        gate.open.set()
        answers = [one.result() for one in waiting]
    assert seen.count == commits
    assert {answer.status_code for answer in answers} == {200}
    ids = {answer.json()["taskFlowId"] for answer in answers}
    assert len(ids) == 30
    assert ids < {row.task_flow_id for row in rows(db, flow_stat)}
    assert len(rows(db, task_stat)) == 31 * 3
    until(lambda: gate.calls == 1 + commits)


def test_a_lone_request_waits_for_nobody(client: TestClient, db: Database) -> None:
    define(db)
    with counted(db) as seen:
        for _ in range(5):
            assert client.post("/register/w").status_code == 200
    assert seen.count == 5


def test_no_answer_before_the_commit(client: TestClient, db: Database, pool: ThreadPoolExecutor) -> None:
    define(db)
    reached, go = threading.Event(), threading.Event()

    def hold(conn: Any) -> None:
        reached.set()
        assert go.wait(20)

    event.listen(db.repeating, "commit", hold)
    try:
        answer = pool.submit(client.post, "/register/w")
        assert reached.wait(20)
        time.sleep(0.1)
        assert not answer.done()
        go.set()
        assert answer.result().status_code == 200
    finally:
        go.set()
        event.remove(db.repeating, "commit", hold)


def test_a_full_queue(db: Database, serve: Any, gate: Gate, pool: ThreadPoolExecutor) -> None:
    define(db)
    client = serve(db, on_registered=gate, max_queued=3)
    client.post("/register/w")
    waiting = queue_up(client, pool, [{}] * 3)
    refused = client.post("/register/w")
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.json()["type"] == "urn:penstock:problem:busy"
    gate.open.set()
    assert {one.result().status_code for one in waiting} == {200}
    assert client.post("/register/w").status_code == 200
    assert len(rows(db, flow_stat)) == 5


def test_unknown_and_reused_in_a_group_of_good_ones(
    db: Database, serve: Any, gate: Gate, pool: ThreadPoolExecutor
) -> None:
    define(db)
    client = serve(db, on_registered=gate)
    client.post("/register/w", headers={"Idempotency-Key": "k"})
    waiting = [pool.submit(client.post, f"/register/{name}") for name in ("w", "nobody", "w")]
    reused = {"Idempotency-Key": "k"}
    waiting.append(pool.submit(client.post, "/register/w", json={"priority": 3}, headers=reused))
    until(lambda: client.app.state.service.commits.waiting == 4)
    gate.open.set()
    assert [one.result().status_code for one in waiting] == [200, 404, 200, 422]
    assert len(rows(db, flow_stat)) == 3


@contextmanager
def unique_run_keys(db: Database) -> Iterator[None]:
    """A rule that an administrator added: the database refuses a value that nothing before it could know to be bad."""
    index = Index("only_here", Table("kr_flow_stat", MetaData(), Column("run_key", String)).c.run_key, unique=True)
    index.create(db.engine)
    try:
        yield
    finally:
        index.drop(db.engine)


def test_a_refused_value_harms_itself_alone(db: Database, serve: Any, gate: Gate, pool: ThreadPoolExecutor) -> None:
    define(db)
    client = serve(db, on_registered=gate)
    with unique_run_keys(db):
        assert client.post("/register/w", json={"runKey": "taken"}).status_code == 200
        bodies = [{"runKey": "taken" if n == 7 else f"free {n}"} for n in range(16)]
        waiting = queue_up(client, pool, bodies)
        gate.open.set()
        codes = [one.result().status_code for one in waiting]
    assert codes == [422 if n == 7 else 200 for n in range(16)]
    assert waiting[7].result().json()["type"] == "urn:penstock:problem:refused-value"
    assert len(rows(db, flow_stat)) == 16


@pytest.mark.parametrize("kind", ["sqlite"])
def test_a_row_that_no_code_expected(db: Database, serve: Any, gate: Gate, pool: ThreadPoolExecutor) -> None:
    """Only SQLite lets a person store a blob as a parameter."""
    define(db)
    define(db, "odd", param1_key="A")
    sql(db, "UPDATE ms_task_definition SET param1_value = x'ff00' WHERE task_id = 'odd'")
    client = serve(db, on_registered=gate)
    client.post("/register/w")
    names = ["w", "odd", "w", "w"]
    waiting = [pool.submit(client.post, f"/register/{name}") for name in names]
    until(lambda: client.app.state.service.commits.waiting == 4)
    gate.open.set()
    assert [one.result().status_code for one in waiting] == [200, 500, 200, 200]


@contextmanager
def losing_the_answer(db: Database, *, applied: bool, times: int = 1) -> Iterator[None]:
    """The connection dies in the next commits: after the server made it last, or before."""
    left = [times]

    def die(conn: Any) -> None:
        if left[0] > 0:
            left[0] -= 1
            raw = conn.connection.dbapi_connection
            if applied:
                raw.commit()
            raw.close()

    event.listen(db.repeating, "commit", die)
    try:
        yield
    finally:
        event.remove(db.repeating, "commit", die)


@pytest.mark.needs("many_writers")
@pytest.mark.parametrize("applied", [True, False])
def test_a_lost_answer_is_read_back(client: TestClient, db: Database, applied: bool) -> None:
    define(db, "w", 2)
    with losing_the_answer(db, applied=applied):
        answer = client.post("/register/w", headers={"Idempotency-Key": "k"})
    assert answer.status_code == 200, answer.text
    assert [row.task_flow_id for row in rows(db, flow_stat)] == [answer.json()["taskFlowId"]]
    assert len(rows(db, task_stat)) == 2


@pytest.mark.needs("many_writers")
def test_answers_lost_for_good(client: TestClient, db: Database) -> None:
    define(db)
    with losing_the_answer(db, applied=False, times=100):
        answer = client.post("/register/w")
    assert answer.status_code == 503
    assert answer.json()["type"] == "urn:penstock:problem:outcome-unknown"
    assert client.get(f"/flows/{answer.json()['taskFlowId']}").status_code == 404


def test_a_commit_that_arrives_after_it_was_looked_for(db: Database) -> None:
    define(db, "w", 2)
    wishes = [Registration("w"), Registration("w", idempotency_key="k"), Registration("w")]
    commit_all(db, wishes[:2])
    again = commit_all(db, wishes)
    assert all(again[wish.flow_id] == Registered(wish.flow_id, "w") for wish in wishes)
    assert len(rows(db, flow_stat)) == 3
    assert len(rows(db, task_stat)) == 6


def test_a_request_that_gave_up_is_left_out(db: Database, serve: Any, gate: Gate) -> None:
    define(db)
    client = serve(db, on_registered=gate, request_timeout_s=0.2)
    client.post("/register/w")
    late = client.post("/register/w")
    assert late.status_code == 504
    assert "Idempotency-Key" in late.json()["detail"]
    gate.open.set()
    assert client.post("/register/w").status_code == 200
    assert len(rows(db, flow_stat)) == 2


def test_stopping_commits_what_is_queued(db: Database, gate: Gate, pool: ThreadPoolExecutor, serve: Any) -> None:
    define(db)
    client = serve(db, on_registered=gate)
    client.post("/register/w")
    waiting = queue_up(client, pool, [{}] * 5)
    commits = client.app.state.service.commits
    stopped = pool.submit(commits.stop, 20)
    until(lambda: bool(commits._stopping))
    assert client.post("/register/w").status_code == 503
    gate.open.set()
    stopped.result()
    assert {one.result().status_code for one in waiting} == {200}


def test_a_hint_that_fails_harms_nobody(db: Database, serve: Any) -> None:
    define(db)

    def fail() -> None:
        raise RuntimeError("the watcher is gone")

    client = serve(db, on_registered=fail)
    assert [client.post("/register/w").status_code for _ in range(2)] == [200, 200]


def test_no_hint_for_what_was_there(db: Database, serve: Any, gate: Gate) -> None:
    define(db)
    gate.open.set()
    client = serve(db, on_registered=gate)
    for _ in range(3):
        client.post("/register/w", headers={"Idempotency-Key": "k"})
    client.post("/register/nobody")
    assert gate.calls == 1
