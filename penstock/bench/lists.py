"""The lists that people look at, over many flows: how long a page takes, wherever it lies."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

from sqlalchemy import Connection, func, insert, literal, select, update

from engine import migrate, queries
from engine.database import Database
from engine.queries import events, operating, stats
from engine.states import Status
from engine.tables import flow_stat, flow_tag
from penstock.bench import filling, running, shapes
from penstock.bench.found import Found, Options

PAGE: Final = 50
RARE: Final = 3
"""Flows that wait, among all the finished ones: the oldest."""
COMMON: Final = 10_000
"""Flows of a tag that many have."""


def lists(db: Database, options: Options) -> Found:
    """Pages of the list of flows beside `size` of them, nearly all finished."""
    shape = shapes.QUEUE
    shape.define(db)
    with running.watchers(db, 1):
        shape.register(db, min(options.size, 1_000))
        running.finished(db)
    there = filling.doubled(db, options.size)
    db.transact(_leave_some_waiting)
    db.transact(_tag)
    middle = _middle(db)
    pages: dict[str, Callable[[Connection], Any]] = {
        "newest": lambda conn: queries.list_flows(conn, limit=PAGE),
        "middle": lambda conn: queries.list_flows(conn, limit=PAGE, cursor=middle),
        "waiting": lambda conn: queries.list_flows(conn, limit=PAGE, status=Status.WAIT),
        "none": lambda conn: queries.list_flows(conn, limit=PAGE, status=Status.SUSPEND),
        "waiting_of_workflow": lambda conn: queries.list_flows(
            conn, limit=PAGE, task_id=shape.name, status=Status.WAIT
        ),
        "of_workflow": lambda conn: queries.list_flows(conn, limit=PAGE, task_id=shape.name),
        "failed": lambda conn: queries.failed_tasks(conn, limit=PAGE),
        "of_rare_tag": lambda conn: queries.list_flows(conn, limit=PAGE, tag="rare"),
        "of_common_tag": lambda conn: queries.list_flows(conn, limit=PAGE, tag="common"),
        "of_run_key": lambda conn: queries.list_flows(conn, limit=PAGE, run_key="some"),
        "text_in_none": lambda conn: queries.list_flows(conn, limit=PAGE, text="nowhere to be found"),
        "ignored_of_workflow": lambda conn: queries.list_flows(
            conn, limit=PAGE, task_id=shape.name, status=Status.IGNORE
        ),
        "queues": operating.list_queues,
        "counters": stats.counters,
        "events": events.list_events,
    }
    walls = {name: _took_s(db, page, options.runs) for name, page in pages.items()}
    migrate.reset(db)
    facts = {"flows": there, **{f"{name}_ms": round(wall * 1_000, 1) for name, wall in walls.items()}}
    wall = sum(walls.values())
    return Found("lists", db.flavour, len(pages), wall, len(pages) / wall, None, options.runs, 0, facts)


def _leave_some_waiting(conn: Connection) -> None:
    """The oldest flows are set back, as rows only: nothing runs meanwhile."""
    oldest = conn.scalars(
        select(flow_stat.c.task_flow_id).order_by(flow_stat.c.registered_ts, flow_stat.c.task_flow_id).limit(RARE)
    ).all()
    conn.execute(update(flow_stat).where(flow_stat.c.task_flow_id.in_(oldest)).values(flow_status=Status.WAIT))


def _tag(conn: Connection) -> None:
    """Three flows have a tag and a run key that no other has, and every one registered first another tag."""
    flow = flow_stat.c
    rare = conn.scalars(select(flow.task_flow_id).order_by(flow.task_flow_id).limit(RARE)).all()
    conn.execute(insert(flow_tag), [{"task_flow_id": one, "tag": "rare"} for one in rare])
    conn.execute(update(flow_stat).where(flow.task_flow_id.in_(rare)).values(run_key="some"))
    some = select(flow.task_flow_id, literal("common")).order_by(flow.task_flow_id).limit(COMMON)
    conn.execute(insert(flow_tag).from_select(["task_flow_id", "tag"], some))


def _middle(db: Database) -> str:
    """A cursor with half of the flows before it."""
    newest = flow_stat.c.registered_ts.desc(), flow_stat.c.task_flow_id.desc()
    with db.read() as conn:
        half = int(conn.scalar(select(func.count()).select_from(flow_stat)) or 0) // 2
        query = select(flow_stat.c.registered_ts, flow_stat.c.task_flow_id).order_by(*newest).offset(half).limit(1)
        row = conn.execute(query).one()
    return queries.cursor_at(row)


def _took_s(db: Database, page: Callable[[Connection], Any], runs: int) -> float:
    walls = []
    for _ in range(runs):
        with db.read() as conn:
            began = time.perf_counter()
            page(conn)
            walls.append(time.perf_counter() - began)
    return median(walls)
