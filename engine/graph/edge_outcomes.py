"""Writing down what became of edges, where that does not follow from the earlier task alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Connection, null, or_, true, update

from engine.database import Database
from engine.dialects.rowset import one_of
from engine.graph.edges import Edge
from engine.graph.trigger_rules import EdgeOutcome
from engine.keys import Key, chunks, pair_among
from engine.tables import run_edge

_KEY = (run_edge.c.task_flow_id, run_edge.c.task_exec_seq, run_edge.c.depends_task_exec_seq)


def write(conn: Connection, db: Database, outcomes: Mapping[Edge, EdgeOutcome]) -> None:
    """Store these outcomes. An edge that has no row of its own in kr_task_edge gets one; a stored outcome stands."""
    bare = sorted({_place(edge) for edge in outcomes if not edge.stored})
    columns = [column.name for column in _KEY]
    for part in chunks(bare):
        conn.execute(db.dialect.insert_missing(run_edge), [dict(zip(columns, place, strict=True)) for place in part])
    groups: dict[EdgeOutcome, list[tuple[Any, ...]]] = {}
    for edge, outcome in outcomes.items():
        groups.setdefault(outcome, []).append(_place(edge))
    for outcome, places in groups.items():
        for part in chunks(sorted(places)):
            still_open = one_of(_KEY, part), run_edge.c.outcome.is_(None)
            conn.execute(update(run_edge).where(*still_open).values(outcome=str(outcome)))


def _place(edge: Edge) -> tuple[str, int, int]:
    return edge.child.flow_id, edge.child.seq, edge.parent.seq


def withdraw(conn: Connection, keys: Collection[Key], *, loops: bool = False) -> None:
    """Forget what these tasks told the tasks behind them, and which of the edges into them did not matter any more:
    they will end once more. Loops that were taken stay taken, unless `loops` begin anew too."""
    edge = run_edge.c
    told = true() if loops else or_(edge.outcome.is_(None), edge.outcome != EdgeOutcome.LOOPED)
    for part in chunks(sorted(keys)):
        _forget(conn, pair_among(edge.task_flow_id, edge.depends_task_exec_seq, part), told)
        _forget(conn, pair_among(edge.task_flow_id, edge.task_exec_seq, part), edge.outcome == EdgeOutcome.MOOT)


def _forget(conn: Connection, *where: ColumnElement[bool]) -> None:
    conn.execute(update(run_edge).where(*where, run_edge.c.outcome.isnot(None)).values(outcome=null()))
