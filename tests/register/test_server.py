"""The service as a server: real sockets, real clients, a real end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from factories import define, rows

from engine.database import Database
from engine.tables import flow_stat, task_stat
from register.app import create_app
from register.server import Background, listen
from register.settings import Settings

ANY_PORT = Settings(port=0, echo=True)


@pytest.fixture
def url_of_it(db: Database) -> Iterator[str]:
    with Background(create_app(db, ANY_PORT), ANY_PORT) as running:
        yield running.url


def test_register_over_a_socket(db: Database, url_of_it: str) -> None:
    define(db, "a/b ü", 3)
    answer = requests.post(f"{url_of_it}/register/a%2Fb%20%C3%BC", timeout=10)
    assert answer.json()["taskId"] == "a/b ü"
    found = requests.get(f"{url_of_it}/flows/{answer.json()['taskFlowId']}", timeout=10).json()
    assert [task["status"] for task in found["tasks"]] == ["WAIT"] * 3
    assert requests.head(f"{url_of_it}/flows", timeout=10).status_code == 200


def test_a_large_body_gets_its_answer(db: Database, url_of_it: str) -> None:
    define(db)
    began = time.monotonic()
    answer = requests.post(f"{url_of_it}/register/w", data=b" " * 10_000_000, timeout=10)
    assert answer.status_code == 413
    assert time.monotonic() - began < 10
    assert requests.post(f"{url_of_it}/register/w", timeout=10).status_code == 200


def test_a_declared_length_is_enough_to_refuse(db: Database, url_of_it: str) -> None:
    place = urlsplit(url_of_it)
    with socket.create_connection((place.hostname, place.port), 10) as connection:
        connection.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000000\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


def test_clients_that_hang_up_harm_nobody(db: Database, url_of_it: str) -> None:
    define(db, "w", 2)
    place = urlsplit(url_of_it)
    request = b"POST /register/w HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"

    def hang_up(length: int) -> int:
        with socket.create_connection((place.hostname, place.port), 10) as connection:
            connection.sendall(request[: len(request) - length])
        return 200

    def stay(_: int) -> int:
        return requests.post(f"{url_of_it}/register/w", timeout=20).status_code

    with ThreadPoolExecutor(30) as pool:
        codes = list(pool.map(lambda n: hang_up(n % 70) if n % 3 == 0 else stay(n), range(150)))
    assert set(codes) == {200}
    flows, tasks = rows(db, flow_stat), rows(db, task_stat)
    assert len(flows) >= 100
    assert len(tasks) == 2 * len(flows)


def test_an_address_in_use(db: Database) -> None:
    with listen(ANY_PORT) as taken:
        settings = Settings(port=taken.getsockname()[1])
        with pytest.raises(OSError, match="in use"):
            Background(create_app(db, settings), settings)


def test_it_ends_while_clients_hold_connections(db: Database) -> None:
    running = Background(create_app(db, ANY_PORT), ANY_PORT)
    running.start()
    place = urlsplit(running.url)
    with socket.create_connection((place.hostname, place.port), 10) as half, requests.Session() as idle:
        half.sendall(b"POST /register/w HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n{")
        assert idle.get(f"{running.url}/healthz", timeout=10).status_code == 200
        began = time.monotonic()
        running.stop()
        assert time.monotonic() - began < 5
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("penstock-register")]


@pytest.mark.parametrize("kind", ["sqlite"])
def test_who_waits_until_the_end_is_told_that_it_is_the_end(db: Database) -> None:
    """The database answers nobody: somebody else writes."""
    define(db)
    running = Background(create_app(db, ANY_PORT), ANY_PORT)
    running.start()
    with ThreadPoolExecutor(1) as pool, db.transaction():
        asked = pool.submit(requests.post, f"{running.url}/register/w", timeout=20)
        time.sleep(0.5)
        running.stop()
        answer = asked.result()
    for thread in threading.enumerate():  # what was queued is committed now, after all: not into the next test
        if thread.name == "penstock-register-commit":
            thread.join(20)
    assert len(rows(db, flow_stat)) == 1, "as the answer says, it may be"
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:penstock:problem:stopping")
    assert "Idempotency-Key" in answer.json()["detail"]
    assert int(answer.headers["Retry-After"]) >= 1


PROGRAM = """
import sys
from engine.database import open_database
from register.app import create_app
from register.server import serve
from register.settings import Settings

settings = Settings(port=int(sys.argv[2]))
serve(create_app(open_database(sys.argv[1]), settings), settings)
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_the_main_thread_takes_signals(url: str, db: Database, name: str) -> None:
    define(db)
    with listen(ANY_PORT) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-c", PROGRAM, url, str(port)], stderr=subprocess.DEVNULL)
    try:
        assert _answer_of(port).status_code == 200
        process.send_signal(getattr(signal, name))
        began = time.monotonic()
        process.wait(10)
        assert time.monotonic() - began < 5
    finally:
        process.kill()
        process.wait()
    assert len(rows(db, flow_stat)) == 1


def _answer_of(port: int) -> Any:
    deadline = time.monotonic() + 20
    while True:
        try:
            return requests.post(f"http://127.0.0.1:{port}/register/w", timeout=10)
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
