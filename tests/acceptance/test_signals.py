"""Signals to the services, and what they exit with."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from factories import insert_task, rows, task
from patience import until
from processes import PENSTOCK, Service, environment
from proxy import Proxy
from sqlalchemy import func, insert, select

from engine.database import Database
from engine.tables import task_stat

Start = Callable[..., Service]
on_one_database = pytest.mark.parametrize("kind", ["sqlite"])
QUICK = ("--interval", 0.1, "--workers", 4)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(*arguments: object) -> Service:
            return stack.enter_context(Service(tmp_path / "service.log", *arguments))

        yield begin


@pytest.fixture
def silence() -> Iterator[str]:
    """A URL that is listened to and never answered: whoever asks it is stuck."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"


def count(db: Database, status: int) -> int:
    with db.read() as conn:
        return int(conn.scalar(select(func.count()).where(task_stat.c.exec_status == status)) or 0)


def sleeper(db: Database, seconds: float) -> Any:
    return insert_task(db, program="EchoParamTimeSleep", parameters=f'{{"SLEEP_TIME_SECOND": {seconds}}}')


def running(db: Database, key: Any) -> None:
    until(lambda: task(db, key).exec_status == 1)


@on_one_database
def test_nothing_is_claimed_after_the_first_signal(db: Database, start: Start) -> None:
    ready = {"task_exec_seq": 1, "depends_task_exec_seq": -1, "task_id": "w", "task_seq": 1, "program": "Noop"}
    ready |= {"wait_count": 0, "exec_status": 0, "task_priority": 0, "parameters": "{}"}
    with db.transaction() as conn:
        conn.execute(insert(task_stat), [{**ready, "task_flow_id": f"f{number}"} for number in range(6_000)])
    service = start("watch", "--db", db.address, *QUICK)
    until(lambda: count(db, 3) > 50)
    service.process.terminate()
    with db.read() as conn:
        told_at: Any = db.now(conn)
    assert service.process.wait(30) == 0
    with db.read() as conn:
        last: Any = conn.scalar(select(func.max(task_stat.c.started_ts)))
    assert (last - told_at).total_seconds() < 0.5
    assert count(db, 0) > 0, "there was more to claim"
    assert count(db, 1) == 0


@on_one_database
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_a_signal_lets_tasks_finish_and_a_second_does_not(db: Database, start: Start, number: signal.Signals) -> None:
    service = start("watch", "--db", db.address, *QUICK, "--grace", 60)
    key = sleeper(db, 3)
    running(db, key)
    time.sleep(0.7)  # what has not begun is handed back
    service.process.send_signal(number)
    assert service.process.wait(30) == 0
    assert task(db, key).exec_status == 3
    service = start("watch", "--db", db.address, *QUICK, "--grace", 60)
    again = insert_task(db, "again", program="EchoParamTimeSleep", parameters='{"SLEEP_TIME_SECOND": 60}')
    running(db, again)
    service.process.send_signal(number)
    service.said("watcher stopping")
    service.process.send_signal(number)
    assert service.process.wait(30) == 0
    row = task(db, again)
    assert (row.exec_status, row.attempt, row.reason) == (0, 0, "released")


@on_one_database
def test_the_third_signal_ends_it_as_if_unhandled(db: Database, start: Start, silence: str) -> None:
    service = start("watch", "--db", db.address, *QUICK, "--grace", 60, "--http-network", "127.0.0.1")
    key = insert_task(db, program="HTTPGetRequest", parameters=f'{{"URL": "{silence}", "TIMEOUT_SECOND": 60}}')
    running(db, key)
    for _ in range(2):
        service.process.terminate()
        time.sleep(0.3)
    assert service.process.poll() is None, "the program has not come back yet"
    service.process.terminate()
    assert service.process.wait(30) == -signal.SIGTERM


@on_one_database
def test_a_watcher_started_by_nohup_outlives_its_terminal(db: Database, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        command = [*PENSTOCK, "watch", "--db", db.address, "--interval", "0.1"]
        process = subprocess.Popen(["nohup", *command], stderr=log, stdout=log, stdin=log, env=environment())
    key = sleeper(db, 0.1)
    until(lambda: task(db, key).exec_status == 3)
    process.send_signal(signal.SIGHUP)
    again = insert_task(db, "again", program="Noop")
    until(lambda: task(db, again).exec_status == 3)
    process.terminate()
    assert process.wait(30) == 0


@on_one_database
def test_nobody_need_read_the_log(db: Database) -> None:
    """As when it is piped into a program that ends."""
    reader, writer = os.pipe()
    command = [*PENSTOCK, "watch", "--db", db.address, "--interval", "0.1"]
    process = subprocess.Popen(command, stderr=writer, env=environment())
    os.close(writer)
    os.read(reader, 10)
    os.close(reader)
    bad = insert_task(db, program="nobody has it")  # which is worth a line
    until(lambda: task(db, bad).exec_status == 2)
    good = insert_task(db, "good", program="Noop")
    until(lambda: task(db, good).exec_status == 3)
    process.terminate()
    assert process.wait(30) == 0


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_what_could_not_be_handed_back_is_told_by_the_exit_code(db: Database, start: Start, url: str) -> None:
    with Proxy(url) as wire:
        service = start("watch", "--db", wire.url, *QUICK, "--grace", 0)
        key = sleeper(db, 60)
        running(db, key)
        wire.cut()
        service.process.terminate()
        assert service.process.wait(60) == 6
        assert "1 tasks could not be handed back" in service.log.read_text()
    assert task(db, key).exec_status == 1
    assert len(rows(db, task_stat)) == 1


@pytest.mark.parametrize("kind", ["postgresql"])
def test_a_watcher_keeps_within_its_connections(db: Database, start: Start) -> None:
    """Four of its own, four for programs that read results, one for the heartbeat, one that listens for hints."""
    start("watch", "--db", db.address, "--interval", 0.1, "--workers", 30)
    where = "datname = current_database() AND application_name <> 'penstock/test'"
    for number in range(300):
        insert_task(db, f"f{number}", program="Noop")
    most = 0
    while count(db, 3) < 300:
        with db.read() as conn:
            found = conn.exec_driver_sql(f"SELECT count(*) FROM pg_stat_activity WHERE {where}").scalar()
            most = max(most, int(found or 0))
    assert 2 <= most <= 10
