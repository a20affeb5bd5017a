"""The list of flows, page by page: newest first, each flow once, whatever shares its instant."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from explaining import explained, with_statistics
from sqlalchemy import insert

from engine.database import Database
from engine.queries import list_flows
from engine.tables import flow_stat

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def flows(db: Database, *minutes: int, **columns: Any) -> list[str]:
    """Flows registered so many minutes past noon; their ids in the order of the list."""
    name = columns.get("task_id", "w")
    every = [(minute, f"{name}-{number:02d}") for number, minute in enumerate(minutes)]
    with db.transaction() as conn:
        for minute, flow_id in every:
            row = {"task_flow_id": flow_id, "task_id": "w", "flow_status": 3, "flow_priority": 0, **columns}
            conn.execute(insert(flow_stat).values(registered_ts=NOON + timedelta(minutes=minute), **row))
    return [flow_id for _, flow_id in sorted(every, reverse=True)]


def pages(db: Database, limit: int, **which: Any) -> list[list[str]]:
    found: list[list[str]] = []
    cursor = None
    while not found or cursor is not None:
        with db.read() as conn:
            page, cursor = list_flows(conn, limit=limit, cursor=cursor, **which)
        found.append([flow["task_flow_id"] for flow in page])
    return found


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 50])
def test_every_flow_is_on_one_page(db: Database, limit: int) -> None:
    listed = flows(db, 5, 5, 5, 5, 5, 3, 9, 9, 1)
    found = pages(db, limit)
    assert [flow_id for page in found for flow_id in page] == listed
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)


def test_pages_of_a_workflow_and_a_status(db: Database) -> None:
    flows(db, 1, 2, 2, 3)
    waiting = flows(db, 2, 2, 2, 4, task_id="v", flow_status=0)
    flows(db, 2, 5, task_id="u", flow_status=0)
    assert [flow for page in pages(db, 2, task_id="v", status=0) for flow in page] == waiting
    assert pages(db, 3, task_id="w", status=0) == [[]]
    assert len(pages(db, 1, status=0)) == 6


@pytest.fixture
def many(db: Database) -> Database:
    """Flows enough that a plan matters: registered in bulk, and nearly all finished."""
    row = {"task_id": "w", "flow_priority": 0}
    every = [
        {
            **row,
            "task_flow_id": f"f{number:04d}",
            "flow_status": 3 if number % 100 else 0,
            "registered_ts": NOON + timedelta(minutes=number // 1_000),
        }
        for number in range(4_000)
    ]
    with db.transaction() as conn:
        conn.execute(insert(flow_stat), every)
    return with_statistics(db, flow_stat)


MIDDLE = "2026-01-01T12:01:00.000000Z~f1500"
PAGES: dict[str, dict[str, Any]] = {
    "the newest": {},
    "the middle": {"cursor": MIDDLE},
    "of a status": {"status": 0},
    "of a status, the middle": {"status": 0, "cursor": MIDDLE},
    "of a workflow": {"task_id": "w"},
    "of a workflow, the middle": {"task_id": "w", "cursor": MIDDLE},
    "of a status of a workflow": {"task_id": "w", "status": 0},
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_read_from_an_index_in_its_order(many: Database, name: str) -> None:
    with explained(many) as plans, many.read() as conn:
        page, _ = list_flows(conn, limit=10, **PAGES[name])
    assert len(page) == 10
    for plan in plans:
        for sign in ("filesort", "TEMP B-TREE", "Sort", "Seq Scan", "SCAN kr_flow_stat\n", "ALL"):
            assert sign not in plan, plan
        if "status" in PAGES[name]:
            index = "ix_kr_flow_stat_listed" if many.can.partial_indexes else "ix_kr_flow_stat_by_status"
            assert index in plan, "the finished ones are stepped over"
