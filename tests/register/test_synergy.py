"""synergy_flow's paths (SY39, SY40 of what the seeds do)."""

from __future__ import annotations

from typing import Any

import pytest
from factories import claim, define, enlisted, finish, flow, rows, settle_as, sql, start, states
from sqlalchemy import insert, update
from starlette.testclient import TestClient

from engine.database import Database
from engine.settle import Settlement
from engine.tables import flow_stat, task_definition, task_edge, task_option

pytestmark = pytest.mark.by_turns

NAMES = {1: "load", 2: "left", 3: "right", 4: "<b>join</b>"}
EDGES = [(1, 2), (1, 3), (2, 4), (3, 4)]
PERIOD = "2024033100"
AT = {"flow_name": "w", "timeperiod": PERIOD}


@pytest.fixture
def flow_id(db: Database) -> str:
    """A diamond with names; its first step has actions before and behind it."""
    with db.transaction() as conn:
        steps = [{"task_id": "w", "task_seq": seq, "program": "Noop"} for seq in NAMES]
        conn.execute(insert(task_definition), steps)
        edges = [{"task_id": "w", "task_seq": after, "depends_task_seq": before} for before, after in EDGES]
        conn.execute(insert(task_edge), edges)
        conn.execute(
            insert(task_option), [{"task_id": "w", "task_seq": seq, "name": name} for seq, name in NAMES.items()]
        )
        first = task_option.c.task_id == "w", task_option.c.task_seq == 1
        phases = {"pre_program": "Before", "pre_parameters": '{"a": "1"}', "post_program": "After"}
        conn.execute(update(task_option).where(*first).values(**phases))
    enlisted(db)
    return start(db, "w", run_key=PERIOD)


def run(db: Database, rounds: int = 10) -> None:
    for _ in range(rounds):
        finish(db, *claim(db))


def get(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(path, params={**AT, **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_flow_as_a_graph_from_start_to_finish(db: Database, client: TestClient, flow_id: str) -> None:
    """SY40."""
    told = get(client, "/flow/flow/details/")
    assert (told["flow_name"], told["timeperiod"], told["state"], told["_id"]) == ("w", PERIOD, "embryo", flow_id)
    assert {name: step["next_nodes"] for name, step in told["graph"].items()} == {
        "start": ["load"],
        "load": ["left", "right"],
        "left": ["<b>join</b>"],
        "right": ["<b>join</b>"],
        "<b>join</b>": ["finish"],
        "finish": [],
    }
    assert told["graph"]["finish"]["previous_nodes"] == ["<b>join</b>"]
    assert told["steps"]["load"]["previous_nodes"] == []
    assert set(told["steps"]) == set(NAMES.values())


def test_a_step_has_three_sets_of_actions(db: Database, client: TestClient, flow_id: str) -> None:
    """SY40: the duration of one that runs grows."""
    (held,) = claim(db)
    step = get(client, "/flow/step/details/", step_name="load")
    assert (step["state"], step["is_pre_completed"], step["is_main_completed"]) == ("in_progress", False, False)
    assert step["pre_actions"] == [{"action_name": "Before", "state": "in_progress", "kwargs": {"a": "1"}}]
    assert (step["main_action"]["action_name"], step["post_actions"][0]["state"]) == ("Noop", "embryo")
    sql(db, "UPDATE kr_task_stat SET started_ts = '2024-01-01 00:00:00' WHERE exec_status = 1")
    assert get(client, "/flow/step/details/", step_name="load")["duration"] > step["duration"]
    finish(db, held)
    step = get(client, "/flow/step/details/", step_name="load")
    assert (step["is_pre_completed"], step["is_main_completed"]) == (True, False)
    run(db)
    told = get(client, "/flow/flow/details/")
    assert {step["state"] for step in told["steps"].values()} == {told["state"]} == {"processed"}


def test_logs_are_those_of_the_latest_tries(db: Database, client: TestClient, flow_id: str) -> None:
    assert get(client, "/flow/flow/log/") == {"response": "no related workflow log"}
    assert get(client, "/flow/step/log/", step_name="load")["response"] == "no related step log"
    (held,) = claim(db)
    settle_as(db, [Settlement(held, "finish", log="one\ntwo")])
    assert get(client, "/flow/step/log/", step_name="load")["log"] == ["one", "two"]
    (held,) = claim(db)
    settle_as(db, [Settlement(held, "finish", log="three")])
    assert get(client, "/flow/flow/log/")["log"] == ["one", "two", "three"]


def test_parts_are_run_again_once_the_flow_has_ended(db: Database, client: TestClient, flow_id: str) -> None:
    """SY39: refused before, with the original's own words and no 204."""
    query = {**AT, "step_name": "left"}
    for path in ("/flow/run/one_step/", "/flow/run/from_step/"):
        answer = client.post(path, params=query)
        assert (answer.status_code, answer.json()["response"]) == (409, "Job is not finished")
        assert client.get(path, params=query).status_code == 405, "what changes something takes POST"
    run(db)
    assert flow(db, flow_id).flow_status == 3
    assert client.post("/flow/run/one_step/", params=query).json() == {"response": "OK"}
    assert [status for status, _ in states(db, flow_id)] == [3, 3, 3, 0, 3, 3]
    run(db)
    assert client.post("/flow/run/from_step/", params=query).json() == {"response": "OK"}
    assert [status for status, _ in states(db, flow_id)] == [3, 3, 3, 0, 3, 0]


def test_a_run_mode_acts_at_once(db: Database, client: TestClient, flow_id: str) -> None:
    (held,) = claim(db)
    settle_as(db, [Settlement(held, "suspend", reason="failed", error="x")])
    query = {**AT, "run_mode": "run_mode_nominal"}
    assert client.post("/flow/run/mode/", params=query).status_code == 409
    answer = client.post("/flow/run/mode/", params={**AT, "run_mode": "run_mode_recovery"})
    assert (answer.status_code, answer.content) == (204, b"")
    run(db)
    assert client.post("/flow/run/mode/", params=query).status_code == 204
    assert {status for status, _ in states(db, flow_id)} == {0}
    assert client.post("/flow/run/mode/", params={**AT, "run_mode": "x"}).status_code == 400


def test_the_newest_flow_of_a_period_is_meant(db: Database, client: TestClient, flow_id: str) -> None:
    newer = start(db, "w", run_key=PERIOD)
    start(db, "w", run_key="another")
    assert get(client, "/flow/flow/details/")["_id"] == newer
    by_process = client.get("/flow/flow/details/", params={"process_name": "w", "timeperiod": PERIOD})
    assert by_process.json()["_id"] == newer
    assert len(rows(db, flow_stat)) == 3


def test_the_viewer_is_a_page_without_scripts(db: Database, client: TestClient, flow_id: str) -> None:
    answer = client.get("/flow/viewer/", params=AT)
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert "&lt;b&gt;join&lt;/b&gt;" in answer.text
    assert "<b>" not in answer.text


def test_what_there_is_not(db: Database, client: TestClient, flow_id: str) -> None:
    for query in ({"flow_name": "w", "timeperiod": "x"}, {"flow_name": "x", "timeperiod": PERIOD}):
        assert client.get("/flow/flow/details/", params=query).status_code == 404
    assert client.get("/flow/step/details/", params={**AT, "step_name": "x"}).status_code == 404
    assert client.get("/flow/flow/details/", params={"flow_name": "w"}).status_code == 400
    assert client.get("/flow/flow/details/", params={"flow_name": "w\0", "timeperiod": PERIOD}).status_code == 404
    define(db, "v")
    start(db, "v", run_key="p")
    told = get(client, "/flow/flow/details/", flow_name="v", timeperiod="p")
    assert list(told["steps"]) == ["1"], "a step without a name is called by its number"
