"""The description, tried by machine without a token; with one, tests/register/test_fuzz.py does."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import requests
from factories import define, enlisted, rows, start
from letting_in import make_token

from engine.database import Database
from engine.tables import command, flow_stat
from register.app import create_app
from register.server import Background
from register.settings import Settings

pytestmark = [pytest.mark.by_turns, pytest.mark.slow, pytest.mark.timeout(500)]
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance"


def test_thousands_of_requests_without_a_token(db: Database, tmp_path: Path) -> None:
    define(db, "w", steps=2)
    enlisted(db)
    flow_id = start(db)
    settings = Settings(port=0, auth=True, request_timeout_s=10.0)
    root = make_token(db, "admin", "root")
    document = tmp_path / "openapi.json"
    with Background(create_app(db, settings), settings) as service:
        described = requests.get(f"{service.url}/openapi.json", headers={"Authorization": f"Bearer {root}"}, timeout=20)
        document.write_text(json.dumps(described.json()))
        asked = [
            *(sys.executable, "-m", "schemathesis.cli", "run", str(document), "--url", service.url),
            *("--phases", "coverage", "--seed", "1", "--workers", "1"),
            *("--checks", CHECKS, "--exclude-path", "/api/v1/events/stream", "--no-color"),
        ]
        done = subprocess.run(asked, capture_output=True, text=True, cwd=tmp_path, timeout=450)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert [row.task_flow_id for row in rows(db, flow_stat)] == [flow_id], "nobody changed anything"
    assert {row.outcome for row in rows(db, command) if row.verb != "create_token"} <= {"refused"}
