"""The key of a task instance, and conditions over many keys at once."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import BigInteger, Column, ColumnElement, Connection, and_
from sqlalchemy.types import TypeEngine

from engine.database import Database
from engine.dialects.for_rows import Columns, ForRows, Rows
from engine.dialects.given import select_given
from engine.dialects.rowset import one_of
from engine.dialects.types import Id
from engine.tables import flow_stat, task_stat

T = TypeVar("T")
CHUNK = 500
"""Rows named in one statement: beyond a thousand MariaDB gives up its range scan, and SQLite its variables."""


class Key(NamedTuple):
    """Which task instance: (task_flow_id, task_exec_seq). Keys sort in the one order in which rows are locked."""

    flow_id: str
    seq: int


class Fence(NamedTuple):
    """A key and the claim that must still be the row's last."""

    flow_id: str
    seq: int
    claim_id: str


def key_of(row: Any) -> Key:
    """The key of a row that was selected with KEY_COLUMNS."""
    return Key(row.task_flow_id, row.task_exec_seq)


def leading_key(row: Any) -> Key:
    """The key of a row that was selected with KEY_COLUMNS before all else: quicker than by name."""
    return Key(row[0], row[1])


KEY_COLUMNS = (task_stat.c.task_flow_id, task_stat.c.task_exec_seq)


def among(keys: Collection[Key] | Collection[Fence]) -> ColumnElement[bool]:
    """The rows of kr_task_stat with these keys, and, for fences, with these claims."""
    fenced = isinstance(next(iter(keys)), Fence)
    columns = (*KEY_COLUMNS, task_stat.c.claim_id) if fenced else KEY_COLUMNS
    return one_of(columns, keys)


def keyed(**columns: TypeEngine[Any]) -> Columns:
    """What a statement is given of each row: a key, and further values."""
    return {"flow_id": Id(256), "seq": BigInteger(), **columns}


def joined(rows: Rows, table: Any = task_stat) -> ColumnElement[bool]:
    """The rows of a table with the keys that are given, and, where claims are given too, under these."""
    same = [table.c.task_flow_id == rows.c.flow_id, table.c.task_exec_seq == rows.c.seq]
    if hasattr(rows.c, "claim_id"):
        same.append(table.c.claim_id == rows.c.claim_id)
    return and_(*same)


def pair_among(first: Column[str], second: Column[int], keys: Collection[Key]) -> ColumnElement[bool]:
    """The rows of any table whose two columns name one of these keys."""
    return one_of((first, second), keys)


def chunks(items: Iterable[T], size: int = CHUNK) -> Iterator[list[T]]:
    """The items in order, at most `size` at a time."""
    part: list[T] = []
    for item in items:
        part.append(item)
        if len(part) == size:
            yield part
            part = []
    if part:
        yield part


def lock_flows(conn: Connection, db: Database, flow_ids: Collection[str]) -> None:
    """Lock flow rows in key order, where the database has row locks. After task rows, before any claim."""
    if db.can.row_locks:
        for part in chunks(sorted(flow_ids)):
            _LOCK_FLOWS(conn, [(flow_id,) for flow_id in part]).all()


A_FLOW: Columns = {"flow_id": Id(256)}
_LOCK_FLOWS = ForRows(
    A_FLOW,
    lambda rows: (
        select_given(rows, flow_stat.c.task_flow_id, by_key_of=flow_stat)
        .where(flow_stat.c.task_flow_id == rows.c.flow_id)
        .order_by(flow_stat.c.task_flow_id)
        .with_for_update()
    ),
)
