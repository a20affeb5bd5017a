"""The main job, as a user of Flower would do it, with nothing but processes, HTTP and SQL."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import flow, rows, sql, tasks
from patience import until
from processes import Service, environment

from engine.database import Database
from engine.keys import Key
from engine.tables import attempt, watcher

Penstock = Callable[..., Service]
ROOT = Path(__file__).parents[2]
FLOWERS_OWN = (
    "INSERT INTO ms_task_definition(task_id, task_seq, program, task_priority)"
    " VALUES ('example', 1, 'EchoRandomTimeSleep', 0);",
    "INSERT INTO ms_task_definition(task_id, task_seq, program, task_priority, param1_key, param1_value)"
    " VALUES ('example', 2, 'EchoParamTimeSleep', 0, 'SLEEP_TIME_SECOND', '3');",
    "INSERT INTO ms_task_definition(task_id, task_seq, program, task_priority, param1_key, param1_value, param2_key, "
    "param2_value) VALUES ('example', 3, 'HTTPPostRequest', 0, 'URL', 'http://localhost:8080/todo', "
    "'BODY', '{\"id\": \"test\"}');",
)
QUICKER = {"'EchoRandomTimeSleep'": "'Noop'", "'3')": "'0.7')"}
UP = ("up", "--port", 0, "--no-samples", "--interval", "0.2", "--http-network", "127.0.0.1")


def post(url: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def define(db: Database, url: str, *, as_it_is: bool = False) -> None:
    """Flower's workflow, posting to `url`; with shorter sleeps unless `as_it_is`."""
    for statement in FLOWERS_OWN:
        statement = statement.rstrip(";").replace("http://localhost:8080/todo", url)
        for old, new in () if as_it_is else QUICKER.items():
            statement = statement.replace(old, new)
        sql(db, statement.replace(":", "\\:"))


def states(db: Database, flow_id: str) -> list[tuple[int, int, int]]:
    return [(row.task_exec_seq, row.depends_task_exec_seq, row.exec_status) for row in tasks(db, flow_id)]


def test_the_sample_of_flower(db: Database, url: str, penstock: Penstock, receiver: Any) -> None:
    up = penstock(*UP, "--db", url)
    define(db, receiver.url, as_it_is=True)
    assert post(f"{up.url}/register/nope")[0] == 404
    code, answer = post(f"{up.url}/register/example")
    assert (code, answer["status"], answer["taskId"]) == (200, "succeeded", "example")
    flow_id = answer["taskFlowId"]
    first, *rest = tasks(db, flow_id)
    assert (first.task_exec_seq, first.depends_task_exec_seq) == (1, -1)
    assert first.exec_status in (0, 1), "the watcher was told at once"
    assert [(row.task_exec_seq, row.depends_task_exec_seq, row.exec_status) for row in rest] == [(2, 1, 0), (3, 2, 0)]
    assert all(row.registered_ts is not None and row.finished_ts is None for row in rest)
    until(lambda: flow(db, flow_id).flow_status == 3)
    assert states(db, flow_id) == [(1, -1, 3), (2, 1, 3), (3, 2, 3)]
    assert receiver.received == [("application/json", b'{"id": "test"}')]
    done = tasks(db, flow_id)
    assert done[0].finished_ts <= done[1].started_ts
    assert done[1].finished_ts <= done[2].started_ts
    assert up.terminate() == 0
    assert "Traceback" not in up.log.read_text()


@pytest.mark.by_turns
def test_rows_right_after_the_registration(db: Database, url: str, penstock: Penstock) -> None:
    """No watcher is there to touch them."""
    serve = penstock("serve", "--db", url, "--port", 0, "--log-level", "debug")
    define(db, "http://127.0.0.1:1/")
    base = _address_of(serve)
    code, answer = post(f"{base}/register/example")
    assert code == 200
    assert states(db, answer["taskFlowId"]) == [(1, -1, 0), (2, 1, 0), (3, 2, 0)]
    assert {row.task_priority for row in tasks(db, answer["taskFlowId"])} == {0}
    assert serve.terminate() == 0


def _address_of(service: Service) -> str:
    """Where a service listens that did not say so: asked of the system."""

    def look() -> str | None:
        inodes = set()
        for entry in Path(f"/proc/{service.process.pid}/fd").iterdir():
            try:
                target = entry.readlink().name
            except OSError:
                continue
            if found := re.fullmatch(r"socket:\[(\d+)\]", target):
                inodes.add(found[1])
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            parts = line.split()
            if parts[3] == "0A" and parts[9] in inodes:
                return f"http://127.0.0.1:{int(parts[1].split(':')[1], 16)}"
        assert service.process.poll() is None, service.log.read_text()
        return None

    return str(until(look))


@pytest.mark.by_turns
def test_a_target_that_cannot_be_reached_suspends_and_can_be_mended(
    db: Database, url: str, penstock: Penstock, receiver: Any
) -> None:
    up = penstock(*UP, "--db", url)
    define(db, "http://127.0.0.1:1/todo")
    flow_id = post(f"{up.url}/register/example")[1]["taskFlowId"]
    until(lambda: flow(db, flow_id).flow_status == 2)
    assert states(db, flow_id) == [(1, -1, 3), (2, 1, 3), (3, 2, 2)]
    last = tasks(db, flow_id)[2]
    assert last.reason == "failed"
    assert "127.0.0.1" in last.error
    body = json.dumps({"URL": receiver.url, "BODY": '{"id": "test"}'})
    sql(db, "UPDATE kr_task_stat SET parameters = :body, exec_status = 0 WHERE exec_status = 2", body=body)
    until(lambda: flow(db, flow_id).flow_status == 3)
    assert receiver.received == [("application/json", b'{"id": "test"}')]


@pytest.mark.by_turns
def test_a_registration_wakes_the_watcher_of_the_same_process(db: Database, url: str, penstock: Penstock) -> None:
    up = penstock("up", "--port", 0, "--no-samples", "--interval", 60, "--db", url)
    for seq in range(1, 11):
        sql(db, f"INSERT INTO ms_task_definition (task_id, task_seq, program) VALUES ('quick', {seq}, 'Noop')")
    assert up.url
    time.sleep(2)  # it looks ever more rarely by itself
    begun = time.monotonic()
    flow_id = post(f"{up.url}/register/quick")[1]["taskFlowId"]
    until(lambda: flow(db, flow_id).flow_status == 3)
    assert time.monotonic() - begun < 20


def test_a_flow_of_plain_sql(db: Database, url: str, penstock: Penstock) -> None:
    up = penstock(*UP, "--db", url)
    assert up.url
    columns = "task_flow_id, task_exec_seq, depends_task_exec_seq, task_id, task_seq, exec_status, parameters"
    for seq in (1, 2):
        sql(db, f"INSERT INTO ms_task_definition (task_id, task_seq, program) VALUES ('plain', {seq}, 'Noop')")
    for seq, after in ((1, -1), (2, 1)):
        sql(db, f"INSERT INTO kr_task_stat ({columns}) VALUES ('by hand', {seq}, {after}, 'plain', {seq}, 0, '{{}}')")
    until(lambda: states(db, "by hand") == [(1, -1, 3), (2, 1, 3)])
    assert all(row.finished_ts is not None for row in tasks(db, "by hand"))


@pytest.mark.by_turns
def test_sigterm_lets_running_tasks_finish(db: Database, url: str, penstock: Penstock) -> None:
    up = penstock(*UP, "--grace", 20, "--db", url)
    define(db, "http://127.0.0.1:1/", as_it_is=True)
    flow_id = post(f"{up.url}/register/example?priority=1")[1]["taskFlowId"]
    second = Key(flow_id, 2)
    until(lambda: tasks(db, flow_id)[second.seq - 1].exec_status == 1)
    time.sleep(0.7)  # what has not begun is handed back
    assert up.terminate() == 0
    assert states(db, flow_id) == [(1, -1, 3), (2, 1, 3), (3, 2, 0)]
    assert {row.state for row in rows(db, watcher)} == {"stopped"}


def test_killed_in_the_middle_and_started_again(db: Database, url: str, penstock: Penstock, receiver: Any) -> None:
    short = (*UP, "--lease", 1.5, "--heartbeat", 0.4, "--db", url)
    up = penstock(*short)
    define(db, receiver.url)
    flow_id = post(f"{up.url}/register/example")[1]["taskFlowId"]
    until(lambda: tasks(db, flow_id)[1].exec_status == 1)
    up.kill()
    assert states(db, flow_id)[1] == (2, 1, 1)
    assert penstock(*short).url
    until(lambda: flow(db, flow_id).flow_status == 3)
    second = tasks(db, flow_id)[1]
    assert (second.claims, second.attempt, second.losses) == (2, 1, 1)
    tries = [row for row in rows(db, attempt) if row.task_exec_seq == 2]
    assert sorted(row.outcome for row in tries) == ["finished", "lost"]
    assert [row.accepted for row in tries if row.outcome == "lost"] == [False]
    assert receiver.received == [("application/json", b'{"id": "test"}')]


def test_register_and_watchers_as_processes_of_their_own(db: Database, url: str, penstock: Penstock) -> None:
    serve = penstock("serve", "--db", url, "--port", 0)
    watchers = [penstock("watch", "--db", url, "--interval", 0.2, "--keep-attempts") for _ in range(2)]
    for seq in (1, 2, 3):
        sql(db, f"INSERT INTO ms_task_definition (task_id, task_seq, program) VALUES ('quick', {seq}, 'Noop')")
    base = _address_of(serve)
    until(lambda: len(rows(db, watcher)) == 2)
    flows = [post(f"{base}/register/quick")[1]["taskFlowId"] for _ in range(20)]
    for flow_id in flows:
        until(lambda flow_id=flow_id: flow(db, flow_id).flow_status == 3)
    tries = rows(db, attempt)
    assert len(tries) == 60
    assert {(row.outcome, row.accepted) for row in tries} == {("finished", True)}
    for service in (*watchers, serve):
        assert service.terminate() == 0
        assert "Traceback" not in service.log.read_text()


@pytest.mark.parametrize("kind", ["sqlite"])
def test_up_on_a_fresh_file_with_the_sample_workflow(kind: str, tmp_path: Path, penstock: Penstock) -> None:
    from engine.database import open_database

    url = f"sqlite:///{tmp_path}/fresh.db"
    up = penstock("up", "--port", 0, "--db", url)
    flow_id = post(f"{up.url}/register/example")[1]["taskFlowId"]
    db = open_database(url)
    until(lambda: flow(db, flow_id).flow_status != 0 and flow(db, flow_id).flow_status != 1)
    assert states(db, flow_id) == [(1, -1, 3), (2, 1, 3), (3, 2, 3)]
    db.close()
    assert up.terminate() == 0


def test_the_demo() -> None:
    answer = subprocess.run(
        [sys.executable, "examples/demo.py"], cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=90
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Traceback" not in answer.stderr
