"""Paths that want to be elsewhere: the gate is behind the routing, and no path is another one in disguise."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from factories import define, rows, start
from letting_in import bearer, make_token

from engine.database import Database
from engine.tables import flow_stat
from register.app import create_app
from register.server import Background
from register.settings import Settings

pytestmark = [pytest.mark.by_turns, pytest.mark.timeout(100)]

UP = [
    "..",
    "%2e%2e",
    "%2E.",
    ".%2e",
    "%252e%252e",
    "..%00",
    "%c0%ae%c0%ae",
    "..;",
    "....",
    ".",
    "%2e",
    "..%09",
    "%uff0e%uff0e",
]
SLASH = ["/", "%2f", "%2F", "%5c", "\\", "//", "%252f", "%c0%af", "/./"]
TARGET = ["flows", "openapi.json", "healthz", "api/v1/tokens", "etc/passwd"]
START = ["/healthz", "/flows/x", "/readyz", "/api/v1/session"]
CORPUS = [
    f"{start}{slash}{up}{slash}{target}"
    for (up, slash), (start, target) in zip(
        itertools.product(UP, SLASH), itertools.cycle(itertools.product(START, TARGET)), strict=False
    )
] + [
    f"{prefix}{target}{suffix}"
    for prefix in ("//", "/%2e/", "/./", "/;/", "/%2f", "/healthz;/", "/%00/", "/HEALTHZ/../", "/healthz%2f..%2f")
    for target in ("flows", "api/v1/tokens")
    for suffix in ("", "/", "%00", ".json", "%20", "?/healthz", "#/healthz", ";a=b")
]


@pytest.fixture
def running(db: Database) -> Iterator[str]:
    settings = Settings(port=0, auth=True)
    with Background(create_app(db, settings), settings) as service:
        yield service.url


def asked(url: str, method: str, paths: list[str], header: str = "") -> Iterator[tuple[str, int, bytes]]:
    """The paths to the letter, as no client library sends them, over one connection after another."""
    place = urlsplit(url)
    for path in paths:
        with socket.create_connection((place.hostname, place.port), 20) as connection:
            head = (
                f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n{header}\r\n"
            )
            connection.sendall(head.encode())
            said = b"".join(iter(lambda: connection.recv(65_536), b""))
            yield path, int(said.split()[1]), said


def test_no_path_gets_around_the_gate(db: Database, running: str) -> None:
    assert len(set(CORPUS)) >= 200
    define(db, "w")
    flow_id = start(db, "w")
    for path, code, said in asked(running, "GET", CORPUS):
        assert code in (400, 401, 404, 405), (path, code)
        assert flow_id.encode() not in said
        assert b"root:" not in said


def test_no_path_leads_beyond_the_reach(db: Database, running: str) -> None:
    define(db, "load")
    define(db, "pay")
    header = f"Authorization: {bearer(make_token(db, 'operator', workflows=['load']))['Authorization']}\r\n"
    inside = [f"/register/load{slash}{up}{slash}pay" for up, slash in itertools.product(UP, SLASH)]
    for path, code, _ in asked(running, "POST", inside, header):
        assert code in (400, 404, 422), (path, code)
    assert rows(db, flow_stat) == []
