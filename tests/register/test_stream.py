"""Events as they happen, over a socket: in order, each once, gone on with after a break, and ended with the service."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException
from typing import Any

import pytest
import requests
from factories import define, rows, start
from sqlalchemy import insert

from engine import history
from engine.access import Actor
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.dialects.clock import time_now
from engine.history import Event
from engine.tables import event
from register import following
from register.app import create_app
from register.server import Background
from register.settings import Settings

pytestmark = pytest.mark.by_turns


@pytest.fixture
def server(db: Database) -> Iterator[Background]:
    settings = Settings(port=0, request_timeout_s=1.0)
    with Background(create_app(db, settings), settings) as running:
        yield running


class Stream:
    """A client that reads in a thread."""

    def __init__(self, url: str, query: str = "", **headers: str) -> None:
        self._http = HTTPConnection(url.removeprefix("http://"), timeout=30)
        self._http.request("GET", f"/api/v1/events/stream{query}", headers=headers)
        self._answer = self._http.getresponse()
        assert self._answer.headers["content-type"].startswith("text/event-stream")
        self.found: list[dict[str, Any]] = []
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError, HTTPException, ValueError):
            while line := self._answer.readline():
                if line.startswith(b"data: "):
                    self.found.append(json.loads(line[6:]))
        self.ended.set()

    def wait_for(self, count: int) -> list[str]:
        deadline = time.monotonic() + 20
        while len(self.found) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        return [one["what"] for one in self.found]

    def close(self) -> None:
        if self._http.sock is not None:
            self._http.sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._answer.close()
        self._http.close()


@pytest.fixture
def follow(server: Background) -> Iterator[Callable[..., Stream]]:
    with contextlib.ExitStack() as stack:

        def begin(query: str = "", **headers: str) -> Stream:
            stream = Stream(server.url, query, **headers)
            stack.callback(stream.close)
            return stream

        yield begin


def happen(db: Database, *what: str, flow_id: str | None = None) -> None:
    for one in what:
        db.transact(lambda conn, one=one: history.record(conn, [Event(one, flow_id)]))  # type: ignore[misc]


def test_events_come_as_they_happen_and_beyond_the_time_of_a_request(
    db: Database, follow: Callable[..., Stream]
) -> None:
    happen(db, "before")
    stream = follow()
    happen(db, "a", "b")
    assert stream.wait_for(2) == ["a", "b"]
    time.sleep(1.2)  # longer than a request may take
    happen(db, "c")
    assert stream.wait_for(3) == ["a", "b", "c"]


def test_a_stream_goes_on_after_the_last_event_that_was_seen(db: Database, follow: Callable[..., Stream]) -> None:
    happen(db, *"abcde")
    numbers = [row.event_id for row in rows(db, event)]
    stream = follow(**{"Last-Event-ID": str(numbers[1])})
    assert stream.wait_for(3) == ["c", "d", "e"]
    happen(db, "f")
    assert stream.wait_for(4) == ["c", "d", "e", "f"]
    by_query = follow(f"?after={numbers[0] - 1}")
    assert by_query.wait_for(6) == ["a", "b", "c", "d", "e", "f"]


def test_a_stream_of_one_flow(db: Database, follow: Callable[..., Stream]) -> None:
    define(db)
    mine, other = start(db), start(db)
    stream = follow(f"?flow_id={mine}")
    carry_out(db, Ask("pause", other), Actor("ann"))
    carry_out(db, Ask("pause", mine), Actor("ann"))
    assert stream.wait_for(1) == ["task paused"]
    assert {one["task_flow_id"] for one in stream.found} == {mine}


def test_an_event_that_is_committed_late_comes_in_its_place(
    db: Database, follow: Callable[..., Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another transaction took the number before, and commits after."""
    happen(db, "first")
    [first] = [row.event_id for row in rows(db, event)]
    stream = follow()

    def put(number: int, what: str) -> None:
        with db.transaction() as conn:
            conn.execute(insert(event).values(event_id=first + number, event_ts=time_now(conn), what=what))

    put(2, "third")
    time.sleep(3 * following.EVERY_S)
    assert stream.found == [], "it waits for the second"
    put(1, "second")
    assert stream.wait_for(2) == ["second", "third"]
    monkeypatch.setattr(following, "GAP_S", 0.5)
    put(4, "fifth")
    assert stream.wait_for(3) == ["second", "third", "fifth"], "the fourth was undone"


def test_streams_end_when_the_service_stops(db: Database) -> None:
    settings = Settings(port=0)
    server = Background(create_app(db, settings), settings)
    server.start()
    stream = Stream(server.url)
    happen(db, "a")
    assert stream.wait_for(1) == ["a"]
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 2.5, "it does not wait for the grace of requests"
    assert stream.ended.wait(5)
    stream.close()


def test_a_stream_has_a_head_that_ends(db: Database, server: Background) -> None:
    with requests.Session() as kept:
        for _ in range(2):  # over the same connection: nothing follows the head
            answer = kept.head(f"{server.url}/api/v1/events/stream", timeout=5)
            assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
            assert answer.headers["Content-Type"].startswith("text/event-stream")
        assert kept.head(f"{server.url}/api/v1/events/stream?flow_id=nobody", timeout=5).status_code == 404


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"headers": {"Last-Event-ID": "x"}}, 422),
        ({"params": {"after": "-1"}}, 422),
        ({"params": {"flow_id": "nobody"}}, 404),
        ({"params": {"flow": "x"}}, 422),
    ],
)
def test_a_bad_request_is_no_stream(server: Background, options: Any, code: int) -> None:
    answer = requests.get(f"{server.url}/api/v1/events/stream", timeout=5, **options)
    assert (answer.status_code, answer.headers["content-type"]) == (code, "application/problem+json")
