"""What becomes of a client when the service is restarted, away, busy, slow, or none at all."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from factories import define, rows, start
from pytest_runs import ROOT
from servers import free_port

from engine.access import Actor
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.errors import DatabaseUnavailable, OutcomeUnknown
from engine.tables import flow_stat
from penstock import BadRequest, Client, NotFound, Problem, Refused, Unauthorised, Unavailable
from penstock.doors.database import DatabaseDoor
from penstock.sdk.patience import may_repeat, pauses
from register.app import create_app
from register.server import Background
from register.settings import Settings

pytestmark = pytest.mark.by_turns


def serving(db: Database, port: int) -> Background:
    settings = Settings(port=port)
    return Background(create_app(db, settings), settings)


def test_a_service_that_is_restarted_in_the_middle_of_a_wait(db: Database, make: Callable[..., Any]) -> None:
    define(db)
    flow_id, port = start(db), free_port()
    client = make(f"http://127.0.0.1:{port}")
    looked, ended = threading.Event(), []
    first = serving(db, port)
    first.start()
    waiter = threading.Thread(target=lambda: ended.append(client.wait(flow_id, 60, on_change=lambda _: looked.set())))
    waiter.start()
    assert looked.wait(30)
    first.stop()
    carry_out(db, Ask("finish", flow_id, {"seqs": [1]}), Actor("ann"))
    time.sleep(0.3)  # some looks in vain
    assert waiter.is_alive()
    with serving(db, port):
        waiter.join(30)
    assert [flow.has_finished for flow in ended] == [True]


def test_events_go_on_after_a_restart_without_a_gap(db: Database, make: Callable[..., Any]) -> None:
    define(db, steps=1)
    flow_id, port = start(db), free_port()
    client = make(f"http://127.0.0.1:{port}")
    first = serving(db, port)
    first.start()
    follower = client.follow(after=0)
    carry_out(db, Ask("pause", flow_id), Actor("ann"))
    assert next(follower).what == "task paused"
    first.stop()
    carry_out(db, Ask("resume", flow_id), Actor("ann"))
    with serving(db, port):
        assert next(follower).what == "task resumed"


class Stand:
    """Stands in for a service: answers what a test says, and keeps what was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, bytes, dict[str, str]]] = []
        self.answers: list[tuple[int, bytes]] = []
        self.pass_to: str | None = None
        self.delay_s = 0.0
        self.lose = 0
        """So many answers are cut off once the request was passed on."""
        stand = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stand.handle(self)

            do_POST = do_GET  # noqa: N815

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        import requests

        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.asked.append((request.command, request.path, body, dict(request.headers)))
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.answers:
            code, content = self.answers.pop(0)
        else:
            headers = {"Content-Type": request.headers.get("Content-Type") or "application/json"}
            passed = requests.request(
                request.command, f"{self.pass_to}{request.path}", data=body, headers=headers, timeout=30
            )
            code, content = passed.status_code, passed.content
        if self.lose:
            self.lose -= 1
            request.connection.close()
            return
        request.send_response(code)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)


@pytest.fixture
def stand(service: Background) -> Iterator[Stand]:
    made = Stand()
    made.pass_to = service.url
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join(10)
    made.server.server_close()


def problem(kind: str, code: int) -> tuple[int, bytes]:
    words = f'{{"type": "urn:penstock:problem:{kind}", "code": {code}, "detail": "told so"}}'
    return code, words.encode()


BUSY = problem("busy", 503)
UNKNOWN = problem("outcome-unknown", 503)


def test_a_lost_answer_of_a_registration_makes_no_second_flow(
    db: Database, make: Callable[..., Any], stand: Stand
) -> None:
    define(db)
    stand.lose = 2
    flow_id = make(stand.url).register("w")
    assert flow_id.replayed is True, "the first had been made"
    assert [row.task_flow_id for row in rows(db, flow_stat)] == [flow_id]
    assert len(stand.asked) == 3
    assert len({body for _, _, body, _ in stand.asked}) == 1


def test_lost_answers_of_many_registrations(db: Database, make: Callable[..., Any], stand: Stand) -> None:
    define(db)
    stand.lose = 1
    made = make(stand.url).register_many("w", [{} for _ in range(20)])
    assert (made.registered, len(rows(db, flow_stat))) == (20, 20)


def test_of_many_those_that_nobody_knows_of_are_asked_for_again(
    db: Database, make: Callable[..., Any], stand: Stand
) -> None:
    define(db)
    lost = {"index": 1, "type": "urn:penstock:problem:outcome-unknown", "code": 503, "detail": "nobody knows"}
    told = {"registered": 1, "refused": 1, "task_flow_ids": ["first", None], "problems": [lost]}
    stand.answers = [(207, json.dumps(told).encode())]
    made = make(stand.url).register_many("w", [{}, {}])
    assert (made.registered, made.refused, len(stand.asked)) == (2, 0, 2)
    assert {row.task_flow_id for row in rows(db, flow_stat)} == set(made.task_flow_ids)


def test_busy_is_asked_again_and_an_unknown_outcome_only_where_that_is_safe(
    db: Database, make: Callable[..., Any], stand: Stand
) -> None:
    define(db)
    client = make(stand.url)
    stand.answers = [BUSY, UNKNOWN]
    flow_id = client.register("w")
    stand.answers = [BUSY]
    assert client.pause(flow_id) == [1]
    stand.answers = [BUSY]
    assert client.flow(flow_id).id == flow_id
    stand.answers, before = [UNKNOWN], len(stand.asked)
    with pytest.raises(Unavailable, match="told so") as caught:
        client.send("paid", "7")
    assert (caught.value.kind, caught.value.code, len(stand.asked) - before) == ("outcome-unknown", 503, 1)


def test_patience_ends(make: Callable[..., Any], stand: Stand) -> None:
    stand.answers = [BUSY] * 200
    began = time.monotonic()
    with pytest.raises(Unavailable):
        make(stand.url, patience_s=0.5).register("w")
    assert 0.4 < time.monotonic() - began < 10
    asked = len(stand.asked)
    with pytest.raises(Unavailable):
        make(stand.url, patience_s=0).register("w")
    assert len(stand.asked) == asked + 1


def test_an_answer_that_takes_too_long(make: Callable[..., Any], stand: Stand) -> None:
    stand.delay_s = 1.0
    with pytest.raises(Unavailable, match="cannot be reached"):
        make(stand.url, timeout_s=0.1, patience_s=0).register("w")


def test_nobody_listens(make: Callable[..., Any]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unavailable, match=f"{url} cannot be reached") as caught:
        make(url, patience_s=0).register("w")
    assert (caught.value.kind, caught.value.code) == ("unreachable", 0)


def test_something_else_listens(make: Callable[..., Any], stand: Stand) -> None:
    stand.answers = [(200, b"<html>hello</html>")]
    with pytest.raises(Problem, match="is no Penstock: it answered '<html>hello"):
        make(stand.url).register("w")


@pytest.mark.parametrize(
    ("code", "error"), [(401, Unauthorised), (403, Refused), (404, NotFound), (409, Refused), (422, BadRequest)]
)
def test_a_problem_is_an_error_of_its_kind(make: Callable[..., Any], stand: Stand, code: int, error: type) -> None:
    stand.answers = [problem("some-kind", code)]
    with pytest.raises(error, match="told so") as caught:
        make(stand.url).register("w")
    assert (caught.value.kind, caught.value.code) == ("some-kind", code)  # type: ignore[attr-defined]
    assert len(stand.asked) == 1


def test_the_token_goes_along_and_the_environment_says_where(
    make: Callable[..., Any], stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PENSTOCK_URL", f"{stand.url}/")
    monkeypatch.setenv("PENSTOCK_TOKEN", "from-outside")
    client = make()
    assert client.where == stand.url
    client.queues()
    make(stand.url, "given").queues()
    monkeypatch.delenv("PENSTOCK_TOKEN")
    (tmp_path / "token").write_text("from-a-file\n")
    monkeypatch.setenv("PENSTOCK_TOKEN_FILE", str(tmp_path / "token"))
    make().queues()
    told = [{name.lower(): value for name, value in asked[3].items()} for asked in stand.asked]
    assert [headers["authorization"] for headers in told] == [
        "Bearer from-outside",
        "Bearer given",
        "Bearer from-a-file",
    ]
    monkeypatch.setenv("PENSTOCK_URL", "sqlite:///penstock.db")
    with pytest.raises(ValueError, match=r"Client\.of_database"):
        make()


def test_errors_are_the_same_through_a_database(db: Database, any_client: Any) -> None:
    define(db)
    with pytest.raises(NotFound) as caught:
        any_client.flow("nobody")
    assert (caught.value.kind, caught.value.code) == ("unknown-flow", 404)
    with pytest.raises(NotFound) as caught:
        any_client.register("nothing")
    assert caught.value.kind == "unknown-workflow"
    with pytest.raises(BadRequest):
        any_client.register("w", priority=99)
    any_client.pause_queue("q")
    with pytest.raises(Refused) as refused:
        any_client.pause_queue("q")
    assert (refused.value.kind, refused.value.code) == ("conflict", 409)
    any_client.register("w", {"a": 1}, idempotency_key="k")
    with pytest.raises(BadRequest) as reused:
        any_client.register("w", {"a": 2}, idempotency_key="k")
    assert reused.value.kind == "key-reused"
    with pytest.raises(NotFound):
        next(iter(any_client.tasks("nobody")))
    with pytest.raises(NotFound):
        next(any_client.follow(flow_id="nobody"))


def test_a_database_that_is_away_is_unavailable(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    door = DatabaseDoor(db, Actor("ann"))
    failures: list[Exception] = [DatabaseUnavailable("away"), OutcomeUnknown("lost")]

    def flow(flow_id: str) -> Any:
        if failures:
            raise failures.pop()
        return DatabaseDoor.flow(door, flow_id)

    monkeypatch.setattr(door, "flow", flow)
    define(db)
    flow_id = start(db)
    client = Client.through(door)
    assert client.flow(flow_id).id == flow_id
    failures += [DatabaseUnavailable("gone for long")]
    with pytest.raises(Unavailable, match="gone for long"):
        Client.through(door, patience_s=0).flow(flow_id)


@pytest.mark.parametrize(
    ("error", "repeatable", "once_more"),
    [
        (Unavailable("unreachable", 0, ""), True, True),
        (Unavailable("unreachable", 0, ""), False, False),
        (Unavailable("busy", 503, ""), False, True),
        (Unavailable("outcome-unknown", 503, ""), False, False),
        (Unavailable("internal-error", 500, ""), True, False),
        (OutcomeUnknown(""), False, False),
        (OutcomeUnknown(""), True, True),
        (DatabaseUnavailable(""), False, True),
        (Refused("conflict", 409, ""), True, False),
    ],
)
def test_what_may_be_asked_again(error: Any, repeatable: bool, once_more: bool) -> None:
    assert may_repeat(error, repeatable) is once_more


@pytest.mark.parametrize("blocked", ["httpx2", "httpx2,httpx"])
def test_either_httpx_does_and_without_any_the_words_say_what_to_install(
    db: Database, service: Background, blocked: str
) -> None:
    pytest.importorskip("httpx")
    define(db)
    script = f"""
import asyncio, sys
sys.modules.update(dict.fromkeys({blocked!r}.split(",")))
from penstock import AsyncClient

async def main():
    async with AsyncClient({service.url!r}) as client:
        print(await client.register("w"))

asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, timeout=60)
    if blocked == "httpx2":
        assert ended.stdout.strip() == rows(db, flow_stat)[0].task_flow_id, ended.stderr
    else:
        assert "pip install 'penstock[async]'" in ended.stderr


def test_pauses_grow_and_end() -> None:
    assert list(pauses(0)) == []
    began, found = time.monotonic(), []
    for pause in pauses(0.4):
        found.append(pause)
        time.sleep(pause)
    assert 0.3 < time.monotonic() - began < 5
    assert len(found) >= 3


def test_a_client_records_who_asked(db: Database, url: str) -> None:
    define(db)
    with Client.of_database(url, actor="ann") as client:
        flow_id = client.register("w", reason="month's end")
        (command,) = client.commands()
    assert (command.asked_by, command.reason, command.subject) == ("ann", "month's end", "w")
    assert command.answer["task_flow_id"] == flow_id
