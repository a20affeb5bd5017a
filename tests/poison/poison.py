"""What a poison row is, how it is inserted, and what must become of it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, text

FLOW: Final = "kr_flow_stat"
TASK: Final = "kr_task_stat"
EDGE: Final = "kr_task_edge"
WAIT: Final = "kr_wait"
MESSAGE: Final = "kr_message"
SQLITE, MARIADB, POSTGRESQL = "sqlite", "mariadb", "postgresql"
SERVERS: Final = (MARIADB, POSTGRESQL)
ALL: Final = (SQLITE, MARIADB, POSTGRESQL)


class Raw(str):
    """A piece of SQL in the place of a value."""


@dataclass(frozen=True)
class End:
    """What a row comes to: its status, and its reason where that is said."""

    status: int
    reason: str | None = None


RUNS: Final = End(3)
"""It is made right, or was harmless: the program ran."""
WAITS: Final = End(0)
"""It waits for what it names, as long as that takes."""


def suspended(reason: str) -> End:
    return End(2, reason)


def ignored(reason: str) -> End:
    return End(9, reason)


Row = tuple[str, Mapping[str, Any]]
"""A table, and the values of a row."""


@dataclass(frozen=True)
class Poison:
    """Rows inserted together; `ends`: what becomes of each task of theirs, by key. `refused_by`: databases that do not
    let the rows in. `outside`: invariants, by the first word of their names, that the rows break by what they are."""

    name: str
    rows: tuple[Row, ...]
    ends: Mapping[tuple[str, int], End] = field(default_factory=dict)
    refused_by: frozenset[str] = frozenset()
    only_on: str | None = None
    """The one database that such rows can be written for."""
    outside: frozenset[str] = frozenset()

    def insert(self, conn: Connection) -> None:
        """As a person would type it."""
        for table, values in self.rows:
            written = ", ".join(value if isinstance(value, Raw) else f":{name}" for name, value in values.items())
            given = {name: value for name, value in values.items() if not isinstance(value, Raw)}
            conn.execute(text(f"INSERT INTO {table}({', '.join(values)}) VALUES ({written})"), given)


def task_row(flow_id: str, seq: int = 1, /, **columns: Any) -> Row:
    """A task row of a hand-made flow, with a program that does nothing."""
    plain = {
        "task_flow_id": flow_id,
        "task_exec_seq": seq,
        "depends_task_exec_seq": -1,
        "task_id": "by hand",
        "task_seq": 1,
        "exec_status": 0,
        "task_priority": 0,
        "parameters": "{}",
        "program": "Noop",
    }
    return TASK, plain | columns


def edge_row(flow_id: str, seq: int, before: int, /, **columns: Any) -> Row:
    return EDGE, {"task_flow_id": flow_id, "task_exec_seq": seq, "depends_task_exec_seq": before, **columns}


def wait_row(flow_id: str, seq: int, /, **columns: Any) -> Row:
    plain = {"wait_id": short_id(f"{flow_id}/{seq}"), "task_flow_id": flow_id, "task_exec_seq": seq, "kind": "message"}
    plain |= {
        "name": "nobody sends it",
        "correlation_key": flow_id,
        "state": "open",
        "created_ts": "2026-01-01 00:00:00",
    }
    return WAIT, plain | columns


def one_task(
    name: str,
    end: End,
    /,
    *,
    refused_by: Iterable[str] = (),
    only_on: str | None = None,
    outside: Iterable[str] = (),
    **columns: Any,
) -> Poison:
    """One bad task row, and a healthy one beside it in the same flow, which must not suffer."""
    flow_id = str(columns.pop("task_flow_id", f"poison: {name}"))
    rows = task_row(flow_id, 1, **columns), task_row(flow_id, 2, task_seq=2)
    ends = {(flow_id, 1): end, (flow_id, 2): RUNS}
    return Poison(name, rows, ends, frozenset(refused_by), only_on, frozenset(outside))


def flow(
    name: str,
    rows: Iterable[Row],
    ends: Mapping[int, End],
    *,
    refused_by: Iterable[str] = (),
    only_on: str | None = None,
    outside: Iterable[str] = (),
) -> Poison:
    """Several rows of one flow, whose id is the name."""
    by_key = {(name, seq): end for seq, end in ends.items()}
    return Poison(name, tuple(rows), by_key, frozenset(refused_by), only_on, frozenset(outside))


def short_id(words: str) -> str:
    """An id of 36 characters that belongs to these words."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, words))
