"""Markup in every text that people may give: it comes back as text, and a browser runs none of it.

xss.json is the corpus. Each entry, where a browser takes it for markup, sets the title of the page to 31337.
"""

from __future__ import annotations

import copy
import http.server
import itertools
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from factories import enlisted, start
from sqlalchemy import insert
from starlette.testclient import TestClient

from engine.access import Actor
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.tables import attempt, task_definition, task_option, workflow
from register.access.guarded import GuardedRoute
from register.app import create_app
from register.server import Background
from register.settings import Settings

pytestmark = pytest.mark.by_turns

CORPUS: list[str] = json.loads((Path(__file__).parent / "xss.json").read_text())
HOSTILE = CORPUS[0]
PAGES = {"/docs", "/flow/viewer/"}
KINDS = ("application/json", "application/problem+json", "text/plain; charset=utf-8", "text/css; charset=utf-8")
STREAM = "text/event-stream; charset=utf-8"


@pytest.fixture
def flow_id(db: Database) -> str:
    """A flow of a workflow with a step for each of the corpus, and texts wherever one may stand."""
    texts = itertools.cycle(CORPUS)
    steps = range(1, len(CORPUS) + 1)
    with db.transaction() as conn:
        conn.execute(insert(workflow).values(task_id=HOSTILE, description="".join(CORPUS), owner=HOSTILE))
        columns = [{"task_id": HOSTILE, "task_seq": seq, "program": next(texts)} for seq in steps]
        conn.execute(insert(task_definition), columns)
        names = [
            {"task_id": HOSTILE, "task_seq": seq, "name": text, "parameters": json.dumps({text: text})}
            for seq, text in zip(steps, CORPUS, strict=True)
        ]
        conn.execute(insert(task_option), names)
    made = start(db, HOSTILE, run_key=HOSTILE, parameters=dict(zip(CORPUS, reversed(CORPUS), strict=True)))
    enlisted(db, CORPUS[1])
    for seq, text in zip(steps, CORPUS[:10], strict=False):
        carry_out(db, Ask("pause", made, {"seqs": [seq]}, text), Actor(text))
    with db.transaction() as conn:
        tried = {
            "task_flow_id": made,
            "task_exec_seq": 1,
            "claim_id": "x",
            "claim_no": 1,
            "outcome": "finished",
            "accepted": True,
            "log": "\n".join(CORPUS),
        }
        conn.execute(insert(attempt).values(**tried))
    return made


def test_the_corpus() -> None:
    assert len(set(CORPUS)) >= 120
    assert all("31337" in text for text in CORPUS)


def test_what_is_read_is_no_page(db: Database, client: TestClient, flow_id: str) -> None:
    values = {"flow_id": flow_id, "task_id": HOSTILE, "seq": "1"}
    query = urlencode({"flow_name": HOSTILE, "timeperiod": HOSTILE, "step_name": CORPUS[2]})
    read = 0
    for route in client.app.routes:  # type: ignore[attr-defined]
        assert isinstance(route, GuardedRoute)
        for method in (route.methods or set()) & {"GET"}:
            path = path_of(route, values)
            told = f"?{query}" if route.path.startswith("/flow/") else ""
            answer = client.request("HEAD" if path.endswith("/stream") else method, path + told)
            read += answer.status_code == 200
            check(answer, is_page=route.path in PAGES)
    assert read >= 25
    tasks = client.get(f"/api/v1/flows/{flow_id}/tasks", params={"limit": 500}).json()["tasks"]
    assert [task["name"] for task in tasks] == CORPUS, "as text it is what it was"


def path_of(route: GuardedRoute, values: dict[str, str]) -> str:
    def fill(part: re.Match[str]) -> str:
        return quote(values.get(part[1], CORPUS[3]), safe="")

    return re.sub(r"{(\w+)(:\w+)?}", fill, route.path)


PLACES = (
    "GET /api/v1/flows/{}",
    "GET /api/v1/flows?text={}",
    "GET /api/v1/flows?status={}",
    "POST /register/{}",
    "POST /api/v1/workflows/{}/register",
    "GET /flow/viewer/?flow_name={}&timeperiod=x",
    "GET /docs/{}",
    "GET /{}",
)


def test_what_is_refused_is_no_page(client: TestClient) -> None:
    for text, place in zip(CORPUS, itertools.cycle(PLACES), strict=False):
        method, _, path = place.partition(" ")
        check(client.request(method, path.format(quote(text, safe=""))), is_page=False)
        check(client.post("/api/v1/session", json={"token": text, text: text}), is_page=False)


def check(answer: Any, *, is_page: bool) -> None:
    headers, about = answer.headers, (str(answer.url), answer.text[:300])
    assert headers["X-Content-Type-Options"] == "nosniff", about
    assert "default-src 'none'" in headers["Content-Security-Policy"], about
    assert "unsafe" not in headers["Content-Security-Policy"], about
    if is_page and answer.status_code == 200:
        assert headers["Content-Type"].startswith("text/html"), about
        assert harmful(answer.text) == [], about
    else:
        assert headers["Content-Type"] in (*KINDS, STREAM), (headers["Content-Type"], about)


class Harmful(HTMLParser):
    """Elements and attributes that no page of ours has."""

    OURS = (
        *("html", "head", "meta", "title", "link", "body", "h1", "h2", "h3", "p", "a", "b", "code", "pre", "nav"),
        *("section", "table", "tbody", "tr", "td", "th", "details", "summary"),
    )

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.OURS:
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name in ("style", "srcdoc") or "javascript:" in (value or ""):
                self.found.append(f"{tag} {name}")

    def handle_comment(self, data: str) -> None:
        self.found.append("comment")


def harmful(page: str) -> list[str]:
    parser = Harmful()
    parser.feed(page)
    parser.close()
    return parser.found


# --- in a browser -----------------------------------------------------------------------------------------------------


def hostile(document: Any, texts: Iterator[str], *, within: str = "") -> Any:
    """The description of the service with the corpus in every text that is made for people to read."""
    if isinstance(document, dict):
        return {name: hostile(value, texts, within=name) for name, value in document.items()}
    if isinstance(document, list):
        return [hostile(value, texts, within=within) for value in document]
    if isinstance(document, str) and within in ("summary", "description", "title", "x-role", "name", "in"):
        return next(texts)
    return document


@pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser: apt-get install chromium")
def test_a_browser_runs_none_of_it(db: Database, flow_id: str, tmp_path: Path) -> None:
    settings = Settings(port=0)
    app = create_app(db, settings)
    with Background(app, settings) as running, laid_bare() as naked:
        service = app.state.service
        app.state.service = replace(service, document=hostile(copy.deepcopy(service.document), itertools.cycle(CORPUS)))
        where = urlencode({"flow_name": HOSTILE, "timeperiod": HOSTILE})
        pages = [naked, f"{running.url}/docs", f"{running.url}/flow/viewer/?{where}"]
        shown = browse(tmp_path, pages)
        app.state.service = service
    (bare, _), *ours = shown
    assert "<title>31337</title>" in bare, "this browser runs it where nobody prevents it"
    for page, said in ours:
        assert "31337" in page
        assert "<title>31337" not in page
        assert harmful(page) == []
        assert "Content Security Policy" not in said, "and our own pages keep to their policy"


def browse(folder: Path, urls: list[str]) -> list[tuple[str, str]]:
    """Each page as it is once its scripts have run, and what the browser said of it."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-extensions", "--enable-logging=stderr"]
    running = [
        subprocess.Popen(
            ["chromium", *options, f"--user-data-dir={folder}/{number}", "--timeout=20000", "--dump-dom", url],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, url in enumerate(urls)
    ]
    return [process.communicate(timeout=60) for process in running]


@contextmanager
def laid_bare() -> Iterator[str]:
    """A page that shows an entry of the corpus as careless services do."""

    class Careless(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<title>x</title><p>{CORPUS[40]}</p>".encode())

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Careless) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()
