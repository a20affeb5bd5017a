"""A workflow that has as many flows under way as it may."""

from __future__ import annotations

from factories import define, flow, rows, run_all
from sqlalchemy import insert
from starlette.testclient import TestClient

from engine.database import Database
from engine.tables import flow_stat, wait, workflow


def limited(db: Database, **columns: object) -> None:
    define(db)
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id="w", max_active_flows=1, **columns))


def test_a_refusal_is_429_and_says_when_to_come_again(client: TestClient, db: Database) -> None:
    limited(db, on_limit="refuse")
    assert client.post("/register/w").status_code == 200
    answer = client.post("/register/w")
    assert answer.status_code == 429
    assert int(answer.headers["retry-after"]) >= 1
    problem = answer.json()
    assert problem["type"] == "urn:penstock:problem:too-many-flows"
    assert (problem["code"], problem["status"]) == (429, "failed")
    assert "max_active_flows" in problem["detail"]
    assert len(rows(db, flow_stat)) == 1
    run_all(db)
    assert client.post("/register/w").status_code == 200


def test_a_queued_flow_is_acknowledged_as_any_other(client: TestClient, db: Database) -> None:
    limited(db)
    first, second = (client.post("/register/w").json()["taskFlowId"] for _ in range(2))
    assert flow(db, second).flow_status == 0
    assert [row.task_flow_id for row in rows(db, wait)] == [second]
    assert first != second
