"""The reference client of remote workers, in a thread, against a service on a socket."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from factories import define, flow, insert_task, rows, start, task
from patience import until

from engine.database import Database
from engine.tables import attempt, task_log, task_stat
from penstock import Call, Fail, Outcome, Plan, Task
from penstock.worker import Worker
from penstock.worker_session import GivenUp, ServiceRefused, Session, back_off_s
from programs.catalogue import build_catalogue
from register.app import create_app
from register.server import Background
from register.settings import Settings

pytestmark = pytest.mark.by_turns


@pytest.fixture
def service(db: Database) -> Iterator[str]:
    settings = Settings(port=0)
    with Background(create_app(db, settings), settings) as server:
        yield server.url


def run(service: str, **programs: Any) -> Worker:
    """Until nothing is left to claim."""
    worker = Worker(service, programs=programs, threads=3, grace_s=1.0)
    worker.run(until_idle=True, handle_signals=False)
    return worker


def test_programs_get_what_they_get_everywhere(db: Database, service: str) -> None:
    calls: list[Call] = []
    found: list[Any] = []

    def first(call: Call, size: int, colour: str = "none") -> Any:
        calls.append(call)
        found.append(dict(call.results))
        return {"size": size, "colour": colour}

    define(db, steps=2, program="first", param1_key="size", param1_value="3")
    flow_id = start(db, parameters={"colour": "red", "unknown": "to the program"})
    worker = run(service, first=first)
    assert flow(db, flow_id).flow_status == 3
    assert json.loads(task(db, (flow_id, 1)).result) == {"size": 3, "colour": "red"}
    assert found == [{}, {1: {"size": 3, "colour": "red"}}]
    assert (calls[0].flow_parameters["unknown"], calls[0].attempt, calls[0].fence) == ("to the program", 1, 1)
    assert (worker.finished, worker.refused) == (2, 0)


def test_programs_reach_what_the_worker_was_told(db: Database, service: str) -> None:
    own = service.removeprefix("http://")
    told = json.dumps({"URL": f"{service}/healthz"})
    programs = build_catalogue(autoload=False)
    for networks, flow_id in (((), "refused"), ((own,), "allowed")):
        key = insert_task(db, flow_id, program="HTTPGetRequest", parameters=told, wait_count=0, max_attempts=3)
        Worker(service, programs=programs, http_networks=networks).run(until_idle=True, handle_signals=False)
        row = task(db, key)
        assert (row.exec_status, row.attempt) == (3 if networks else 2, 1)
        assert networks or f"--http-network {own}" in row.error
    with pytest.raises(ValueError, match="'localhost' is no network"):
        Worker(service, programs=programs, http_networks=["localhost"])


def test_whatever_a_program_does_is_settled(db: Database, service: str) -> None:
    def breaks() -> None:
        raise SystemExit("gone")

    def refuses() -> Outcome:
        return Fail("no", retry=False)

    def typed(number: int) -> int:
        return number

    def huge() -> str:
        return "x" * 1_100_000

    def odd() -> Any:
        return object()

    def plans() -> Outcome:
        return Plan([Task("typed", {"number": 1}, name="a"), Task("typed", {"number": 2}, after=["a"])])

    programs = {"breaks": breaks, "refuses": refuses, "typed": typed, "huge": huge, "odd": odd, "plans": plans}
    for name in programs:
        define(db, name, program=name)
    flows = {name: start(db, name) for name in programs}
    run(service, **programs)
    found = {name: task(db, (flow_id, 1)) for name, flow_id in flows.items()}
    assert {name: (row.exec_status, row.reason) for name, row in found.items()} == {
        "breaks": (2, "failed"),
        "refuses": (2, "failed"),
        "typed": (2, "bad parameters"),
        "huge": (2, "bad result"),
        "odd": (2, "bad result"),
        "plans": (3, None),
    }
    assert found["breaks"].error == "SystemExit: gone"
    assert "number" in found["typed"].error
    assert flow(db, flows["plans"]).flow_status == 3
    (trace,) = [row.traceback for row in rows(db, attempt) if row.task_flow_id == flows["breaks"]]
    assert "SystemExit" in trace


def test_a_try_that_takes_too_long_is_given_up(db: Database, service: str) -> None:
    release = threading.Event()

    def hangs() -> None:
        release.wait(30)

    insert_task(db, "f", program="hangs", wait_count=0, timeout_s=0.3)
    try:
        run(service, hangs=hangs)
        assert (task(db, ("f", 1)).exec_status, task(db, ("f", 1)).reason) == (2, "timed out")
    finally:
        release.set()


def test_what_is_logged_can_be_read_while_it_runs(db: Database, service: str) -> None:
    go_on = threading.Event()

    def talks(call: Call) -> None:
        call.logger.info("at first")
        go_on.wait(30)
        call.logger.info("at last")

    define(db, program="talks")
    start(db)
    worker = threading.Thread(target=lambda: run(service, talks=talks))
    worker.start()
    try:
        until(lambda: any("at first" in row.text for row in rows(db, task_log)))
    finally:
        go_on.set()
        worker.join(30)
    assert rows(db, task_log) == []
    (kept,) = rows(db, attempt)
    first, last = kept.log.splitlines()
    assert (first.endswith("at first"), last.endswith("at last")) == (True, True)


def test_an_interrupted_task_goes_back_uncharged(db: Database, service: str) -> None:
    begun = threading.Event()

    def sleeps(call: Call) -> None:
        begun.set()
        call.sleep(60)

    define(db, program="sleeps")
    flow_id = start(db)
    worker = Worker(service, programs={"sleeps": sleeps}, threads=1, grace_s=0.2)
    running = threading.Thread(target=lambda: worker.run(handle_signals=False))
    running.start()
    assert begun.wait(30)
    worker.stop()
    running.join(30)
    row = task(db, (flow_id, 1))
    assert (row.exec_status, row.reason, row.attempt) == (0, "released", 0)


def test_a_task_that_was_taken_away_is_told_to_stop(db: Database, service: str) -> None:
    stopped = threading.Event()

    def waits(call: Call) -> None:
        call.stop.wait(30)
        stopped.set()

    define(db, program="waits")
    flow_id = start(db)
    worker = Worker(service, programs={"waits": waits}, threads=1, lease_s=2.0)
    running = threading.Thread(target=lambda: worker.run(handle_signals=False))
    running.start()
    until(lambda: task(db, (flow_id, 1)).exec_status == 1)
    with db.transaction() as conn:
        conn.execute(task_stat.update().values(exec_status=9))
    assert stopped.wait(30)
    until(lambda: worker.refused == 1)
    worker.stop()
    running.join(30)
    assert task(db, (flow_id, 1)).exec_status == 9


def test_patience() -> None:
    """W35: min(60, 3 + 2^n) seconds, and up to 1.5 more."""
    for failures, least in ((1, 5), (2, 7), (5, 35), (6, 60), (2_000, 60)):
        assert least <= back_off_s(failures) <= least + 1.5


def test_who_is_not_wanted_hears_why(db: Database, service: str) -> None:
    with pytest.raises(ServiceRefused, match="queues"):
        Worker(service, programs={"p": lambda: None}, queues=["a,b"]).run(handle_signals=False)
    with pytest.raises(GivenUp):
        Session("http://127.0.0.1:1", None, lambda failures: 0.0).ask("/x/claim", {}, tries=3)
