"""What expressions see of a flow, on every database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import factories
from factories import define, finish, insert_task, sql, start
from sqlalchemy import event

from engine.database import Database
from engine.expression.evaluator import evaluate
from engine.expression.scope import NAMES, Scopes


@contextmanager
def statements(db: Database) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_conn: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            seen.append(statement)

    event.listen(db.engine, "before_cursor_execute", note)
    yield seen
    event.remove(db.engine, "before_cursor_execute", note)


def row(db: Database, flow_id: str, seq: int, result: object = None, status: int = 3, **columns: object) -> None:
    text = None if result is None else json.dumps(result)
    insert_task(db, flow_id, seq, exec_status=status, wait_count=-1, result=text, **columns)


def test_a_scope_holds_what_is_named_and_nothing_else(db: Database) -> None:
    define(db, "load", steps=2)
    flow_id = start(db, "load", parameters={"limit": 3}, run_key="2024-02-29")
    finish(db, *factories.claim(db), result='{"rows": 7}')
    with db.read() as conn:
        scope = Scopes(conn).of(flow_id, NAMES, result={"x": 1}, error={"reason": "failed", "message": "m"})
        assert set(scope) == set(NAMES) - {"iteration"}
        assert scope["params"] == {"limit": 3}
        assert dict(scope["results"]) == {"1": {"rows": 7}}
        assert scope["result"] == {"x": 1}
        assert {name: scope["flow"][name] for name in ("id", "task_id", "run_key")} == {
            "id": flow_id,
            "task_id": "load",
            "run_key": "2024-02-29",
        }
        at = datetime.fromisoformat(scope["flow"]["registered_ts"])
        assert at == factories.flow(db, flow_id).registered_ts
        assert at.utcoffset() is not None
        assert evaluate("results['1'].rows > params.limit && result.x == 1", scope) is True
        assert set(Scopes(conn).of(flow_id, {"params", "error"})) == {"params"}


def test_the_latest_finished_instance_counts(db: Database) -> None:
    row(db, "f", 1, "first", name="load", task_seq=5)
    row(db, "f", 2, "second", name="load", task_seq=5)
    row(db, "f", 3, "not yet", status=2, name="load", task_seq=5)
    row(db, "f", 4, None, name="quiet", task_seq=6)
    row(db, "f", 5, "ignored", status=9, name="gone", task_seq=7)
    row(db, "f", 6, "helper", name="load", task_seq=5, phase="post")
    row(db, "f", 7, "nameless", task_seq=8)
    row(db, "f", 8, "a name wins", name="8", task_seq=9)
    row(db, "other", 1, "elsewhere", name="load", task_seq=5)
    with db.read() as conn:
        results = Scopes(conn).of("f", ["results"])["results"]
        assert dict(results) == {
            "load": "second",
            "5": "second",
            "quiet": None,
            "6": None,
            "8": "a name wins",
            "9": "a name wins",
        }
        assert len(results) == 6
        assert "gone" not in results
        assert evaluate("has(results.quiet) && !has(results.gone) && results.load == 'second'", {"results": results})


def test_names_are_compared_byte_by_byte(db: Database) -> None:
    for seq, name in enumerate(("a", "A", "a "), 1):
        row(db, "f", seq, name, name=name, task_seq=seq)
    with db.read() as conn:
        results = Scopes(conn).of("f", ["results"])["results"]
        assert {name: results[name] for name in ("a", "A", "a ")} == {"a": "a", "A": "A", "a ": "a "}


def test_rows_without_a_flow_and_broken_texts_have_a_scope(db: Database) -> None:
    row(db, "hand", 1)
    define(db)
    flow_id = start(db)
    sql(db, "UPDATE kr_flow_stat SET parameters = '[1' WHERE task_flow_id = :flow", flow=flow_id)
    with db.read() as conn:
        scope = Scopes(conn).of("hand", ["params", "flow"])
        assert scope == {
            "params": {},
            "flow": {"id": "hand", "task_id": None, "run_key": None, "registered_ts": None},
        }
        assert Scopes(conn).of(flow_id, ["params"]) == {"params": {}}


def test_each_part_is_read_once_and_only_if_named(db: Database) -> None:
    define(db, steps=3)
    flow_id = start(db, parameters={"a": 1})
    factories.run_all(db)
    with db.read() as conn, statements(db) as seen:
        scopes = Scopes(conn)
        scopes.of(flow_id, ["result"], result=1)
        assert seen == []
        scopes.of(flow_id, ["params"])
        scopes.of(flow_id, ["params", "flow"])
        assert len(seen) == 1
        results = scopes.of(flow_id, ["results"])["results"]
        assert len(seen) == 2
        assert results["1"] is None
        assert results["1"] is None
        assert len(seen) == 3
        assert dict(scopes.of(flow_id, ["results"])["results"]) == {"1": None, "2": None, "3": None}
        assert len(seen) == 4
