"""Lists of flows by tag, run key, time and text: what is found, and that no page looks at more than its share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert

from engine.access import Reach
from engine.database import Database
from engine.errors import BadRequest
from engine.queries import list_flows, search
from engine.tables import flow_stat, flow_tag

pytestmark = pytest.mark.by_turns

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def add(db: Database, flow_id: str, minute: int, tags: tuple[str, ...] = (), **columns: Any) -> None:
    row = {"task_flow_id": flow_id, "task_id": "w", "flow_status": 3, "registered_ts": NOON + timedelta(minutes=minute)}
    with db.transaction() as conn:
        conn.execute(insert(flow_stat).values(**row | columns))
        for tag in tags:
            conn.execute(insert(flow_tag).values(task_flow_id=flow_id, tag=tag))


def found(db: Database, **where: Any) -> list[str]:
    """All pages of two."""
    ids: list[str] = []
    cursor = None
    while True:
        with db.read() as conn:
            page, cursor = list_flows(conn, limit=2, cursor=cursor, **where)
        ids += [flow["task_flow_id"] for flow in page]
        if cursor is None:
            return ids


@pytest.fixture
def some(db: Database) -> Database:
    add(db, "a", 1, ("x", "team=data"), run_key="k1")
    add(db, "b", 2, ("x",), run_key="k2", flow_status=0)
    add(db, "c", 2, (), run_key="k1", task_id="v", reason="Cancelled")
    add(db, "d", 3, ("x", "y"), task_id="vv", flow_status=0)
    add(db, "e", 4, ("X",), flow_status=9)
    return db


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"tag": "x"}, "dba"),
        ({"tag": "X"}, "e"),
        ({"tag": "team=data"}, "a"),
        ({"tag": "none"}, ""),
        ({"run_key": "k1"}, "ca"),
        ({"run_key": "k1", "task_id": "w"}, "a"),
        ({"task_id": "w", "status": 0}, "b"),
        ({"task_id": "w", "status": 9}, "e"),
        ({"task_id": "w", "tag": "x"}, "ba"),
        ({"status": 0, "tag": "y"}, "d"),
        ({"registered_after": NOON + timedelta(minutes=2)}, "edcb"),
        ({"registered_before": NOON + timedelta(minutes=2)}, "a"),
        ({"registered_after": NOON + timedelta(minutes=2), "registered_before": NOON + timedelta(minutes=3)}, "cb"),
        ({"registered_after": NOON + timedelta(minutes=2), "tag": "x"}, "db"),
        ({"text": "K1"}, "ca"),
        ({"text": "cancel"}, "c"),
        ({"text": "v"}, "dc"),
        ({"text": "%"}, ""),
        ({"within": Reach(("v*",))}, "dc"),
        ({"within": Reach(("v",)), "tag": "x"}, ""),
        ({"within": Reach(("w",)), "task_id": "v"}, ""),
        ({"within": Reach(("v*",)), "task_id": "v"}, "c"),
        ({"within": Reach(())}, ""),
    ],
    ids=str,
)
@pytest.mark.parametrize("few", [1_000, 1])
def test_what_is_found(some: Database, monkeypatch: pytest.MonkeyPatch, where: Any, expected: str, few: int) -> None:
    monkeypatch.setattr(search, "FEW", few)
    assert "".join(found(some, **where)) == expected


def test_a_page_looks_at_its_share_and_says_where_to_go_on(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.queries import flows

    monkeypatch.setattr(flows, "SCANNED", 4)
    monkeypatch.setattr(flows, "AT_ONCE", 2)
    for number in range(11):
        add(db, f"f{number:02}", 0 if number % 3 else number, run_key="here" if number in (0, 9) else "there")
    pages = []
    cursor = None
    while not pages or cursor is not None:
        with db.read() as conn:
            page, cursor = list_flows(conn, limit=5, cursor=cursor, text="here", task_id="w")
        pages.append([flow["task_flow_id"] for flow in page if flow["run_key"] == "here"])
    assert [one for page in pages for one in page] == ["f09", "f00"]
    assert len(pages) >= 3, "four rows of eleven for each page"


@pytest.mark.parametrize(
    "where",
    [
        {"limit": 0},
        {"limit": True},
        {"cursor": "x"},
        {"tag": ""},
        {"text": "a\x00"},
        {"run_key": "x" * 257},
        {"registered_after": datetime(2026, 1, 1)},
    ],
    ids=str,
)
def test_a_bad_question_is_refused(db: Database, where: Any) -> None:
    with pytest.raises(BadRequest), db.read() as conn:
        list_flows(conn, **where)
