"""Workflows over HTTP, as documents."""

from __future__ import annotations

import json
from typing import Any

import pytest
from factories import define, rows, sql, start
from letting_in import let_in
from starlette.testclient import TestClient

from engine.database import Database
from engine.tables import command, task_definition, workflow
from penstock.services import program_check
from programs.catalogue import build_catalogue

pytestmark = pytest.mark.by_turns

PATH = "/api/v1/workflows"
LOAD = {
    "description": "Loads",
    "tags": ["daily"],
    "steps": [{"name": "fetch", "program": "Noop"}, {"name": "store", "program": "Noop", "after": ["fetch"]}],
}
AS_TOML = """
description = "Loads"
tags = ["daily"]
[[steps]]
name = "fetch"
program = "Noop"
[[steps]]
name = "store"
program = "Noop"
after = ["fetch"]
"""


def put(client: TestClient, body: Any = LOAD, task_id: str = "load", **options: Any) -> Any:
    return client.put(f"{PATH}/{task_id}", json=body, **options)


def test_a_workflow_is_created_read_and_replaced(client: TestClient, db: Database) -> None:
    made = put(client)
    assert (made.status_code, made.json()["is_new"], made.json()["was"]) == (200, True, None)
    found = client.get(f"{PATH}/load")
    assert found.headers["etag"] == made.headers["etag"] == f'"{made.json()["stamp"]}"'
    assert found.json()["document"]["steps"][1] == {"seq": 2, "name": "store", "program": "Noop", "after": ["fetch"]}
    assert (found.json()["changed_by"], found.json()["source_format"]) == ("http", "json")
    assert client.post("/register/load").status_code == 200
    again = put(client, {**LOAD, "steps": LOAD["steps"][:1]})
    assert [step["seq"] for step in again.json()["changes"]["steps"]["removed"]] == [2]
    assert again.json()["was"] == made.json()["version_id"]
    assert [row.task_seq for row in rows(db, task_definition)] == [1]


def test_toml_goes_in_and_comes_out(client: TestClient, db: Database) -> None:
    toml = {"Content-Type": "application/toml; charset=utf-8"}
    made = client.put(f"{PATH}/load", content=AS_TOML, headers=toml)
    assert made.json()["version_id"] == put(client).json()["version_id"]
    client.put(f"{PATH}/load", content=AS_TOML, headers=toml)
    [row] = rows(db, workflow)
    assert (row.source, row.source_format) == (AS_TOML, "toml")
    out = client.get(f"{PATH}/load", headers={"Accept": "application/toml"})
    assert out.headers["content-type"].startswith("application/toml")
    assert client.put(f"{PATH}/load", content=out.text, headers=toml).json()["changes"]["is_same"]


def test_an_edit_of_what_is_not_there_any_more_is_told(client: TestClient, db: Database) -> None:
    etag = put(client).headers["etag"]
    assert put(client, headers={"If-None-Match": "*"}).status_code == 412
    changed = put(client, {**LOAD, "description": "Loads more"}, headers={"If-Match": etag})
    assert changed.status_code == 200
    assert changed.json()["version_id"] in etag, "the same version, for flows"
    late = put(client, {**LOAD, "owner": "bob"}, headers={"If-Match": etag})
    assert (late.status_code, late.json()["type"]) == (412, "urn:penstock:problem:outdated")
    assert put(client, headers={"If-Match": f'"{changed.json()["version_id"]}"'}).status_code == 200
    assert put(client, task_id="new", headers={"If-Match": "*"}).status_code == 412
    assert put(client, headers={"If-Match": "*"}).status_code == 200
    assert put(client, headers={"If-None-Match": '"x"'}).status_code == 422
    assert put(client, headers={"If-Match": f"W/{changed.headers['etag']}"}).status_code == 412, "not the very same"
    assert [row.task_id for row in rows(db, workflow)] == ["load"]


def test_everything_that_is_wrong_is_named_and_nothing_changed(client: TestClient, db: Database) -> None:
    before = put(client).json()["stamp"]
    wrong = {"steps": [{"program": "Noop", "timout_s": 3}, {"after": [True]}]}
    answer = put(client, wrong)
    assert answer.status_code == 422
    told = {one["pointer"]: one["detail"] for one in answer.json()["errors"]}
    assert set(told) == {"#/steps/0/timout_s", "#/steps/1/program", "#/steps/1/after/0"}
    assert "did you mean timeout_s?" in told["#/steps/0/timout_s"]
    circle = {
        "steps": [{"name": "a", "program": "Noop", "after": ["b"]}, {"name": "b", "program": "x", "after": ["a"]}]
    }
    assert "circle" in put(client, circle).json()["detail"]
    for body in (b"\xff", b"[]", b"null", b"{", b'"x"', b""):
        assert client.put(f"{PATH}/load", content=body).status_code == 422, body
    assert put(client, {**LOAD, "task_id": "other"}).status_code == 422
    assert client.get(f"{PATH}/load").json()["stamp"] == before


def test_programs_are_looked_at_where_they_are_known(db: Database, serve: Any) -> None:
    client = serve(db, check=program_check(build_catalogue(autoload=False)))
    answer = put(client, {"steps": [{"program": "Nop"}]})
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:penstock:problem:unfit-program")
    content = 'task_id = "load"\n' + AS_TOML.replace("Noop", "Nop")
    found = client.post(f"{PATH}/validate", content=content, headers=_TOML).json()
    assert [(one["where"], one["line"]) for one in found["problems"]] == [("steps[0]", 5), ("steps[1]", 8)]
    assert "no program is called 'Nop', did you mean 'Noop'?" in found["problems"][0]["words"]


_TOML = {"Content-Type": "application/toml"}


def test_validate_names_places_and_lines(client: TestClient, db: Database) -> None:
    good = client.post(f"{PATH}/validate", content='task_id = "load"\n' + AS_TOML, headers=_TOML).json()
    assert (good["is_valid"], good["task_id"], good["problems"]) == (True, "load", [])
    assert good["version_id"] == put(client).json()["version_id"]
    bad = client.post(f"{PATH}/validate", content='task_id = "a"\n[[steps]]\nprogram = "x"\npro = 1\n', headers=_TOML)
    [problem] = bad.json()["problems"]
    assert (problem["where"], problem["line"], bad.json()["is_valid"]) == ("steps[0].pro", 4, False)
    assert rows(db, task_definition)[0].task_id == "load", "the put of before, and nothing of what was validated"


def test_a_dry_run_says_what_would_change(client: TestClient, db: Database) -> None:
    would = put(client, params={"dry_run": "true"})
    assert (would.status_code, would.json()["is_new"]) == (200, True)
    assert rows(db, task_definition) == rows(db, workflow) == []
    assert client.get(f"{PATH}/load").status_code == 404


def test_versions_and_what_changed_between_them(client: TestClient, db: Database) -> None:
    first = put(client).json()["version_id"]
    flow_id = start(db, "load")
    second = put(client, {"steps": [*LOAD["steps"], {"name": "mail", "program": "Noop", "after": ["store"]}]}).json()
    listed = client.get(f"{PATH}/load/versions").json()["versions"]
    assert [(one["version_id"], one["is_current"]) for one in listed] == [(second["version_id"], True), (first, False)]
    page = client.get(f"{PATH}/load/versions", params={"limit": 1})
    rest = client.get(f"{PATH}/load/versions", params={"limit": 1, "cursor": page.json()["next"]}).json()
    assert ([one["version_id"] for one in rest["versions"]], rest["next"]) == ([first], None)
    assert 'rel="next"' in page.headers["link"]
    kept = client.get(f"{PATH}/load/versions/{first[:8]}").json()
    assert [step["name"] for step in kept["document"]["steps"]] == ["fetch", "store"]
    for query in ({}, {"from": first}, {"from": first[:6], "to": second["version_id"]}):
        diff = client.get(f"{PATH}/load/diff", params=query).json()
        assert (diff["from"], diff["to"], diff["is_same"]) == (first, second["version_id"], False)
        assert [step["name"] for step in diff["steps"]["added"]] == ["mail"]
        assert diff["live"] == {
            "count": 1,
            "is_more": False,
            "versions": [{"version_id": first, "flows": 1}],
            "flows": [flow_id],
        }
    assert client.get(f"{PATH}/load/versions/0000").json()["type"] == "urn:penstock:problem:unknown-version"
    assert client.get(f"{PATH}/load/diff", params={"from": "0000"}).status_code == 404
    assert client.get(f"{PATH}/nobody/versions").status_code == 404


def test_a_workflow_is_taken_away(client: TestClient, db: Database) -> None:
    version_id = put(client).json()["version_id"]
    start(db, "load")
    assert client.delete(f"{PATH}/load").status_code == 409
    gone = client.delete(f"{PATH}/load", params={"force": "true", "reason": "not needed"})
    assert (gone.status_code, gone.json()) == (200, {"task_id": "load"})
    assert client.get(f"{PATH}/load").status_code == client.delete(f"{PATH}/load").status_code == 404
    assert client.get(f"{PATH}/load/versions/{version_id}").status_code == 200, "history stays"
    assert [row.reason for row in rows(db, command) if row.outcome == "done"][-1] == "not needed"


def test_the_list(client: TestClient, db: Database) -> None:
    put(client)
    put(client, {"description": "Mails", "owner": "bob", "steps": [{"program": "Noop"}]}, "Mail")
    define(db, "by hand")
    define(db, "broken")
    sql(db, "INSERT INTO ms_task_edge (task_id, task_seq, depends_task_seq) VALUES ('broken', 1, 7)")
    flow_id = start(db, "load")
    listed = client.get(PATH).json()["workflows"]
    assert [one["task_id"] for one in listed] == ["Mail", "broken", "by hand", "load"]
    assert (listed[1]["version_id"], "step 7" in listed[1]["problem"]) == (None, True)
    assert (listed[3]["live_flows"], listed[3]["last_flow"], listed[3]["tags"]) == (1, flow_id, ["daily"])
    for query, expected in (
        ({"text": "mail"}, ["Mail"]),
        ({"text": "LOADS"}, ["load"]),
        ({"tag": "daily"}, ["load"]),
        ({"tag": "DAILY"}, []),
        ({"owner": "bob"}, ["Mail"]),
    ):
        assert [one["task_id"] for one in client.get(PATH, params=query).json()["workflows"]] == expected
    found, cursor = [], None
    for _ in range(2):
        page = client.get(PATH, params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += [one["task_id"] for one in page["workflows"]]
        cursor = page["next"]
    assert (found, cursor) == (["Mail", "broken", "by hand", "load"], None)
    assert client.get(f"{PATH}/broken").status_code == 409
    assert put(client, task_id="broken").json()["was"] is None, "what is broken can be replaced"


def test_who_may_do_what(client: TestClient, db: Database) -> None:
    put(client)
    put(client, task_id="mail")
    viewer = let_in(client, db, "viewer", workflows=["load*"])
    assert [one["task_id"] for one in viewer.get(PATH).json()["workflows"]] == ["load"]
    for path in ("mail", "mail/versions", "mail/diff", f"mail/versions/{'0' * 64}"):
        assert viewer.get(f"{PATH}/{path}").status_code == 404
    for tried in (put(viewer), viewer.delete(f"{PATH}/load")):
        assert tried.status_code == 403
    author = let_in(client, db, "author", workflows=["load*"])
    assert put(author).status_code == put(author, task_id="load-2").status_code == 200
    assert put(author, task_id="mail").status_code == author.delete(f"{PATH}/mail").status_code == 404


@pytest.mark.parametrize("task_id", ["a b", "a/b", "ä", "validate", "50%"])
def test_ids_of_all_kinds(client: TestClient, db: Database, task_id: str) -> None:
    from urllib.parse import quote

    path = f"{PATH}/{quote(task_id, safe='')}"
    assert client.put(path, json=LOAD).status_code == 200
    assert client.get(path).json()["document"]["task_id"] == task_id
    assert json.loads(client.get(f"{path}/versions").text)["versions"]
    assert client.delete(path).status_code == 200
