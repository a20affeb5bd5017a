"""Remote workers as processes: the reference client, the one in bash, and what becomes of the tasks of a dead one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests
from factories import define, flow, rows, start, task
from patience import until
from processes import PENSTOCK, environment
from servers import free_port

from engine.database import Database
from engine.tables import attempt, task_stat, watcher

pytestmark = pytest.mark.by_turns
EXAMPLES = Path(__file__).parents[2] / "examples"
Penstock = Callable[..., Any]
LEASE_S = 2.0
SLOW = """
import sys, time
from penstock.worker import Worker
from penstock import Call

def slow(call: Call, seconds: float = 0.0):
    call.logger.info("begun")
    print("begun", flush=True)
    time.sleep(seconds)
    return {"seq": call.exec_seq, "up": list(call.upstream)}

Worker(sys.argv[1], programs={"slow": slow}, threads=4, lease_s=float(sys.argv[2])).run()
"""


@pytest.fixture
def service(penstock: Penstock, url: str) -> str:
    """The address of a service with one watcher beside it, which takes no task but takes care of all of them."""
    port = free_port()
    penstock("serve", "--db", url, "--port", port, "--no-check-programs")
    penstock("watch", "--db", url, "--lease", LEASE_S, "--interval", 0.2, "--queue", "elsewhere")
    address = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        try:
            return requests.get(f"{address}/healthz", timeout=5).ok
        except requests.ConnectionError:
            return False

    until(is_up, 40)
    return address


@contextmanager
def worker(service: str, lease_s: float = LEASE_S) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", SLOW, service, str(lease_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            yield process
        finally:
            process.kill()


def is_enlisted(db: Database, count: int = 2) -> None:
    """The watcher and `count - 1` remote workers: before that, the watcher would refuse what it does not know."""
    until(lambda: sum(row.state == "running" for row in rows(db, watcher)) >= count, 40)


def test_a_worker_ends_gracefully(service: str, db: Database) -> None:
    """W34: at SIGTERM it finishes what it has begun, hands nothing on twice, and leaves."""
    define(db, steps=2, program="slow")
    with worker(service) as remote:
        is_enlisted(db)
        flow_id = start(db, parameters={"seconds": 1.0})
        assert remote.stdout is not None
        assert remote.stdout.readline() == "begun\n"
        remote.terminate()
        assert remote.wait(10) == 0
    assert task(db, (flow_id, 1)).exec_status == 3
    assert json.loads(task(db, (flow_id, 1)).result) == {"seq": 1, "up": []}
    (kept,) = [row for row in rows(db, attempt) if row.task_exec_seq == 1]
    assert task(db, (flow_id, 2)).exec_status == 0, "whoever comes next runs it"
    assert kept.log.endswith("begun\n")


def test_tasks_of_a_killed_worker_go_back_after_its_lease(service: str, db: Database) -> None:
    define(db, program="slow")
    with worker(service) as first, worker(service) as second:
        is_enlisted(db, 3)
        flow_id = start(db, parameters={"seconds": 3.0})
        until(lambda: task(db, (flow_id, 1)).exec_status == 1)
        claim = task(db, (flow_id, 1))
        pid = next(row.pid for row in rows(db, watcher) if row.watcher_id == claim.owner)
        dead = first if first.pid == pid else second
        other = second if dead is first else first
        assert dead.stdout is not None
        assert other.stdout is not None
        dead.stdout.readline()
        dead.kill()
        assert other.stdout.readline() == "begun\n", "the other one has it now"
        until(lambda: flow(db, flow_id).flow_status == 3, 30)
        late = {"flow_id": flow_id, "exec_seq": 1, "claim_id": claim.claim_id, "attempt": 1}
        path = f"{service}/api/v1/workers/{claim.owner}/settle"
        before = task(db, (flow_id, 1))
        answer = requests.post(path, json=[{"claim": late, "outcome": "finish", "result": "late"}], timeout=20)
        assert (answer.status_code, answer.json()["answers"][0]["answer"]) == (409, "stale")
        assert task(db, (flow_id, 1)) == before
        other.terminate()
        other.wait(15)
    outcomes = {(row.outcome, row.accepted) for row in rows(db, attempt)}
    assert outcomes == {("stale", False), ("finished", True)}
    assert (task(db, (flow_id, 1)).claims, task(db, (flow_id, 1)).losses) == (2, 1)


def test_a_worker_outlives_its_service(url: str, db: Database, penstock: Penstock) -> None:
    """What it has computed while the service is away is settled when that is back."""
    define(db, program="slow")
    port = free_port()
    command = ("serve", "--db", url, "--port", port, "--no-check-programs")
    first = penstock(*command)
    address = f"http://127.0.0.1:{port}"
    with worker(address, lease_s=60) as remote:
        is_enlisted(db, 1)
        flow_id = start(db, parameters={"seconds": 2.0})
        assert remote.stdout is not None
        assert remote.stdout.readline() == "begun\n"
        first.kill()
        penstock(*command)
        until(lambda: flow(db, flow_id).flow_status == 3, 60)
        remote.terminate()
        remote.wait(20)
    assert task(db, (flow_id, 1)).claims == 1


def test_the_command_runs_what_there_is_and_ends(service: str, db: Database) -> None:
    """W33: it exits with 0 when drained. The watcher serves another queue."""
    define(db, steps=3, program="EchoRandomTimeSleep")
    flows = [start(db) for _ in range(3)]
    with_queue = "UPDATE kr_task_stat SET queue = 'far'"
    with db.transaction() as conn:
        conn.exec_driver_sql(with_queue)
    command = [*PENSTOCK, "work", "--url", service, "--queue", "far", "--threads", "4", "--until-idle"]
    done = subprocess.run(command, timeout=90, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    assert {flow(db, flow_id).flow_status for flow_id in flows} == {3}


def test_the_worker_in_bash(service: str, db: Database) -> None:
    define(db, steps=2, program="greet")
    flows = [start(db, parameters={"name": 'O\'Hara "x"'}) for _ in range(2)]
    with db.transaction() as conn:
        conn.exec_driver_sql("UPDATE kr_task_stat SET queue = 'shell'")
    env = environment(PENSTOCK_URL=service)
    command = ["bash", str(EXAMPLES / "worker.sh"), "greet", "shell"]
    done = subprocess.run(command, timeout=90, capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr
    assert {flow(db, flow_id).flow_status for flow_id in flows} == {3}
    results = {json.loads(row.result) for row in rows(db, task_stat)}
    assert 'task 1 was given {"name": "O\'Hara \\"x\\""}' in results
    assert {row.state for row in rows(db, watcher) if row.host == "bash"} == {"stopped"}
    assert len((EXAMPLES / "worker.sh").read_text().splitlines()) <= 30
