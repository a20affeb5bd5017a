"""Bad input at the door, over real sockets: refused quickly and cheaply, never a mistake of the service's own."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import requests
from factories import define, flow, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from engine import jsontext
from engine.database import Database
from engine.errors import BadRequest
from engine.flows import MAX_PARAMETERS, Registration
from engine.tables import flow_stat
from register.app import create_app
from register.server import Background
from register.settings import Settings

pytestmark = pytest.mark.by_turns

MIB = 1024 * 1024
QUICK = Settings(port=0, request_timeout_s=1.0)


@pytest.fixture
def address(db: Database) -> Iterator[str]:
    define(db)
    with Background(create_app(db, QUICK), QUICK) as running:
        yield running.url


def raw(address: str, *parts: bytes, seconds: float = 10.0) -> bytes:
    """What the service says to these bytes; empty if it hangs up without a word."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), seconds) as connection:
        said = b""
        try:
            for part in parts:
                connection.sendall(part)
            while more := connection.recv(65_536):
                said += more
                if b"\r\n\r\n" in said:
                    break
        except (ConnectionError, TimeoutError):
            pass
        return said


HUGE = {
    "10 MB": b'{"parameters": {"x": "' + b"x" * 10_000_000 + b'"}}',
    "100,000 parameters": json.dumps({"parameters": {f"k{number}": 1 for number in range(100_000)}}).encode(),
    "50,000 parameters": json.dumps({"parameters": {f"k{number}": 1 for number in range(50_000)}}).encode(),
    "depth 10,000": b'{"parameters": {"x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
    "a million brackets": b"[" * 1_000_000,
    "NaN": b'{"parameters": {"x": NaN}}',
    "5,000 digits": b'{"priority": ' + b"9" * 5_000 + b"}",
    "a million digits": b'{"parameters": {"x": ' + b"9" * 1_000_000 + b"}}",
    "no UTF-8": b'{"runKey": "\xff\xfe"}',
    "UTF-16": '{"runKey": "x"}'.encode("utf-16"),
    "byte order mark": b"\xef\xbb\xbf{}",
    "repeated key": b'{"runKey": "a", "runKey": "b"}',
    "lone surrogate": b'{"runKey": "\\ud800"}',
    "NUL": b"\x00",
    "multipart": b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nb\r\n--x--',
    "compressed": b"\x1f\x8b\x08\x00" + b"\x00" * 1_000,
}


@pytest.mark.parametrize("name", HUGE)
def test_bad_bodies_cost_little(db: Database, address: str, name: str) -> None:
    process = psutil.Process()
    requests.get(f"{address}/healthz", timeout=10)
    before = process.memory_info().rss
    began = time.perf_counter()
    answer = requests.post(f"{address}/register/w", data=HUGE[name], timeout=20)
    took_s = time.perf_counter() - began
    assert answer.status_code in (413, 422), answer.text[:300]
    assert answer.json()["status"] == "failed"
    assert took_s < 5  # a sane machine takes a hundredth of it
    assert process.memory_info().rss - before < 100 * MIB
    assert len(answer.content) < 5_000
    assert not rows(db, flow_stat)


PATHS = {
    "%00": 422,
    "a%00b": 422,
    "x" * 2_000: 422,
    "%2F" * 300: 422,
    "%2F..%2F..%2Fetc%2Fpasswd": 404,
    "../flows": 404,
    "%FF%FE": 422,
    "%ED%A0%80": 422,
    "nobody%0D%0ASet-Cookie:%20x=1": 404,
    "%E2%80%AEexe": 404,
    "W": 404,
    "w%20": 404,
    "%s%n%x": 404,
}


@pytest.mark.parametrize("path", PATHS)
def test_odd_paths(db: Database, address: str, path: str) -> None:
    said = raw(address, f"POST /register/{path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode())
    assert int(said.split()[1]) == PATHS[path], said[:300]
    assert b"Set-Cookie" not in said.split(b"\r\n\r\n")[0]
    assert not rows(db, flow_stat)


HEAD = b"POST /register/w HTTP/1.1\r\nHost: x\r\n"
TRICKS = {
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}{}",
    "length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "a length in words": HEAD + b"Content-Length: two\r\n\r\n{}",
    "a length of 30 digits": HEAD + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "a chunk without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
    "a header of 1 MB": HEAD + b"X: " + b"x" * 1_000_000 + b"\r\n\r\n",
    "NUL in a header": HEAD + b"X: a\x00b\r\nContent-Length: 0\r\n\r\n",
    "a folded header": HEAD + b"X: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500,
    "a key twice": HEAD + b"Idempotency-Key: a\r\nIdempotency-Key: b\r\nContent-Length: 0\r\n\r\n",
    "an empty key": HEAD + b"Idempotency-Key: \r\nContent-Length: 0\r\n\r\n",
    "a key of 256": HEAD + b"Idempotency-Key: " + b"k" * 256 + b"\r\nContent-Length: 0\r\n\r\n",
    "a key with a control": HEAD + b"Idempotency-Key: a\x7f\r\nContent-Length: 0\r\n\r\n",
    "a key beyond ASCII": HEAD + "Idempotency-Key: ü\r\nContent-Length: 0\r\n\r\n".encode(),
}
ACCEPTABLE = {"a folded header", "NUL in a header", "length and chunks", "a header of 1 MB"}
"""What one parser refuses and another reads as a request like any other."""


@pytest.mark.parametrize("name", TRICKS)
def test_tricks_in_headers(db: Database, address: str, name: str) -> None:
    said = raw(address, TRICKS[name])
    code = int(said.split()[1]) if said else 400
    assert code < 500 or code == 504, said[:300]  # 504: it waited for a body that does not come
    if name not in ACCEPTABLE:
        assert code >= 400
        assert not rows(db, flow_stat)
    assert requests.get(f"{address}/healthz", timeout=10).status_code == 200


def test_a_body_that_drips_is_given_up(db: Database, address: str) -> None:
    began = time.monotonic()
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port), 20) as slow:
        slow.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        said = slow.recv(65_536)
    assert b" 504 " in said.splitlines()[0]
    assert time.monotonic() - began < 15
    assert not rows(db, flow_stat)


def test_two_hundred_connections_that_say_nothing_keep_nobody_waiting(db: Database, address: str) -> None:
    place = urlsplit(address)
    idle = [socket.create_connection((place.hostname, place.port), 10) for _ in range(200)]
    try:
        assert requests.post(f"{address}/register/w", timeout=10).status_code == 200
    finally:
        for connection in idle:
            connection.close()


def test_more_clients_than_the_queue_holds_are_told_to_come_back(db: Database) -> None:
    define(db)
    narrow = Settings(port=0, max_queued=2, group_size=1)
    with Background(create_app(db, narrow), narrow) as running, ThreadPoolExecutor(60) as pool:
        ask = [pool.submit(requests.post, f"{running.url}/register/w", timeout=30) for _ in range(300)]
        answers = [one.result() for one in ask]
        assert {answer.status_code for answer in answers} <= {200, 503}
        assert all(answer.headers["Retry-After"] for answer in answers if answer.status_code == 503)
        assert requests.post(f"{running.url}/register/w", timeout=30).status_code == 200
    assert len(rows(db, flow_stat)) == 1 + sum(answer.status_code == 200 for answer in answers)


@pytest.mark.parametrize("count, fits", [(MAX_PARAMETERS, True), (MAX_PARAMETERS + 1, False)])
def test_the_number_of_parameters_has_a_limit(db: Database, client: TestClient, count: int, fits: bool) -> None:
    define(db)
    answer = client.post("/register/w", json={"parameters": {f"p{number}": number for number in range(count)}})
    assert answer.status_code == (200 if fits else 422), answer.text
    assert fits or "put many values into a list" in answer.json()["detail"]


@pytest.mark.parametrize("over", [0, 1])
def test_the_size_of_the_parameters_has_a_limit(over: int) -> None:
    value = "x" * (jsontext.MAX_RESULT_BYTES - len('{"x":""}') + over)
    if not over:
        Registration("w", {"x": value})
        return
    with pytest.raises(BadRequest, match="1,048,577 bytes"):
        Registration("w", {"x": value})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(parameters=st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_whatever_is_taken_comes_back_as_it_was(db: Database, client: TestClient, parameters: dict[str, Any]) -> None:
    if not rows(db, flow_stat):
        _define_once(db)
    body = json.dumps({"parameters": parameters})
    answer = client.post("/register/w", content=body)
    assert answer.status_code in (200, 422), answer.text
    if answer.status_code == 200:
        kept = flow(db, answer.json()["taskFlowId"]).parameters
        assert json.loads(kept) == parameters if parameters else kept in (None, "{}")


@FEW
@given(body=st.binary(max_size=200))
def test_arbitrary_bytes_are_never_our_mistake(db: Database, client: TestClient, body: bytes) -> None:
    assert client.post("/register/w", content=body).status_code in (200, 404, 422)


def _define_once(db: Database) -> None:
    from engine.tables import task_definition

    if not rows(db, task_definition):
        define(db)
