"""TLS: who does not get on with the handshake holds a place among the connections no longer than a slow head would."""

from __future__ import annotations

import contextlib
import socket
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from certificates import certify, outer_address

from engine.database import Database
from register.app import create_app
from register.handshake import Handshake
from register.server import Background
from register.settings import Settings

pytestmark = [pytest.mark.by_turns, pytest.mark.timeout(60)]
PATIENCE_S = 0.5


def secured(folder: Path, **given: object) -> Settings:
    cert, key = certify(folder, str(given.get("host", "127.0.0.1")))
    given = {"port": 0, "auth": True, "head_timeout_s": PATIENCE_S, **given}
    return Settings(tls_cert=str(cert), tls_key=str(key), **given)  # type: ignore[arg-type]


def connect(url: str) -> socket.socket:
    place = urlsplit(url)
    return socket.create_connection((place.hostname, place.port), 10)


def is_ended(connection: socket.socket) -> bool:
    """Waits for it."""
    with contextlib.suppress(ConnectionError):
        while connection.recv(1_000):
            pass
    return True


def test_requests_come_over_tls(db: Database, tmp_path: Path) -> None:
    """At once with the handshake, on a connection that is kept, and with a body that comes in parts."""
    settings = secured(tmp_path, echo=True)
    with Background(create_app(db, settings), settings) as running, requests.Session() as kept:
        for _ in range(3):
            answer = kept.get(f"{running.url}/healthz", verify=settings.tls_cert, timeout=10)
            assert (answer.status_code, answer.headers["Strict-Transport-Security"]) == (200, "max-age=31536000")
        body = b"x" * 900_000
        assert kept.post(f"{running.url}/echo", data=body, verify=settings.tls_cert, timeout=10).content == body
        context = ssl.create_default_context(cafile=settings.tls_cert)
        with connect(running.url) as plain, context.wrap_socket(plain, server_hostname="127.0.0.1") as spoken:
            spoken.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert spoken.recv(1_000).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_who_does_not_get_on_with_the_handshake_is_cut_off(db: Database, tmp_path: Path, sent: bytes) -> None:
    settings = secured(tmp_path)
    with Background(create_app(db, settings), settings) as running, connect(running.url) as slow:
        began = time.monotonic()
        slow.sendall(sent)
        assert is_ended(slow)
        assert time.monotonic() - began < 5, "asyncio alone would wait for a minute"


def test_a_crowd_of_half_open_handshakes_keeps_others_out_no_longer(db: Database, tmp_path: Path) -> None:
    settings = secured(tmp_path, max_connections=5, head_timeout_s=1.0)
    with Background(create_app(db, settings), settings) as running, contextlib.ExitStack() as stack:
        began = time.monotonic()
        slow = [stack.enter_context(connect(running.url)) for _ in range(5)]
        with connect(running.url) as beyond:
            assert is_ended(beyond)
            assert time.monotonic() - began < 1.0, "those in a handshake are counted"
        assert all(map(is_ended, slow))
        left = time.monotonic()
        answer = requests.get(f"{running.url}/healthz", verify=settings.tls_cert, timeout=10)
        assert answer.status_code == 200
        assert time.monotonic() - left < 5


def test_handshakes_of_one_address_leave_room_for_others(db: Database, tmp_path: Path) -> None:
    settings = secured(tmp_path, host=outer_address(), head_timeout_s=10.0, max_connections=9, max_connections_each=2)
    with Background(create_app(db, settings), settings) as running, contextlib.ExitStack() as stack:
        for _ in range(2):
            stack.enter_context(connect(running.url))
        with connect(running.url) as third:
            began = time.monotonic()
            assert is_ended(third)
            assert time.monotonic() - began < 5


def test_a_stop_does_not_wait_for_handshakes(db: Database, tmp_path: Path) -> None:
    settings = secured(tmp_path, head_timeout_s=10.0)
    with Background(create_app(db, settings), settings) as running, connect(running.url) as slow:
        slow.sendall(b"\x16")
        assert requests.get(f"{running.url}/healthz", verify=settings.tls_cert, timeout=10).status_code == 200
        known = running._server.server_state.connections
        assert any(isinstance(one, Handshake) for one in known), "the stop knows whom to end"
        began = time.monotonic()
        running.stop()
        assert is_ended(slow)
        assert time.monotonic() - began < 2.5
