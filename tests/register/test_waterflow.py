"""Waterflow's paths, feature by feature (W1 to W29 of what the seeds do)."""

from __future__ import annotations

import base64
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from factories import flow, kill_lease, rows, states, task
from letting_in import let_in
from starlette.testclient import TestClient

from engine import supervise
from engine.database import Database
from engine.tables import flow_stat, task_stat, watcher

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))  # what Waterflow's client sends

from waterflow_client import DIAMOND, dag_of

pytestmark = pytest.mark.by_turns

EVERY_BYTE = base64.b64encode(bytes(range(256))).decode()
JOB = {"job_name": "j", "job_input64": EVERY_BYTE, "job_input64_v": 200, "service_pointer": "http://svc"}
SAMPLE = {0: [1, 2], 1: [3, 4], 2: [4, 5], 3: [], 4: [], 5: []}
"""A waits for B and C, B for D and E, C for E and F."""


class Flow:
    """One job over a test client, as its worker sees it."""

    def __init__(self, client: TestClient, queue: int | str = 0, **job: Any) -> None:
        self.client, self.queue = client, queue
        answer = client.post(f"/api/submit_job/{queue}", json={**JOB, **job})
        assert answer.status_code == 200, answer.text
        self.job_id: str = answer.json()["job_id"]
        self.ids: dict[str, str] = {}

    def work(self, worker: str = "w") -> dict[str, Any]:
        answer = self.client.get(f"/api/get_work/{self.queue}/{worker}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        if run := found["run_task"]:
            self.ids[run["task_name"]] = run["task_id"]
        return found

    def take(self, count: int) -> list[str]:
        """The names of the next tasks."""
        return [self.work()["run_task"]["task_name"] for _ in range(count)]

    def dag(self, graph: dict[int, list[int]], **more: Any) -> Any:
        self.work()
        return self.set_dag({**dag_of(graph), **more})

    def set_dag(self, body: Any) -> Any:
        return self.client.post(f"/api/set_dag/{self.queue}/{self.job_id}", json=body)

    def say(self, verb: str, name: str, **body: Any) -> int:
        path = f"/api/{verb}/{self.job_id}/{self.ids[name]}"
        return self.client.post(path, json=body or None).status_code

    def on_job(self, verb: str, **body: Any) -> int:
        return self.client.post(f"/api/{verb}/{self.job_id}", json=body).status_code

    @property
    def state(self) -> str:
        found: str = self.client.get(f"/api/job/{self.job_id}").json()["state_name"]
        return found

    def tasks(self) -> dict[str, str]:
        """Name -> state; their ids are noted."""
        found = self.client.get(f"/api/job/{self.job_id}/tasks").json()["tasks"]
        self.ids |= {one["task_name"]: one["task_id"] for one in found}
        return {one["task_name"]: one["state_name"] for one in found}

    def events(self) -> list[tuple[int, str]]:
        found = self.client.get(f"/api/job/{self.job_id}/events").json()["events"]
        return [(one["code"], one["name"]) for one in found]


def stats(client: TestClient, what: str) -> dict[str, int]:
    client.app.state.service.counts.clear()  # type: ignore[attr-defined]  # they rest a little between two counts
    found: dict[str, int] = client.get(f"/ui/stats/{what}").json()
    return found


@pytest.fixture
def job(client: TestClient) -> Flow:
    return Flow(client)


def test_a_job_is_submitted_without_a_dag(db: Database, client: TestClient) -> None:
    """W1, W25: the counts are there on an empty database as well."""
    assert stats(client, "jobs") == dict.fromkeys(
        ("pending_count", "fetching_count", "running_count", "succeeded", "failed"), 0
    )
    names = ("blocked_count", "pending_count", "paused_count", "running_count", "succeeded_count", "failed_count")
    assert stats(client, "tasks/") == dict.fromkeys(names, 0)
    one = Flow(client)
    assert len(one.job_id) == 32
    assert int(one.job_id, 16)
    assert stats(client, "jobs/")["pending_count"] == 1
    assert one.state == "PENDING"


@pytest.mark.parametrize(
    "change, field",
    [
        ({"job_name": "x" * 65}, "job_name"),
        ({"job_name": ""}, "job_name"),
        ({"service_pointer": "x" * 129}, "service_pointer"),
        ({"tags": ["t"] * 9}, "tags"),
        ({"tags": ["t" * 256]}, "tags"),
        ({"job_input64_v": 256}, "job_input64_v"),
        ({"job_input64_v": -1}, "job_input64_v"),
        ({"job_input64": "not base64!"}, "job_input64"),
        ({"job_input64": None}, "job_input64"),
    ],
)
def test_fields_have_limits(db: Database, client: TestClient, change: dict[str, Any], field: str) -> None:
    """W2: 400 with the name of the field, and no row."""
    answer = client.post("/api/submit_job/0", json={**JOB, **change})
    assert answer.status_code == 400
    assert field in answer.json()["detail"]
    assert rows(db, flow_stat) == []


@pytest.mark.parametrize("queue", ["256", "99999", "-1,2", "x" * 55])
def test_queues_have_limits(client: TestClient, queue: str) -> None:
    assert client.post(f"/api/submit_job/{queue}", json=JOB).status_code == 400
    assert client.get(f"/api/get_work/{queue}/w").status_code == 400


def test_missing_fields_and_oversize(db: Database, client: TestClient) -> None:
    """W1, W3: the version may be left out; too much is 413 and never cut."""
    without = {name: value for name, value in JOB.items() if name != "job_input64_v"}
    assert client.post("/api/submit_job/0", json=without).status_code == 200
    assert client.post("/api/submit_job/0", json={"job_name": "x"}).status_code == 400
    assert client.post("/api/submit_job/0", content=b"{").status_code == 400
    assert client.post("/api/submit_job/0", json={**JOB, "job_input64": "A" * 1_100_000}).status_code == 413


def test_payloads_are_kept_to_the_byte(job: Flow) -> None:
    """W3, W5, W29."""
    fetch = job.work()["fetch_dag"]
    assert (fetch["job_input64"], fetch["job_input64_v"], fetch["service_pointer"]) == (EVERY_BYTE, 200, "http://svc")
    assert (fetch["job_id"], fetch["work_queue"]) == (job.job_id, 0)
    body = dag_of({0: []})
    body["tasks"]["0"] |= {"input64": EVERY_BYTE, "input64_v": 255}
    assert job.set_dag(body).json() == {}
    run = job.work()["run_task"]
    assert (run["task_input64"], run["task_input64_v"], run["task_name"]) == (EVERY_BYTE, 255, "task0")
    assert len(run["task_id"]) == 32


def test_the_dag_is_asked_for_first(client: TestClient, job: Flow) -> None:
    """W4, W8."""
    assert job.state == "PENDING"
    found = job.work()
    assert (found["fetch_dag"]["job_id"], found["run_task"]) == (job.job_id, None)
    assert job.state == "DAG_FETCH"
    assert job.work() == {"fetch_dag": None, "run_task": None}
    assert job.set_dag(json.dumps(dag_of(DIAMOND))).status_code == 200, "as Waterflow sends it: JSON within JSON"
    assert (job.state, len(job.tasks())) == ("RUNNING", 10)
    other = Flow(client)
    found = job.work()
    assert (found["fetch_dag"]["job_id"], found["run_task"]) == (other.job_id, None), "DAGs come before tasks"


def test_what_is_ready_follows_the_dag(db: Database, job: Flow) -> None:
    """W12, W13, W14."""
    job.dag(SAMPLE)
    assert sorted(job.take(3)) == ["task3", "task4", "task5"]
    assert job.work()["run_task"] is None
    job.say("complete_task", "task3")
    assert job.work()["run_task"] is None
    job.say("complete_task", "task4")
    assert job.take(1) == ["task1"]
    job.say("complete_task", "task5")
    assert job.take(1) == ["task2"]
    job.say("complete_task", "task1")
    assert job.tasks()["task0"] == "BLOCKED"
    job.say("complete_task", "task2")
    assert job.take(1) == ["task0"]
    assert job.state == "RUNNING"
    assert job.say("complete_task", "task0") == 200
    assert job.state == "SUCCEEDED"
    assert job.say("complete_task", "task0") == 200, "the same worker says it again: its answer was lost"
    assert flow(db, job.job_id).flow_status == 3


@pytest.mark.parametrize(
    "graph, words",
    [
        ({0: [1], 1: [2], 2: [0]}, "circle"),
        ({0: [0]}, "circle"),
    ],
)
def test_a_dag_that_cannot_run_fails_its_job(db: Database, job: Flow, graph: dict[int, list[int]], words: str) -> None:
    """W6, W7."""
    answer = job.dag(graph)
    assert (answer.status_code, words in answer.json()["detail"]) == (400, True), answer.text
    assert job.state == "FAILED"
    assert job.events() == [(1, "JOB_FAILED")]
    assert job.set_dag(dag_of({0: []})).status_code == 409
    assert len(rows(db, task_stat)) == 1


@pytest.mark.parametrize(
    "body",
    [
        {"tasks": {}, "adj_list": {}},
        {**dag_of({0: []}), "adj_list": {"0": [7]}},
        {**dag_of({0: []}), "adj_list": {"7": [0]}},
        {"adj_list": {}},
        {**dag_of({0: []}), "raw_dagv": 256},
        dag_of({n: [] for n in range(4_097)}),
        "[]",
        "{",
    ],
)
def test_a_dag_that_cannot_be_read_is_refused(job: Flow, body: Any) -> None:
    """W6: nothing is lost, a better one may follow."""
    job.work()
    assert job.set_dag(body).status_code == 400
    assert job.state == "DAG_FETCH"
    assert job.set_dag(dag_of({0: []})).status_code == 200


def test_a_dag_is_given_once(db: Database, job: Flow) -> None:
    """W7."""
    assert job.set_dag(dag_of(DIAMOND)).status_code == 409, "nobody has been asked for it yet"
    assert job.dag(DIAMOND).status_code == 200
    assert job.set_dag(dag_of(DIAMOND)).status_code == 409
    assert len(rows(db, task_stat)) == 11
    assert job.client.post(f"/api/set_dag/1/{job.job_id}", json=dag_of(DIAMOND)).status_code == 409, "another queue"
    assert job.client.post("/api/set_dag/0/nobody", json=dag_of(DIAMOND)).status_code == 404


def test_queues_are_apart(client: TestClient) -> None:
    """W10: for fetching and for running; names are taken as well as numbers."""
    one, two = Flow(client, 1), Flow(client, "gpu farm")
    for queue in (0, 2):
        assert client.get(f"/api/get_work/{queue}/w").json() == {"fetch_dag": None, "run_task": None}
    assert two.work()["fetch_dag"]["work_queue"] == "gpu farm"
    one.dag({0: []})
    assert client.get("/api/get_work/0/w").json()["run_task"] is None
    assert one.work()["run_task"]["job_id"] == one.job_id


def test_many_at_once(db: Database, client: TestClient) -> None:
    """W11, and POST beside GET."""
    ids = {Flow(client).job_id for _ in range(30)}
    first = client.post("/api/get_work/0/w?max=20").json()
    rest = client.post("/api/get_work/0/w?max=50").json()
    assert (len(first["fetch_dag"]), len(rest["fetch_dag"]), rest["run_task"]) == (20, 10, [])
    assert {one["job_id"] for one in first["fetch_dag"] + rest["fetch_dag"]} == ids
    assert client.post("/api/get_work/0/w?max=501").status_code == 400
    assert len({row.claim_id for row in rows(db, task_stat)}) == 2, "each call is one claim"


def test_each_job_is_fetched_once(client: TestClient) -> None:
    """W9."""
    ids = sorted(Flow(client).job_id for _ in range(40))

    def fetch(worker: int) -> list[str]:
        got: list[str] = []
        while (found := client.get(f"/api/get_work/0/w{worker}").json()["fetch_dag"]) is not None:
            got.append(found["job_id"])
        return got

    with ThreadPoolExecutor(8) as pool:
        assert sorted(job_id for got in pool.map(fetch, range(8)) for job_id in got) == ids


def test_a_failed_task_is_reported_and_tried_again(client: TestClient, job: Flow) -> None:
    """W18, W19, W23, W24, W14: the job has failed once nothing more of it can run."""
    job.dag({0: [1], 1: [], 2: []})
    first, second = job.take(2)
    assert job.say("fail_task", "task1", message="no paper " * 100, object64=EVERY_BYTE) == 200
    assert job.say("fail_task", "task1", message="no paper " * 100) == 200, "the worker says it again"
    assert job.state == "RUNNING", "task 2 runs"
    job.say("complete_task", "task2")
    assert job.state == "FAILED"
    (told,) = client.get(f"/api/job/{job.job_id}/events").json()["events"]
    assert (told["code"], told["name"], told["object64"]) == (1001, "TASK_FAILED", EVERY_BYTE)
    assert told["message"] == ("no paper " * 100)[:255]
    assert job.tasks() == {"task0": "BLOCKED", "task1": "FAILED", "task2": "SUCCEEDED"}
    assert job.say("fail_task", "task2", message="x") == 409
    assert job.say("retry_task", "task2") == 409
    assert job.say("retry_task", "task1") == 200
    assert (job.state, job.tasks()["task1"]) == ("RUNNING", "PENDING")
    assert job.events() == [(1001, "TASK_FAILED"), (1002, "TASK_RETRIED")]
    assert {first, second} == {"task1", "task2"}


def test_a_failed_task_is_completed_by_force(job: Flow) -> None:
    """W15."""
    job.dag({0: [1], 1: []})
    job.take(1)
    job.say("fail_task", "task1", message="x")
    assert job.say("complete_task", "task1") == 200
    assert job.tasks() == {"task0": "PENDING", "task1": "SUCCEEDED"}
    assert job.events()[-1] == (1003, "TASK_FORCED_COMPLETE")


def test_pause_and_cancel(job: Flow) -> None:
    """W16, W17, W19: a task that was cancelled while it was blocked is blocked again when it is retried."""
    job.dag({0: [1], 1: [], 2: []})
    job.tasks()
    assert job.say("pause_task", "task1") == 200
    assert job.tasks()["task1"] == "PAUSED"
    assert job.take(1) == ["task2"]
    assert job.work()["run_task"] is None
    for verb in ("pause_task", "cancel_task"):
        assert job.say(verb, "task2") == 409, "it runs"
    assert job.say("resume_task", "task1") == 200
    assert job.say("cancel_task", "task0") == 200
    assert job.tasks()["task0"] == "FAILED"
    assert job.events() == [(1000, "TASK_CANCELED")]
    assert job.say("retry_task", "task0") == 200
    assert job.tasks()["task0"] == "BLOCKED"
    assert job.say("cancel_task", "task1") == 200
    job.say("complete_task", "task2")
    assert job.state == "FAILED", "what waits for a cancelled task never runs"
    assert stats(job.client, "tasks") == {
        "blocked_count": 1,
        "pending_count": 0,
        "paused_count": 0,
        "running_count": 0,
        "succeeded_count": 1,
        "failed_count": 1,
    }
    assert stats(job.client, "jobs")["failed"] == 1


def test_a_task_that_was_taken_away_is_completed_by_nobody_else(db: Database, job: Flow) -> None:
    """The claim is in the id: a worker that was given up does not settle the claim of the next one."""
    job.dag({0: []})
    job.take(1)
    old = job.ids["task0"]
    for row in rows(db, watcher):
        kill_lease(db, row.watcher_id)
    assert supervise.reap(db, grace_s=0) == 1
    job.take(1)
    assert job.ids["task0"] != old
    assert job.ids["task0"][:8] == old[:8]
    for verb in ("complete_task", "fail_task", "keep_task_alive"):
        answer = job.client.post(f"/api/{verb}/{job.job_id}/{old}")
        assert answer.status_code == 409, verb
    assert states(db, job.job_id)[1] == (1, 0)
    assert job.say("complete_task", "task0") == 200


def test_keeping_a_task_alive_moves_the_lease(db: Database, job: Flow) -> None:
    """W20."""
    job.dag({0: []})
    job.take(1)
    kill_lease(db, task(db, (job.job_id, 2)).owner)
    assert job.say("keep_task_alive", "task0") == 200
    assert supervise.reap(db, grace_s=0) == 0
    job.say("complete_task", "task0")
    assert job.say("keep_task_alive", "task0") == 409


def test_a_running_job_is_cancelled(client: TestClient, job: Flow) -> None:
    """W21: what runs may finish, and revives nothing."""
    job.dag(SAMPLE)
    job.take(2)
    job.say("complete_task", "task3")
    assert job.on_job("cancel_job", message="not needed") == 200
    assert (job.state, job.events()) == ("FAILED", [(0, "JOB_CANCELED")])
    assert job.say("complete_task", "task4") == 200
    assert (job.state, job.tasks()["task3"]) == ("FAILED", "SUCCEEDED")
    assert job.work()["run_task"] is None
    assert job.on_job("cancel_job") == 409
    assert client.post("/api/cancel_job/nobody").status_code == 404
    pending = Flow(client)
    assert pending.on_job("cancel_job") == 200
    assert pending.work()["fetch_dag"] is None


def test_a_worker_that_cannot_fetch_the_dag_fails_the_job(job: Flow) -> None:
    """W22."""
    job.work()
    assert job.on_job("fail_job", message="no such table") == 200
    assert (job.state, job.set_dag(dag_of(DIAMOND)).status_code) == ("FAILED", 409)
    (told,) = job.client.get(f"/api/job/{job.job_id}/events").json()["events"]
    assert (told["code"], told["message"]) == (1, "no such table")


def test_what_is_known_of_a_job(client: TestClient) -> None:
    """W28, W30."""
    job = Flow(client, 3, job_name="named", tags=["type=spark", "ä"])
    job.dag({0: []})
    told = client.get(f"/api/job/{job.job_id}").json()
    assert told["created_utc"].endswith("+00:00")
    del told["created_utc"]
    assert told == {
        "job_id": job.job_id,
        "job_name": "named",
        "work_queue": 3,
        "job_input64": EVERY_BYTE,
        "job_input64_v": 200,
        "service_pointer": "http://svc",
        "state": 2,
        "state_name": "RUNNING",
        "worker": "w",
        "dag64": base64.b64encode(b"raw").decode(),
        "dagv": 3,
        "tags": ["type=spark", "ä"],
    }
    assert [one["job_id"] for one in client.get("/api/jobs?tag=type=spark").json()["jobs"]] == [job.job_id]
    assert client.get("/api/jobs?tag=type=Spark").json() == {"jobs": []}
    assert client.get("/api/jobs").status_code == 400
    for path in ("/api/job/nobody", "/api/job/nobody/tasks", "/api/job/nobody/events"):
        assert client.get(path).status_code == 404
    assert client.post(f"/api/complete_task/{job.job_id}/nobody").status_code == 404


def test_flows_of_other_workflows_are_no_jobs(db: Database, client: TestClient) -> None:
    from factories import define, start

    define(db, program="Noop")
    assert client.get(f"/api/job/{start(db)}").status_code == 404


def test_other_origins_read_the_counts_if_they_are_listed(db: Database, serve: Any) -> None:
    """W26."""
    listed = serve(db, ui_origins=("http://ui",))
    answer = listed.get("/ui/stats/jobs", headers={"Origin": "http://ui"})
    assert answer.headers["access-control-allow-origin"] == "http://ui"
    answer = listed.get("/ui/stats/jobs", headers={"Origin": "http://evil"})
    assert "access-control-allow-origin" not in answer.headers


def test_too_many_are_told_to_come_back(db: Database, serve: Any) -> None:
    """W35: 429, which is what Waterflow's worker waits for."""
    client = serve(db)
    client.app.state.service.readers._most = 0
    answer = client.get("/api/get_work/0/w")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_under_pressure_only_200_and_429_are_seen_and_all_work_is_done(db: Database, serve: Any) -> None:
    """W35: fewer places than clients."""
    client = serve(db, max_queued=1)
    ids = sorted(Flow(client).job_id for _ in range(40))
    statuses: set[int] = set()

    def fetch(worker: int) -> list[str]:
        got: list[str] = []
        while True:
            answer = client.get(f"/api/get_work/0/w{worker}")
            statuses.add(answer.status_code)
            if answer.status_code == 200:
                if (found := answer.json()["fetch_dag"]) is None:
                    return got
                got.append(found["job_id"])

    with ThreadPoolExecutor(30) as pool:
        assert sorted(job_id for got in pool.map(fetch, range(30)) for job_id in got) == ids
    assert statuses == {200, 429}


def test_the_paths_can_be_switched_off(db: Database, serve: Any) -> None:
    client = serve(db, compat=False)
    assert client.post("/api/submit_job/0", json=JOB).status_code == 404
    assert client.get("/flow/viewer/").status_code == 404


def test_no_catalogue_need_know_its_programs(db: Database, serve: Any) -> None:
    client = serve(db, check=lambda step: [f"no program is called {step.program!r}"])
    assert client.post("/api/submit_job/0", json=JOB).status_code == 200


def test_a_worker_forces_nothing(db: Database, client: TestClient) -> None:
    job = Flow(client, 1)
    client = let_in(client, db, "worker")
    assert client.post("/api/submit_job/1", json=JOB).status_code == 403
    assert client.post(f"/api/cancel_job/{job.job_id}").status_code == 403
    dag = {"tasks": {"0": {"task_name": "a"}}, "adj_list": {}}
    client.get("/api/get_work/1/w")
    assert client.post(f"/api/set_dag/1/{job.job_id}", json=dag).status_code == 200
    path = f"{job.job_id}/{client.get('/api/get_work/1/w').json()['run_task']['task_id']}"
    assert client.post(f"/api/complete_task/{path}?force=true").status_code == 403
    assert client.post(f"/api/fail_task/{path}", json={}).status_code == 200
    assert client.post(f"/api/complete_task/{path}").status_code == 403


def test_who_reaches_one_queue_reaches_no_other(db: Database, client: TestClient) -> None:
    job = Flow(client, 1)
    client = let_in(client, db, "operator", workflows=["waterflow-2"])
    assert client.get("/api/get_work/1/w").status_code == 403
    assert client.get("/api/get_work/2/w").status_code == 200
    assert client.get(f"/api/job/{job.job_id}").status_code == 404
    assert client.post(f"/api/cancel_job/{job.job_id}").status_code == 404
    assert client.post("/api/submit_job/1", json=JOB).status_code == 403
