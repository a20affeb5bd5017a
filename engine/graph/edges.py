"""The edges of flows, read from the rows: the first predecessor of a task stands in its own row, as in Flower; further
ones, and whatever an edge has beyond its two ends, in kr_task_edge. Loop edges lead back and hold nobody up."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, Select, Table, or_

from engine.dialects.for_rows import ForRows, Rows
from engine.dialects.given import select_given
from engine.keys import Key, chunks, keyed
from engine.tables import BEHIND, EDGES_BEHIND, run_edge, task_stat

NORMAL, ERROR, TIMEOUT, LOOP, AFTER = "normal", "error", "timeout", "loop", "after"
KINDS: Final = (NORMAL, ERROR, TIMEOUT, LOOP, AFTER)
"""`after`, which only runs have, orders two tasks and has no say in whether the later one runs."""


IS_FORWARD: Final = or_(run_edge.c.kind.is_(None), run_edge.c.kind != LOOP)
"""An edge of kr_task_edge that something waits for: a loop goes back to what has run, and holds nothing up."""


@dataclass(frozen=True)
class Edge:
    """`child` after `parent`. `stored`: it has a row in kr_task_edge, which can hold its outcome."""

    child: Key
    parent: Key
    kind: str = NORMAL
    only_if: str | None = None
    is_default: bool = False
    max_iterations: int | None = None
    outcome: str | None = None
    stored: bool = False

    @property
    def is_plain(self) -> bool:
        """Does what becomes of it follow from the earlier task alone?"""
        return self.kind == AFTER or (self.kind == NORMAL and self.only_if is None and not self.is_default)

    @property
    def words(self) -> str:
        return f"edge {self.parent.seq} -> {self.child.seq}"


def behind(conn: Connection, parents: Collection[Key], *, loops: bool = False) -> list[Edge]:
    """The edges that leave these tasks, loop edges only if asked for."""
    return _read(conn, parents, "depends_task_exec_seq", loops)


def before(conn: Connection, children: Collection[Key]) -> list[Edge]:
    """The edges into these tasks, whether or not the earlier tasks exist."""
    return _read(conn, children, "task_exec_seq", loops=False)


def _read(conn: Connection, ends: Collection[Key], column: str, loops: bool) -> list[Edge]:
    found: dict[tuple[Key, Key, bool], Edge] = {}
    plain, stored = _QUERIES[column]
    for part in chunks(sorted(set(ends))):
        for edge in _plain(plain(conn, part)):
            found[edge.child, edge.parent, False] = edge
        for edge in _stored(stored(conn, part)):
            if loops or edge.kind != LOOP:  # one may be named twice, in the row and in kr_task_edge, which says more
                found[edge.child, edge.parent, edge.kind == LOOP] = edge
    return list(found.values())


def _plain(rows: Iterable[Any]) -> Iterable[Edge]:
    for flow_id, seq, parent in rows:
        yield Edge(Key(flow_id, seq), Key(flow_id, parent))


def _stored(rows: Iterable[Any]) -> Iterable[Edge]:
    for flow_id, seq, parent, kind, *rest in rows:
        only_if, is_default, most, outcome = rest
        kind = kind if kind in KINDS else NORMAL
        yield Edge(Key(flow_id, seq), Key(flow_id, parent), kind, only_if, bool(is_default), most, outcome, stored=True)


def _ends(rows: Rows, table: Table, column: str, *more: Any) -> Select[Any]:
    """The two ends of the edges whose end in `column` is given."""
    by = None if column == "task_exec_seq" else BEHIND if table is task_stat else EDGES_BEHIND
    ends = select_given(rows, table.c.task_flow_id, table.c.task_exec_seq, table.c.depends_task_exec_seq, *more, by=by)
    return ends.where(table.c.task_flow_id == rows.c.flow_id, table.c[column] == rows.c.seq)


def _queries(column: str) -> tuple[ForRows, ForRows]:
    edge = run_edge.c
    extras = edge.kind, edge.only_if, edge.is_default, edge.max_iterations, edge.outcome
    is_edge = task_stat.c.depends_task_exec_seq > 0
    return (
        ForRows(keyed(), lambda rows: _ends(rows, task_stat, column).where(is_edge)),
        ForRows(keyed(), lambda rows: _ends(rows, run_edge, column, *extras)),
    )


_QUERIES: Final = {column: _queries(column) for column in ("depends_task_exec_seq", "task_exec_seq")}
