"""Every path is closed unless it says that it is open, and each role may do what it may, and no more."""

from __future__ import annotations

import time
from typing import Any

import pytest
from factories import define, rows, sql, start
from letting_in import bearer, make_token, token_id_of
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from engine.access import Actor, Role
from engine.commands import Ask, carry_out
from engine.database import Database
from engine.tables import command, event, flow_stat, token
from register.access.guarded import GuardedRoute, guarded

pytestmark = [pytest.mark.by_turns, pytest.mark.timeout(60)]

OPEN = {("GET", "/healthz"), ("GET", "/readyz"), ("POST", "/api/v1/session"), ("POST", "/api/v1/call_back")}
OPEN |= {("POST", "/echo")}
"""Anything more that is open must be added here on purpose."""


def walk(client: TestClient) -> list[tuple[str, GuardedRoute]]:
    """Every method of every route, with a path that fits it."""
    found = []
    for route in client.app.routes:  # type: ignore[attr-defined]
        assert isinstance(route, GuardedRoute), f"{route} does not say which role it takes"
        found += [(method, route) for method in sorted(route.methods or ())]
    assert len(found) > 15
    return found


def path_of(route: GuardedRoute, values: dict[str, str]) -> str:
    import re

    return re.sub(r"{(\w+)(:\w+)?}", lambda part: values.get(part[1], "x"), route.path)


def test_every_route_is_closed_without_a_token(db: Database, asked: TestClient) -> None:
    define(db)
    flow_id = start(db)
    answers = {
        (method, route.path): asked.request(method, path_of(route, {"task_id": "w", "flow_id": flow_id}))
        for method, route in walk(asked)
    }
    closed = {key for key, answer in answers.items() if answer.status_code == 401}
    assert {key for key in answers if key not in closed and key[0] != "HEAD"} == OPEN
    for key in closed:
        assert answers[key].headers["WWW-Authenticate"] == 'Bearer realm="penstock"'
    assert len(rows(db, flow_stat)) == 1
    assert rows(db, token) == []


def test_a_route_without_a_role_is_refused_at_the_start() -> None:
    async def run(request: Request) -> Response:
        return Response()

    with pytest.raises(TypeError, match="does not say which role"):
        guarded([Route("/x", run)])


def test_a_route_is_closed_even_to_its_own_handler_without_a_gate(db: Database, serve: Any) -> None:
    """Whoever reads the actor where no gate was gets none, and not an all-powerful one."""
    from register.actors import actor_of

    with pytest.raises(KeyError):
        actor_of(Request({"type": "http", "method": "GET", "path": "/", "headers": []}))


@pytest.mark.parametrize("role", list(Role))
def test_each_role_by_each_endpoint(db: Database, serve: Any, role: Role) -> None:
    client = serve(db, auth=True, echo=True)
    define(db)
    flow_id = start(db)
    token = make_token(db, role.value)
    other = token_id_of(db, make_token(db, "viewer"))
    values = {"task_id": "w", "flow_id": flow_id, "token_id": other, "name": "ann", "seq": "1"}
    for method, route in walk(client):
        if route.role is None or route.path.endswith("/stream"):  # has no end
            continue
        answer = client.request(method, path_of(route, values), headers=bearer(token))
        assert (answer.status_code == 403) == (not role.covers(route.role)), (method, route.path, answer.text)
        assert answer.status_code not in (401, 500)
        if answer.status_code == 403 and method != "HEAD":
            assert answer.json()["type"] == "urn:penstock:problem:forbidden"
            assert str(route.role) in answer.json()["detail"]


def test_what_authors_may_do_operators_may_not(db: Database, asked: TestClient) -> None:
    roles = {(next(iter(route.methods - {"HEAD"})), route.path): route.role for _, route in walk(asked)}  # type: ignore[operator]
    assert roles["POST", "/register/{task_id:path}"] is Role.OPERATOR
    assert roles["GET", "/flows"] is Role.VIEWER
    assert roles["POST", "/api/v1/tokens"] is Role.ADMIN


BAD = {
    "none": {},
    "no token": {"Authorization": "Bearer "},
    "another scheme": {"Authorization": "Basic cm9vdDpyb290"},
    "no prefix": bearer("x" * 43),
    "a guess": bearer("pst_" + "A" * 43),
    "too short": bearer("pst_abc"),
    "too long": bearer("pst_" + "A" * 44),
    "very long": bearer("pst_" + "A" * 10_000),
    "not ASCII": {"Authorization": b"Bearer pst_\xc3\xbc\xff"},
    "SQL": bearer("pst_' OR '1'='1"),
    "a cookie": {"Cookie": "penstock_session=" + "A" * 43},
    "a cookie of nothing": {"Cookie": "penstock_session=a; penstock_session=b"},
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_good_is_refused(asked: TestClient, name: str) -> None:
    answer = asked.get("/flows", headers=BAD[name])
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert "A" * 43 not in answer.text
    assert "Traceback" not in answer.text


def test_a_token_in_the_address_is_not_taken(db: Database, asked: TestClient) -> None:
    token = make_token(db)
    assert asked.get(f"/flows?token={token}").status_code == 401
    assert asked.get(f"/flows?access_token={token}").status_code == 401


def test_the_hash_of_a_token_is_no_token(db: Database, asked: TestClient) -> None:
    make_token(db)
    [row] = rows(db, token)
    assert asked.get("/flows", headers=bearer(row.token_hash)).status_code == 401
    assert asked.get("/flows", headers=bearer(f"pst_{row.token_hash[:43]}")).status_code == 401


def test_a_token_and_a_cookie_together_are_refused(db: Database, asked: TestClient) -> None:
    token = make_token(db)
    for headers in ({"Cookie": "penstock_session=abc"}, {"Cookie": "penstock_session=" + "A" * 43}):
        answer = asked.get("/flows", headers={**bearer(token), **headers})
        assert (answer.status_code, answer.json()["type"]) == (400, "urn:penstock:problem:two-credentials")
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    assert asked.get("/flows", headers=twice).status_code == 400
    assert asked.get("/flows", headers={**bearer(token), "Cookie": "other=1"}).status_code == 200


def test_a_revoked_token_is_no_good_at_once(db: Database, asked: TestClient) -> None:
    token = make_token(db, "admin")
    assert asked.get("/flows", headers=bearer(token)).status_code == 200
    revoked = asked.post(f"/api/v1/tokens/{token_id_of(db, token)}/revoke", headers=bearer(token))
    assert revoked.status_code == 200
    assert asked.get("/flows", headers=bearer(token)).status_code == 401


def test_a_token_revoked_elsewhere_is_no_good_within_a_second(db: Database, asked: TestClient) -> None:
    token = make_token(db)
    assert asked.get("/flows", headers=bearer(token)).status_code == 200
    sql(db, "UPDATE ms_token SET revoked_ts = '2026-01-01 00:00:00'")  # as another process does
    began = time.monotonic()
    while asked.get("/flows", headers=bearer(token)).status_code == 200:
        assert time.monotonic() - began < 1.5
    assert time.monotonic() - began < 1.5


def test_an_expired_token_is_no_good(db: Database, asked: TestClient) -> None:
    token = make_token(db, expires_s=0.5)
    began = time.monotonic()
    assert asked.get("/flows", headers=bearer(token)).status_code == 200
    while asked.get("/flows", headers=bearer(token)).status_code == 200:
        assert time.monotonic() - began < 5
    assert time.monotonic() - began < 1.5


def test_a_busy_token_costs_one_query_a_second_and_is_marked_once(
    db: Database, asked: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    from engine import tokens

    asked_for: list[str] = []
    find = tokens.find

    def counted(conn: Any, hashed: str, *rest: Any) -> Any:
        asked_for.append(hashed)
        return find(conn, hashed, *rest)

    monkeypatch.setattr(tokens, "find", counted)
    token = make_token(db)
    began = time.monotonic()
    for _ in range(50):
        assert asked.get("/healthz").status_code == 200
        assert asked.get("/openapi.json", headers=bearer(token)).status_code == 200
    assert len(asked_for) <= 1 + (time.monotonic() - began)
    while not (used := rows(db, globals()["token"])[0].used_ts):
        assert time.monotonic() - began < 10
    sql(db, "UPDATE ms_token SET used_ts = '2026-01-01 00:00:00'")
    del used


def test_without_the_database_nobody_is_let_in(db: Database, serve: Any, dead: Database) -> None:
    answer = serve(dead, auth=True).get("/flows", headers=bearer("pst_" + "A" * 43))
    assert answer.status_code == 503


# --- reach ------------------------------------------------------------------------------------------------------------


def test_flows_beyond_the_reach_are_not_there(db: Database, asked: TestClient) -> None:
    for name in ("load_a", "pay"):
        define(db, name)
    mine, other = start(db, "load_a"), start(db, "pay")
    headers = bearer(make_token(db, "admin", workflows=["load*"]))
    assert [flow["task_flow_id"] for flow in asked.get("/flows", headers=headers).json()["flows"]] == [mine]
    assert asked.get(f"/flows/{mine}", headers=headers).status_code == 200
    hidden = asked.get(f"/flows/{other}", headers=headers)
    unknown = asked.get("/flows/nobody", headers=headers)
    assert hidden.status_code == unknown.status_code == 404
    assert {**hidden.json(), "instance": ""} == {
        **{k: v.replace("nobody", other) if isinstance(v, str) else v for k, v in unknown.json().items()},
        "instance": "",
    }
    assert asked.get("/flows?taskId=pay", headers=headers).json()["flows"] == []
    assert asked.post(f"/flows/{other}/recover", headers=headers).status_code == 404
    assert asked.post("/register/pay", headers=headers).status_code == 404
    for path in ("/register/load_a%2F..%2Fpay", "/register/load_a/../pay", "/register/%70ay", "/register/pay/"):
        assert asked.post(path, headers=headers).status_code == 404, path
    lines = {"Content-Type": "application/x-ndjson"}
    assert asked.post("/register/pay", headers={**headers, **lines}, content=b"{}\n").status_code == 404
    assert asked.post("/register/load_a", headers=headers).status_code == 200
    assert sorted(flow.task_id for flow in rows(db, flow_stat)) == ["load_a", "load_a", "pay"]
    [made] = [flow for flow in rows(db, flow_stat) if flow.task_flow_id not in (mine, other)]
    assert made.registered_by == "ann"


def test_nobody_gives_more_than_they_have(db: Database, asked: TestClient) -> None:
    near = bearer(make_token(db, "admin", workflows=["load*"]))
    for body in (
        {"name": "x", "role": "viewer"},
        {"name": "x", "role": "viewer", "workflows": ["pay"]},
        {"name": "x", "role": "viewer", "workflows": ["*"]},
        {"name": "x", "role": "viewer", "workflows": ["loa*"]},
        {"name": "x", "role": "viewer", "workflows": ["load_a", "pay*"]},
    ):
        assert asked.post("/api/v1/tokens", headers=near, json=body).status_code == 403, body
    for patterns in (["load_a"], ["load_*"], ["load*"], []):
        body = {"name": "x", "role": "admin", "workflows": patterns}
        assert asked.post("/api/v1/tokens", headers=near, json=body).status_code == 200, body
    far = token_id_of(db, make_token(db, "admin"))
    assert asked.post(f"/api/v1/tokens/{far}/revoke", headers=near).status_code == 404
    assert asked.get("/api/v1/tokens", headers=near).status_code == 403
    carry_out(db, Ask("set_principal", "boss", {"role": "admin"}), Actor("root"))
    body = {"role": "viewer", "workflows": ["load*"]}
    assert asked.post("/api/v1/principals/boss/set", headers=near, json=body).status_code == 403
    assert asked.post("/api/v1/principals/boss/drop", headers=near).status_code == 404


# --- tokens by HTTP ---------------------------------------------------------------------------------------------------


def test_a_token_is_shown_once_and_kept_nowhere(
    db: Database, asked: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    root = make_token(db, "admin", "root")
    body = {"name": "ann", "role": "viewer", "workflows": ["w"], "expires_s": 60, "reason": "her first"}
    made = asked.post("/api/v1/tokens", headers=bearer(root), json=body).json()
    assert made["token"].startswith("pst_")
    assert asked.get("/flows", headers=bearer(made["token"])).status_code == 200
    listed = asked.get("/api/v1/tokens", headers=bearer(root)).json()["tokens"]
    assert [one["name"] for one in listed] == ["ann", "root"]
    assert (listed[0]["workflows"], listed[0]["is_live"], listed[1]["workflows"]) == (["w"], True, None)
    asked.post(f"/api/v1/tokens/{made['token_id']}/revoke", headers=bearer(root))
    asked.post(f"/api/v1/tokens/{made['token_id']}/revoke", headers=bearer(root))
    asked.post("/api/v1/tokens/nobody/revoke", headers=bearer(root))
    asked.get("/flows", headers=bearer(made["token"]))
    hashes = [row.token_hash for row in rows(db, token)]
    written = f"{rows(db, command)} {rows(db, event)} {listed} {caplog.text} {[vars(one) for one in caplog.records]}"
    for secret in (made["token"], root, *hashes):
        assert secret not in written
    assert [row.outcome for row in rows(db, command)] == ["done", "done", "done", "refused", "refused"]
    assert rows(db, command)[1].reason == "her first"
    assert rows(db, command)[1].address == "testclient"


def test_refused_changes_are_recorded_and_no_flood_fills_the_table(db: Database, asked: TestClient) -> None:
    define(db)
    viewer = bearer(make_token(db, "viewer", "eve"))
    for _ in range(40):
        assert asked.post("/register/w", headers={**viewer, "X-Request-Id": "mine"}).status_code == 403
        assert asked.post("/register/w").status_code == 401
        assert asked.get("/flows").status_code == 401
    began = time.monotonic()
    while len(found := [row for row in rows(db, event) if row.what == "access refused"]) < 10:
        assert time.monotonic() - began < 10
    assert len(found) <= 11
    of_eve = next(row for row in found if row.actor == "eve")
    assert '"operation":"POST /register/{task_id:path}"' in of_eve.details
    assert '"request_id":"mine"' in of_eve.details
    assert '"address":"testclient"' in of_eve.details
    assert {row.actor for row in found} == {"eve", "anonymous"}
    assert rows(db, flow_stat) == []
