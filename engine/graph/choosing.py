"""A program's choice of the steps that follow, by name or by `task_seq`, as tasks of its flow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select

from engine.graph.edges import NORMAL, Edge
from engine.keys import KEY_COLUMNS, Key, among, chunks, key_of
from engine.tables import task_stat

Wanted = Sequence[str | int]


def resolve(
    conn: Connection, choices: Mapping[Key, Wanted], out: Iterable[Edge]
) -> tuple[dict[Key, frozenset[Key]], dict[Key, str]]:
    """What each of these tasks chose among the edges `out`, and of those that chose a step that is not there, what is
    wrong."""
    behind: dict[Key, set[Key]] = {key: set() for key in choices}
    for edge in out:
        if edge.kind == NORMAL and edge.parent in behind:
            behind[edge.parent].add(edge.child)
    rows = _rows(conn, {child for children in behind.values() for child in children})
    chosen: dict[Key, frozenset[Key]] = {}
    wrong: dict[Key, str] = {}
    for key, wanted in choices.items():
        there = [rows[child] for child in sorted(behind[key]) if child in rows]
        unknown = [step for step in wanted if not any(_is_meant(step, row) for row in there)]
        if unknown:
            wrong[key] = f"chose {unknown[0]!r}, but behind task {key.seq} there {_listed(there)}"
        else:
            chosen[key] = frozenset(key_of(row) for row in there if any(_is_meant(step, row) for step in wanted))
    return chosen, wrong


def _is_meant(step: str | int, row: Row[Any]) -> bool:
    return bool(step == row.name if isinstance(step, str) else step == row.task_seq)


def _listed(rows: Sequence[Row[Any]]) -> str:
    if not rows:
        return "is no step"
    names = [f"{row.task_seq} ({row.name!r})" if row.name else str(row.task_seq) for row in rows]
    return f"{'are the steps' if len(names) > 1 else 'is only step'} {', '.join(names)}"


def _rows(conn: Connection, keys: set[Key]) -> dict[Key, Row[Any]]:
    found: dict[Key, Row[Any]] = {}
    for part in chunks(sorted(keys)):
        query = select(*KEY_COLUMNS, task_stat.c.name, task_stat.c.task_seq).where(among(part))
        listed: list[Any] = list(conn.execute(query))
        found |= {key_of(row): row for row in listed}
    return found
