"""The description is valid, complete, and true."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from factories import claim, define, enlisted, flow, settle_as, settling, start
from jsonschema import Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.testclient import TestClient

from engine.database import Database
from register.problems import KINDS, OTHER, URN

pytestmark = pytest.mark.by_turns


@pytest.fixture
def document(client: TestClient) -> dict[str, Any]:
    document: dict[str, Any] = client.get("/openapi.json").json()
    return document


def fits(document: dict[str, Any], operation: dict[str, Any], answer: Any) -> None:
    """The answer is one that the description promises."""
    promised = operation["responses"][str(answer.status_code)]
    media = answer.headers.get("content-type", "*/*")
    schema = promised["content"].get(media, promised["content"].get("*/*"))
    assert schema is not None, media
    for name, header in promised.get("headers", {}).items():
        assert name in answer.headers or not header["required"]
    if media.endswith("json"):
        whole = {"components": document["components"], **schema["schema"]}
        Draft202012Validator(whole, format_checker=FormatChecker()).validate(answer.json())


def test_it_is_valid(document: dict[str, Any]) -> None:
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


def test_every_path_is_described(client: TestClient, document: dict[str, Any]) -> None:
    routes: dict[str, set[str]] = {}
    for route in client.app.routes:  # type: ignore[attr-defined]
        routes.setdefault(re.sub(r":\w+}", "}", route.path), set()).update(route.methods - {"HEAD"})
    assert {path: {verb.upper() for verb in verbs} for path, verbs in document["paths"].items()} == routes


def test_every_described_path_answers_as_described(client: TestClient, db: Database, document: dict[str, Any]) -> None:
    define(db, "w", 2)
    enlisted(db)
    flow_id = start(db, parameters={"x": 1}, run_key="r")
    settle_as(db, [settling.Settlement(claim(db)[0], "suspend", error="broke")])
    token = client.post("/api/v1/tokens", json={"name": "t", "role": "viewer"}).json()
    values = {"task_id": "w", "flow_id": flow_id, "seq": "1", "name": "default", "watcher_id": "nobody", "wait_id": "x"}
    values["token_id"] = token["token_id"]
    bodies = {
        ("post", "/api/v1/session"): {"token": token["token"]},
        ("post", "/api/v1/tokens"): {"name": "u", "role": "admin"},
    }
    values["version_id"] = flow(db, flow_id).version_id
    for path, verbs in document["paths"].items():
        if path.startswith(("/api/", "/flow/")):  # these have tests of their own
            continue
        for verb, operation in verbs.items():
            if path.endswith("/stream"):  # has no end: test_stream.py
                continue
            answer = client.request(verb.upper(), path.format(**values), json=bodies.get((verb, path)))
            assert answer.status_code == 200 or (verb != "get" and path.startswith("/api")), (verb, path)
            fits(document, operation, answer)
            fits(document, operation, client.request("TRACE", path.format(**values)))


BROKEN = [
    ("/register/{task_id}", "POST", "/register/nobody", {}),
    ("/register/{task_id}", "POST", "/register/w", {"json": {"priority": 99}}),
    ("/register/{task_id}", "POST", "/register/w", {"content": b" " * 1_100_000}),
    ("/flows", "GET", "/flows?limit=0", {}),
    ("/flows/{flow_id}", "GET", "/flows/nobody", {}),
    ("/flows/{flow_id}/recover", "POST", "/flows/nobody/recover", {}),
]


@pytest.mark.parametrize("path, method, address, options", BROKEN)
def test_problems_are_as_described(
    client: TestClient, document: dict[str, Any], path: str, method: str, address: str, options: dict[str, Any]
) -> None:
    answer = client.request(method, address, **options)
    operation = document["paths"][path][method.lower()]
    fits(document, operation, answer)
    assert answer.json()["type"] in operation["responses"][str(answer.status_code)]["description"]


def test_every_kind_of_problem_is_described_somewhere(client: TestClient, document: dict[str, Any]) -> None:
    written = str(document["paths"])
    silent = {OTHER.name, "not-found"}  # of no path in particular
    assert {kind.name for kind in KINDS if f"`{URN}{kind.name}`" not in written} == silent


def test_the_front_page_names_the_paths(client: TestClient) -> None:
    body = client.get("/").json()
    assert body["service"] == "penstock register"
    assert {"POST /register/{task_id}", "GET /flows", "POST /echo"} <= set(body["paths"])


def test_echo(client: TestClient) -> None:
    for body, kind in (
        (b"\x00\xff" * 1000, "application/octet-stream"),
        (b'{"a": 1}', "application/json"),
        (b"", "x/y"),
    ):
        answer = client.post("/echo", content=body, headers={"Content-Type": kind})
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, body, kind)


@pytest.mark.parametrize("media", ["text/html", "Text/HTML; charset=utf-8", "application/xhtml+xml", "image/svg+xml"])
def test_an_echo_is_no_page(client: TestClient, media: str) -> None:
    answer = client.post("/echo", content=b"<script>1</script>", headers={"Content-Type": media})
    assert answer.headers["content-type"].startswith("text/plain")


def test_no_echo_unless_asked_for(db: Database, serve: Any) -> None:
    assert serve(db).post("/echo").status_code == 404


def test_the_manual_lists_every_kind_of_problem(document: dict[str, Any]) -> None:
    docs = Path(__file__).parents[2] / "docs"
    names = ("http-api.md", "api.md", "remote-workers.md", "compatibility.md")
    manual = "".join((docs / name).read_text() for name in names)
    for kind in KINDS:
        code = "4xx" if kind is OTHER else str(kind.code)
        assert f"| `{kind.name}` | {code} |" in manual
    for path, verbs in document["paths"].items():
        assert all(f"`{verb.upper()} {path}" in manual for verb in verbs)
