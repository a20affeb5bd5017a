"""Waterflow's own kind of client against a service of ours: only its base URL was changed."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
import requests
from factories import rows
from patience import until
from servers import free_port
from waterflow_client import DIAMOND, Client, Workers

from engine.database import Database
from engine.tables import flow_stat, task_stat

pytestmark = pytest.mark.by_turns

Penstock = Callable[..., Any]
JOBS = 100


@pytest.fixture
def service(penstock: Penstock, url: str) -> str:
    """The address of a `penstock serve`, which knows no program of Waterflow's."""
    port = free_port()
    penstock("serve", "--db", url, "--port", port)
    address = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        try:
            return requests.get(f"{address}/healthz", timeout=5).ok
        except requests.ConnectionError:
            return False

    until(is_up, 40)
    return address


@pytest.mark.slow
def test_a_hundred_jobs_of_ten_tasks_through_eight_workers(
    service: str, db: Database, kind: str, record_property: Callable[[str, object], None]
) -> None:
    client = Client(service)
    began = time.monotonic()
    jobs = [client.submit_job(0, f"job {number}", bytes([number])).json()["job_id"] for number in range(JOBS)]
    submitted = time.monotonic()
    workers = Workers(service, 0, DIAMOND, JOBS)
    workers.run(100)
    took_s = time.monotonic() - submitted
    assert sorted(workers.fetched) == sorted(jobs), "each job's DAG is asked for once"
    names = sorted(f"task{index}" for index in DIAMOND)
    assert sorted(workers.done) == sorted((job, name) for job in jobs for name in names), "each task is done once"
    assert workers.begun_too_soon == []
    assert set(workers.statuses) == {200}
    assert {row.flow_status for row in rows(db, flow_stat)} == {3}
    done = rows(db, task_stat)
    assert [row.exec_status for row in done] == [3] * (JOBS * 11)
    assert {row.claims for row in done} == {1}, "nothing was handed out twice"
    stats = requests.get(f"{service}/ui/stats/jobs", timeout=20).json()
    assert stats == {"pending_count": 0, "fetching_count": 0, "running_count": 0, "succeeded": JOBS, "failed": 0}
    figures = f"{kind}: {JOBS} jobs submitted in {submitted - began:.2f} s, {JOBS * 11} items in {took_s:.2f} s"
    record_property("figures", figures)
    print(figures, dict(workers.statuses))
    client.close()
