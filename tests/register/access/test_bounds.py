"""How much everybody may ask for, from where, with which headers, and in how much time."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from certificates import outer_address
from factories import define, rows
from letting_in import bearer, make_token, seen_from
from starlette.testclient import TestClient

from engine.database import Database
from engine.errors import BadRequest
from engine.tables import flow_stat
from register.access.buckets import Buckets, network_of
from register.access.exposure import Exposed, is_loopback
from register.app import create_app
from register.server import Background, listen
from register.settings import Settings

pytestmark = [pytest.mark.by_turns, pytest.mark.timeout(60)]


def test_a_bucket_refills_and_forgets_the_silent() -> None:
    now = 0.0
    buckets = Buckets(2, 3, most=2, clock=lambda: now)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    now = 0.25
    assert buckets.take("a") == pytest.approx(0.25)
    now = 0.5
    assert buckets.take("a") == 0
    buckets.give_back("a")
    assert buckets.take("a") == 0
    now = 100.0
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    buckets.take("b")
    buckets.take("c")
    assert len(buckets) == 2


@pytest.mark.parametrize(
    "one, other, same",
    [
        ("1.2.3.4", "1.2.3.4", True),
        ("1.2.3.4", "1.2.3.5", False),
        ("2001:db8::1", "2001:db8::ffff", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:1.2.3.4", "1.2.3.4", True),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) == same


def test_guessing_is_slowed_down_and_others_go_on(db: Database, asked: TestClient) -> None:
    shown = make_token(db)
    assert asked.get("/flows", headers=bearer(shown)).status_code == 200
    answers = [asked.get("/flows", headers=bearer(f"pst_{number:043}")) for number in range(40)]
    assert answers[0].status_code == 401
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert answers[-1].json()["type"] == "urn:penstock:problem:too-many-requests"
    assert asked.get("/flows", headers=bearer(shown)).status_code == 200, "known tokens are not punished for others"
    elsewhere = seen_from(asked, "9.9.9.9")
    assert elsewhere.get("/flows", headers=bearer("pst_" + "B" * 43)).status_code == 401


def test_changes_are_limited_for_each_token(db: Database, serve: Any) -> None:
    client = serve(db, auth=True, writes_per_s=5)
    define(db)
    shown = make_token(db)
    codes = [client.post("/register/w", headers=bearer(shown)).status_code for _ in range(30)]
    assert codes[:5] == [200] * 5
    assert 429 in codes
    assert len(rows(db, flow_stat)) == codes.count(200)
    assert client.get("/flows", headers=bearer(shown)).status_code == 200


def test_open_paths_are_limited_too(db: Database, asked: TestClient) -> None:
    codes = [asked.post("/api/v1/call_back", json={"token": "x", "payload": 1}).status_code for _ in range(150)]
    assert 429 in codes
    assert asked.get("/healthz").status_code == 200


# --- headers ----------------------------------------------------------------------------------------------------------


def test_answers_carry_what_protects_browsers(db: Database, asked: TestClient) -> None:
    for path, code in (("/healthz", 200), ("/flows", 401), ("/nothing", 404)):
        headers = asked.get(path).headers
        assert asked.get(path).status_code == code
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert headers["Referrer-Policy"] == "no-referrer"
        assert "Strict-Transport-Security" not in headers
    shown = asked.get("/flows", headers=bearer(make_token(db)))
    assert shown.headers["Cache-Control"] == "no-store"


def test_other_origins_are_let_in_by_name_alone(db: Database, serve: Any) -> None:
    client = serve(db, auth=True, origins=("https://page.example",))
    shown = bearer(make_token(db))
    listed = client.get("/flows", headers={**shown, "Origin": "https://page.example"})
    assert listed.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert "Access-Control-Allow-Credentials" not in listed.headers
    for origin in ("https://evil.example", "http://page.example", "https://page.example:444", "null"):
        assert "Access-Control-Allow-Origin" not in client.get("/flows", headers={**shown, "Origin": origin}).headers
    asking = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    asking["Access-Control-Request-Headers"] = "authorization,content-type,idempotency-key"
    preflight = client.options("/register/w", headers=asking)
    assert preflight.status_code == 200
    assert "authorization" in preflight.headers["Access-Control-Allow-Headers"].lower()
    assert client.options("/register/w", headers={**asking, "Origin": "https://evil.example"}).status_code == 400
    closed = serve(db, auth=True).get("/flows", headers={**shown, "Origin": "https://page.example"})
    assert "Access-Control-Allow-Origin" not in closed.headers


@pytest.mark.parametrize(
    "origin", ["*", "page.example", "https://page.example/", "https://*.example", "null", "file://"]
)
def test_what_is_no_origin_is_refused(db: Database, origin: str) -> None:
    with pytest.raises(BadRequest, match="origin"):
        create_app(db, Settings(origins=(origin,)))


def test_without_authentication_other_sites_change_nothing(db: Database, serve: Any) -> None:
    client = serve(db, origins=("https://page.example",))
    define(db)
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        answer = client.post("/register/w", headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (403, "urn:penstock:problem:cross-site")
    assert rows(db, flow_stat) == []
    for headers in ({}, {"Origin": "http://testserver"}, {"Origin": "https://page.example"}):
        assert client.post("/register/w", headers=headers).status_code == 200


def test_without_authentication_no_name_of_the_internet_leads_here(db: Database, serve: Any) -> None:
    client = serve(db)
    for host in ("rebound.evil.example", "localhost.evil.example:8000", "127.0.0.1.evil.example", "evil.example."):
        answer = client.get("/flows", headers={"Host": host})
        assert (answer.status_code, answer.json()["type"]) == (421, "urn:penstock:problem:wrong-host"), host
    for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "register", "app.localhost", ""):
        assert client.get("/flows", headers={"Host": host}).status_code == 200, host


# --- proxies ----------------------------------------------------------------------------------------------------------


def address_of(db: Database, client: TestClient, **headers: str) -> Any:
    """From where a refused change came, as the record of it says."""
    from factories import sql

    from engine import jsontext
    from engine.tables import event

    sql(db, "DELETE FROM kr_event")
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    assert client.post("/register/w", headers=sent).status_code == 401
    began = time.monotonic()
    while not (found := rows(db, event)):
        assert time.monotonic() - began < 10
    return jsontext.loads_object(found[0].details)["address"]


def test_only_the_proxy_says_where_a_request_came_from(db: Database, serve: Any) -> None:
    client = serve(db, auth=True, behind_proxy=("10.0.0.0/24", "::1"))
    proxy, other = seen_from(client, "10.0.0.7"), seen_from(client, "10.0.1.7")
    assert address_of(db, proxy, X_Forwarded_For="1.2.3.4") == "1.2.3.4"
    assert address_of(db, proxy, X_Forwarded_For="6.6.6.6, 1.2.3.4") == "1.2.3.4", "the first was made up"
    assert address_of(db, proxy, X_Forwarded_For="evil") == "10.0.0.7"
    assert address_of(db, proxy) == "10.0.0.7"
    assert address_of(db, other, X_Forwarded_For="1.2.3.4") == "10.0.1.7"
    direct = seen_from(serve(db, auth=True), "127.0.0.1")
    assert address_of(db, direct, X_Forwarded_For="1.2.3.4") == "127.0.0.1"
    assert "Strict-Transport-Security" in proxy.get("/healthz", headers={"X-Forwarded-Proto": "https"}).headers
    assert "Strict-Transport-Security" not in other.get("/healthz", headers={"X-Forwarded-Proto": "https"}).headers


def test_with_a_proxy_that_asks_nobody_else_is_let_in(db: Database, serve: Any) -> None:
    client = serve(db, auth=False, host="0.0.0.0", behind_proxy=("10.0.0.7",))
    assert seen_from(client, "10.0.0.7").get("/flows").status_code == 200
    assert seen_from(client, "10.0.0.8").get("/flows").status_code == 403
    assert seen_from(client, "10.0.0.7").get("/flows", headers={"Host": "a.example"}).status_code == 200
    assert seen_from(client, "127.0.0.1").get("/flows", headers={"Host": "a.example"}).status_code == 421


@pytest.mark.parametrize(
    "host, near",
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("", False),
        ("10.0.0.1", False),
        ("nowhere.invalid", False),
    ],
)
def test_what_is_reached_from_elsewhere_asks_for_tokens(host: str, near: bool) -> None:
    assert is_loopback(host) is near
    assert Settings(host=host).needs_token is not near
    if not near:
        with pytest.raises(Exposed, match="--behind-proxy"):
            listen(Settings(host=host, port=0, auth=False))


@pytest.mark.parametrize("given", [{}, {"clear_text": True}, {"tls_cert": "cert.pem"}])
def test_nobody_listens_to_others_in_clear_text_by_oversight(given: dict[str, Any]) -> None:
    out = Settings(host="0.0.0.0", port=0, **given)
    if given:
        with listen(out):
            pass
        with pytest.raises(Exposed, match="--no-auth"):
            listen(replace(out, auth=False))
    else:
        with pytest.raises(Exposed, match=r"(?s)--tls-cert FILE --tls-key FILE.*--behind-proxy ADDRESS.*127.0.0.1"):
            listen(out)


def test_a_named_proxy_lets_others_in_so_tokens_are_asked_for() -> None:
    assert Settings(behind_proxy=("127.0.0.1",)).needs_token
    assert not Settings(behind_proxy=("127.0.0.1",), auth=False).needs_token


def test_a_proxy_in_front_is_reason_enough(db: Database) -> None:
    with listen(Settings(host="0.0.0.0", port=0, auth=False, behind_proxy=("10.0.0.7",))):
        pass


# --- slow clients, large heads ----------------------------------------------------------------------------------------

IMPATIENT = Settings(port=0, auth=True, head_timeout_s=0.5)


def test_slow_clients_are_hung_up_on_and_nobody_waits_for_them(db: Database) -> None:
    shown = make_token(db)
    with Background(create_app(db, IMPATIENT), IMPATIENT) as running:
        place = urlsplit(running.url)
        slow = [socket.create_connection((place.hostname, place.port), 20) for _ in range(100)]
        try:
            for connection in slow[:50]:
                connection.sendall(b"GET /flows HTTP/1.1\r\nHost: x\r\nX-A: ")
            began = time.monotonic()
            assert requests.get(f"{running.url}/flows", headers=bearer(shown), timeout=10).status_code == 200
            assert time.monotonic() - began < 5
            for connection in slow[:50]:
                assert connection.recv(1000).startswith(b"HTTP/1.1 400")
            for connection in slow[50:]:
                assert connection.recv(1000) == b""
        finally:
            for connection in slow:
                connection.close()


def test_a_head_that_drips_is_given_up(db: Database) -> None:
    with Background(create_app(db, IMPATIENT), IMPATIENT) as running:
        place = urlsplit(running.url)
        with socket.create_connection((place.hostname, place.port), 20) as slow, requests.Session() as kept:
            assert kept.get(f"{running.url}/healthz", timeout=10).status_code == 200
            began, said = time.monotonic(), b""
            slow.settimeout(0.1)
            for letter in b"GET /healthz HTTP/1.1\r\nHost: " + b"x" * 1_000:
                try:
                    slow.sendall(bytes([letter]))
                    said = slow.recv(1000)
                    break
                except TimeoutError:
                    continue
            assert said.startswith(b"HTTP/1.1 400")
            assert time.monotonic() - began < 10
            assert kept.get(f"{running.url}/healthz", timeout=10).status_code == 200, "one that is kept alive stays"


# --- connections ------------------------------------------------------------------------------------------------------


def connect(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), 10)


def said_by(connection: socket.socket, request: bytes = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") -> bytes:
    with contextlib.suppress(ConnectionError):  # it may be closed already
        connection.sendall(request)
    said = b""
    with contextlib.suppress(ConnectionError):
        while not said.endswith(b"}") and (more := connection.recv(65_536)):
            said += more
    return said


@pytest.mark.parametrize("is_near", [True, False])
def test_so_many_connections_and_no_more(db: Database, is_near: bool) -> None:
    """From this machine as many as there may be; from another address as many as each may have."""
    settings = Settings(port=0, max_connections=3, max_connections_each=2)
    if not is_near:
        settings = Settings(port=0, host=outer_address(), clear_text=True, max_connections=4, max_connections_each=3)
    with Background(create_app(db, settings), settings) as running, contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(running.url)) for _ in range(3)]
        assert all(said_by(one).startswith(b"HTTP/1.1 200") for one in held)
        with connect(running.url) as beyond:
            head, _, body = beyond.recv(65_536).partition(b"\r\n\r\n")
            assert beyond.recv(1) == b"", "it is closed"
        assert head.startswith(b"HTTP/1.1 503")
        assert b"Retry-After: 1" in head
        problem = json.loads(body)
        assert (problem["type"], bool(problem["instance"])) == ("urn:penstock:problem:busy", True)
        assert all(said_by(one).startswith(b"HTTP/1.1 200") for one in held), "who was there first stays"
        held[0].close()
        began = time.monotonic()
        while requests.get(f"{running.url}/healthz", timeout=10).status_code != 200:
            assert time.monotonic() - began < 10


def test_a_proxy_brings_the_connections_of_many(db: Database) -> None:
    proxy = outer_address()
    settings = Settings(port=0, host=proxy, max_connections_each=1, behind_proxy=(proxy,))
    with Background(create_app(db, settings), settings) as running, contextlib.ExitStack() as stack:
        for _ in range(3):
            assert said_by(stack.enter_context(connect(running.url))).startswith(b"HTTP/1.1 200")


def test_who_does_not_read_the_answer_is_hung_up_on(db: Database) -> None:
    settings = Settings(port=0, request_timeout_s=0.5, max_connections=1)
    with Background(create_app(db, settings), settings) as running, socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        place = urlsplit(running.url)
        lazy.connect((place.hostname, place.port))
        lazy.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 40)
        began = time.monotonic()
        while requests.get(f"{running.url}/healthz", timeout=10).status_code != 200:
            assert time.monotonic() - began < 10, "there is room for one, and it is held"
        assert time.monotonic() - began > 0.2


def test_a_head_has_its_limit(db: Database) -> None:
    with Background(create_app(db, IMPATIENT), IMPATIENT) as running:
        place = urlsplit(running.url)
        with socket.create_connection((place.hostname, place.port), 20) as connection:
            connection.sendall(b"GET /flows HTTP/1.1\r\nHost: x\r\nX-A: " + b"x" * 100_000)
            assert connection.recv(1000).startswith(b"HTTP/1.1 400")
        assert requests.get(f"{running.url}/healthz", timeout=10).status_code == 200
