"""Sessions of browsers: the cookie, the CSRF token, the origin, and the end with what they came from."""

from __future__ import annotations

import time
from typing import Any

import pytest
from factories import define, rows, sql
from letting_in import ROOT, bearer, make_token, seen_from, token_id_of
from patience import until
from starlette.testclient import TestClient

from engine import jsontext
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.tables import event, flow_stat, token
from engine.tokens import CHANGES

pytestmark = [pytest.mark.by_turns, pytest.mark.timeout(60)]

OWN = {"Origin": "http://testserver"}


def log_in(client: TestClient, shown: str) -> dict[str, Any]:
    answer = client.post("/api/v1/session", json={"token": shown})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def test_a_browser_logs_in_looks_changes_and_logs_out(db: Database, asked: TestClient) -> None:
    define(db)
    shown = make_token(db, "operator", "ann", workflows=["w"])
    answer = asked.post("/api/v1/session", json={"token": shown})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("penstock_session=")
    assert {"HttpOnly", "Path=/", "SameSite=lax"} <= {part.strip() for part in cookie.split(";")}
    assert shown not in cookie
    me = asked.get("/api/v1/session").json()
    assert (me["name"], me["role"], me["workflows"], me["authentication"]) == ("ann", "operator", ["w"], True)
    assert me["csrf"] == answer.json()["csrf"]
    assert 0 < me["ends_in_s"] <= 12 * 3600
    assert asked.get("/flows").status_code == 200
    assert asked.post("/register/w", headers={**OWN, "X-CSRF-Token": me["csrf"]}).status_code == 200
    assert asked.delete("/api/v1/session", headers={**OWN, "X-CSRF-Token": me["csrf"]}).status_code == 200
    assert asked.get("/flows").status_code == 401
    asked.cookies.set("penstock_session", cookie.split("=")[1].split(";")[0])
    assert asked.get("/flows").status_code == 401, "the session is gone, and not only from this browser"
    assert [row.kind for row in rows(db, token)] == ["api"]
    assert [row.what for row in rows(db, event)][:2] == ["token created", "session opened"]


REFUSED: dict[str, dict[str, str]] = {
    "neither": {},
    "no CSRF token": dict(OWN),
    "no origin": {"X-CSRF-Token": "{csrf}"},
    "a wrong CSRF token": {**OWN, "X-CSRF-Token": "0" * 64},
    "an empty one": {**OWN, "X-CSRF-Token": ""},
    "one beyond ASCII": {**OWN, "X-CSRF-Token": "\u00fc"},
    "another origin": {"Origin": "http://evil.example", "X-CSRF-Token": "{csrf}"},
    "another port": {"Origin": "http://testserver:81", "X-CSRF-Token": "{csrf}"},
    "another scheme": {"Origin": "https://testserver", "X-CSRF-Token": "{csrf}"},
    "a longer name": {"Origin": "http://testserver.evil.example", "X-CSRF-Token": "{csrf}"},
    "no origin in words": {"Origin": "null", "X-CSRF-Token": "{csrf}"},
    "another site": {"Sec-Fetch-Site": "cross-site", "X-CSRF-Token": "{csrf}", **OWN},
    "the same site": {"Sec-Fetch-Site": "same-site", "X-CSRF-Token": "{csrf}", **OWN},
    "typed": {"Sec-Fetch-Site": "none", "X-CSRF-Token": "{csrf}", **OWN},
    "an origin that CORS lets in": {"Origin": "https://page.example", "X-CSRF-Token": "{csrf}"},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_page_of_another_site_changes_nothing(db: Database, serve: Any, name: str) -> None:
    client = serve(db, auth=True, origins=("https://page.example",))
    define(db)
    csrf = log_in(client, make_token(db))["csrf"]
    headers = {key: value.format(csrf=csrf).encode() for key, value in REFUSED[name].items()}
    answer = client.post("/register/w", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:penstock:problem:cross-site")
    assert client.get("/flows", headers=headers).status_code == 200, "looking is harmless: no other page can read it"
    assert rows(db, flow_stat) == []
    by_browser = {"Sec-Fetch-Site": "same-origin", "Origin": "https://outside.example", "X-CSRF-Token": csrf}
    assert client.post("/register/w", headers=by_browser).status_code == 200, "a proxy changed our name"


def test_a_session_ends_with_its_token(db: Database, asked: TestClient) -> None:
    shown = make_token(db)
    log_in(asked, shown)
    assert asked.get("/flows").status_code == 200
    carry_out(db, Ask("revoke_token", token_id_of(db, shown)), ROOT)
    assert asked.get("/flows").status_code == 401


def test_a_session_is_no_bearer_token_and_a_token_no_cookie(db: Database, asked: TestClient) -> None:
    shown = make_token(db)
    log_in(asked, shown)
    secret = asked.cookies["penstock_session"]
    asked.cookies.clear()
    for wrong in (secret, f"pst_{secret}"):
        assert asked.get("/flows", headers=bearer(wrong)).status_code == 401
    for wrong in (shown, shown[4:]):
        assert asked.get("/flows", headers={"Cookie": f"penstock_session={wrong}"}).status_code == 401
    assert asked.post("/api/v1/session", json={"token": secret}).status_code == 401


@pytest.mark.parametrize(
    "body", [{}, {"token": ""}, {"token": 7}, {"token": "x" * 300}, {"token": "pst_" + "A" * 43}, []]
)
def test_what_is_no_token_logs_nobody_in(db: Database, asked: TestClient, body: Any) -> None:
    answer = asked.post("/api/v1/session", json=body)
    assert answer.status_code in (401, 422)
    assert "set-cookie" not in answer.headers
    assert "A" * 43 not in answer.text
    assert rows(db, token) == []


def refused(db: Database, last: str) -> list[str]:
    """Why, by the records of refusals, which no answer waits for, up to that of the last request."""
    deadline = time.monotonic() + 10
    while True:
        found = [jsontext.loads_object(row.details) for row in rows(db, event) if row.what == "access refused"]
        if last in [one["request_id"] for one in found] and len(found) >= 3:
            return sorted(one["why"] for one in found)
        assert time.monotonic() < deadline


def test_a_session_that_is_not_used_ends(db: Database, serve: Any) -> None:
    client = serve(db, auth=True, session_idle_s=600)
    shown = make_token(db)
    log_in(client, shown)
    assert client.get("/flows").status_code == 200
    until(lambda: all(row.used_ts for row in rows(db, token) if row.kind == "session"))  # no answer waits for it
    sql(db, "UPDATE ms_token SET created_ts = '2026-01-01 00:00:00', used_ts = '2026-01-01 00:00:00'")
    CHANGES.note()
    assert client.get("/flows").status_code == 401
    assert client.get("/flows", headers={**bearer(shown), "Cookie": ""}).status_code == 200, "tokens do not"


def test_no_other_site_logs_somebody_in(db: Database, asked: TestClient) -> None:
    body = {"token": make_token(db)}
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert asked.post("/api/v1/session", json=body, headers=headers).status_code == 403
    wrong = asked.post("/api/v1/session", json={"token": "pst_" + "A" * 43}, headers=OWN)
    assert refused(db, wrong.headers["X-Request-Id"]) == ["cross-site", "cross-site", "unauthenticated"]
    assert asked.post("/api/v1/session", json=body, headers=OWN).status_code == 200


def test_over_tls_the_cookie_stays_there(db: Database, serve: Any) -> None:
    client = serve(db, auth=True, behind_proxy=("10.0.0.1",))
    shown = make_token(db)
    proxied = seen_from(client, "10.0.0.1")
    answer = proxied.post("/api/v1/session", json={"token": shown}, headers={"X-Forwarded-Proto": "https"})
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-penstock_session=")
    assert "Secure" in cookie
    assert answer.headers["Strict-Transport-Security"]
    value = cookie.split(";")[0]
    tls = {"X-Forwarded-Proto": "https"}
    assert proxied.get("/flows", headers={"Cookie": value, **tls}).status_code == 200
    plain = value.removeprefix("__Host-")
    assert proxied.get("/flows", headers={"Cookie": plain, **tls}).status_code == 401, "another host may have set it"


def test_without_authentication_everybody_is_told_so(db: Database, serve: Any) -> None:
    me = serve(db).get("/api/v1/session").json()
    assert (me["authentication"], me["role"], me["csrf"]) == (False, "admin", None)


def test_too_many_sessions_are_refused(db: Database, asked: TestClient) -> None:
    shown = make_token(db)
    codes = [asked.post("/api/v1/session", json={"token": shown}).status_code for _ in range(40)]
    assert codes[0] == 200
    assert codes[-1] == 429
    assert len([row for row in rows(db, token) if row.kind == "session"]) == codes.count(200) < 35
