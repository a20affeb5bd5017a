"""Pieces of SQL wherever a text goes into a query: they are looked for, and nothing more."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from factories import define, rows, start
from starlette.testclient import TestClient

from engine.database import Database
from engine.tables import flow_stat, task_definition

pytestmark = pytest.mark.by_turns

CORPUS = (
    "'",
    "''",
    '"',
    "`",
    "\\",
    "\\'",
    "%",
    "_",
    "%%s",
    "%(x)s",
    ":x",
    "?",
    "w' OR '1'='1",
    "w' OR 1=1 -- ",
    'w" OR ""="',
    "w') OR ('1'='1",
    "w\\' OR 1=1 -- ",
    "w' UNION SELECT token_hash FROM ms_token -- ",
    "w'; DELETE FROM kr_flow_stat; -- ",
    "w'; DROP TABLE ms_task_definition; -- ",
    "w'/**/OR/**/1=1#",
    "w' AND SLEEP(5) -- ",
    "w' AND pg_sleep(5) -- ",
    "w' || (SELECT version()) || '",
    "w\uff07 OR 1=1 -- ",
    "w\u02bc OR 1=1 -- ",
    "task_id; SELECT 1",
    "1; SELECT 1",
    "(SELECT 1)",
    "0x31303d31",
    "$$ OR 1=1 $$",
    "E'\\047'",
    '{"$ne": null}',
    "[1]') OR 1=1 -- ",
)
QUERIES = (
    "/flows?taskId={}",
    "/flows?cursor={}",
    "/api/v1/flows?task_id={}",
    "/api/v1/flows?run_key={}",
    "/api/v1/flows?tag={}",
    "/api/v1/flows?text={}",
    "/api/v1/flows?status={}",
    "/api/v1/flows?cursor={}",
    "/api/v1/events?flow_id={}",
    "/api/v1/commands?subject={}",
    "/api/v1/workflows?cursor={}",
)


@pytest.mark.parametrize("query", QUERIES)
def test_a_piece_of_sql_finds_nothing(db: Database, client: TestClient, query: str) -> None:
    define(db, "w")
    start(db, "w")
    for text in CORPUS:
        answer = client.get(query.format(quote(text, safe="")))
        assert answer.status_code in (200, 404, 422), (text, answer.text)
        if answer.status_code == 200 and "cursor" not in query:
            found = next(value for value in answer.json().values() if isinstance(value, list))
            assert found == [], (text, found)


def test_a_piece_of_sql_is_a_name_like_any_other(db: Database, client: TestClient) -> None:
    define(db, "w")
    for text in CORPUS:
        define(db, text)
        made = client.post(f"/register/{quote(text, safe='')}", json={"runKey": text, "parameters": {text: text}})
        assert made.status_code == 200, (text, made.text)
        [flow] = client.get(f"/api/v1/flows?task_id={quote(text, safe='')}").json()["flows"]
        assert (flow["task_id"], flow["run_key"]) == (text, text)
    assert len(rows(db, flow_stat)) == len(CORPUS)
    assert len(rows(db, task_definition)) == len(CORPUS) + 1
