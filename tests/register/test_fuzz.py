"""What the description promises, tried by machine: thousands of requests made of it, and none surprises the service."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from factories import define, enlisted, start
from letting_in import make_token

from engine.database import Database
from register.app import create_app
from register.server import Background
from register.settings import Settings

pytestmark = [pytest.mark.by_turns, pytest.mark.slow]
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
    "unsupported_method",
)
"""Not that every request which fits its schema is accepted: a cursor that no list made, a filter that names nothing, or
a pattern that is none fits it, too."""


@pytest.fixture
def service(db: Database) -> Iterator[str]:
    settings = Settings(port=0, auth=True, request_timeout_s=10.0)
    with Background(create_app(db, settings), settings) as server:
        yield server.url


def test_thousands_of_requests_with_an_admins_token(service: str, db: Database, tmp_path: Path) -> None:
    define(db, "w", steps=2)
    enlisted(db)
    for _ in range(3):
        start(db)
    report = tmp_path / "report.json"
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{service}/openapi.json"),
        *("--phases", "coverage", "--seed", "1", "--workers", "1"),
        *("--checks", ",".join(CHECKS), "--exclude-path", "/api/v1/events/stream"),
        *("-H", f"Authorization: Bearer {make_token(db, 'admin')}"),
        *("--report", "ndjson", "--report-ndjson-path", str(report), "--no-color"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=540)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert " generated" in done.stdout
    assert json.loads(report.read_text().splitlines()[0]), "it ran"
