"""A database server that dies and comes back: it costs time and nothing else. Processes as users start them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
import servers
from factories import insert_task, rows
from patience import until
from processes import Service

from engine import migrate
from engine.database import Database, open_database
from engine.tables import task_stat

pytestmark = pytest.mark.slow
LEASE_S = 2.0
TASKS = 50


@pytest.fixture(params=["mariadb", "postgresql"])
def server(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    """A server of the test's own, which nobody else misses."""
    started = servers.start(request.param, durable=True)
    if started is None:
        pytest.skip(f"no {request.param} server on this machine")
    yield started
    started.stop()


@pytest.fixture
def home(server: servers.Server) -> Iterator[Database]:
    opened = open_database(server.create("outage"))
    migrate.init(opened, samples=True)
    yield opened
    opened.close()


def statuses(db: Database) -> list[int]:
    return [row.exec_status for row in rows(db, task_stat)]


def lines(service: Service) -> int:
    return len(service.log.read_text().splitlines())


def test_a_dead_server_costs_time_and_no_work(server: servers.Server, home: Database, tmp_path: Path) -> None:
    """Killed with 50 tasks in flight, and away for three leases, in which all of the programs end."""
    url = home.address
    knobs = ("--db", url, "--lease", LEASE_S, "--heartbeat", 0.5, "--interval", 0.2, "--workers", TASKS // 2)
    with ExitStack() as stack:
        port = servers.free_port()
        example = f"http://127.0.0.1:{port}/register/example"
        serve = stack.enter_context(Service(tmp_path / "serve.log", "serve", "--db", url, "--port", port))
        watchers = [stack.enter_context(Service(tmp_path / f"{n}.log", "watch", *knobs)) for n in range(2)]
        everyone = [serve, *watchers]
        for one in watchers:
            one.said("watcher started")
        until(lambda: servers.answers(port))
        for number in range(TASKS):
            insert_task(home, f"f{number}", program="EchoParamTimeSleep", parameters='{"SLEEP_TIME_SECOND": 4}')
        until(lambda: statuses(home) == [1] * TASKS)
        before = [lines(one) for one in everyone]
        server.kill()
        home.engine.dispose()
        away_at = time.monotonic()
        assert requests.post(example, timeout=20).status_code == 503
        time.sleep(3 * LEASE_S)
        server.revive()
        back_at = time.monotonic()
        late = insert_task(home, "late", program="Noop")
        until(lambda: [row for row in rows(home, task_stat) if row.task_flow_id == late[0] and row.exec_status == 3])
        assert time.monotonic() - back_at < 10
        until(lambda: set(statuses(home)) == {3})
        found = rows(home, task_stat)
        assert {(row.claims, row.losses, row.attempt) for row in found} == {(1, 0, 1)}
        said = [lines(one) - was for one, was in zip(everyone, before, strict=True)]
        assert requests.post(example, timeout=20).status_code == 200
        minutes = 1 + (time.monotonic() - away_at) // 60
        assert max(said) <= 6 * minutes, [one.log.read_text() for one in everyone]
        assert [one.process.poll() for one in everyone] == [None] * 3
        assert [one.terminate() for one in everyone] == [0] * 3
