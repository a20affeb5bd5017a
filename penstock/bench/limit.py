"""What the database can do bare: driver and tables, no engine.

One table of integers, the edges kept in memory, and for each batch one transaction that finishes it, lowers the
counters behind it and claims the next one: what any engine on this database has to do at least. Statements are written
for each driver as it likes them best, which is why this file knows the databases by name.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from engine.database import Database

BATCH: Final = 100
STEPS: Final = 1_000_000
"""Numbers are flow * STEPS + step."""
_TABLE: Final = "penstock_bench_limit"
_COLUMNS: Final = (
    "id BIGINT PRIMARY KEY, status SMALLINT NOT NULL, priority SMALLINT NOT NULL, waits_for INTEGER NOT NULL"
)


@dataclass(frozen=True)
class Words:
    """The statements of one database. Each takes a list of numbers as `given` makes it of them."""

    begin: str | None
    among: str
    index: str
    lock: str
    value: str
    placed: str

    def given(self, numbers: Sequence[int]) -> tuple[Any, ...]:
        return (json.dumps(list(numbers)),) if self.placed == "json" else (list(numbers),)


_WHERE_READY: Final = "status = 0 AND waits_for = 0"
_PARTIAL: Final = f"CREATE INDEX {_TABLE}_ready ON {_TABLE} (priority, id) WHERE {_WHERE_READY}"
WORDS: Final = {
    "sqlite": Words("BEGIN IMMEDIATE", "IN (SELECT value FROM json_each(?))", _PARTIAL, "", "?", "json"),
    "postgresql": Words(None, "= ANY(%s)", _PARTIAL, "FOR UPDATE SKIP LOCKED", "%s", "list"),
    "mysql": Words(
        None,
        "IN %s",
        f"CREATE INDEX {_TABLE}_ready ON {_TABLE} (status, waits_for, priority, id)",
        "FOR UPDATE SKIP LOCKED",
        "%s",
        "list",
    ),
}


class Limit:
    """Flows of one shape in a bare table. `edges`: (before, after) by step, from 1; `steps` of each flow."""

    def __init__(self, db: Database, steps: int, edges: Sequence[tuple[int, int]]) -> None:
        self._words = WORDS[db.dialect.name]
        self._connection: Any = db.engine.raw_connection()
        self._steps = steps
        self._behind: dict[int, list[int]] = {}
        self._awaits: Counter[int] = Counter(after for _, after in edges)
        for before, after in edges:
            self._behind.setdefault(before, []).append(after)

    def measure(self, flows: int, batch: int = BATCH) -> float:
        """Tasks a second."""
        self._fill(flows)
        try:
            began = time.perf_counter()
            done, held = 0, self._turn([], batch)
            while held:
                done += len(held)
                held = self._turn(held, batch)
            took = time.perf_counter() - began
        finally:
            self._do(f"DROP TABLE {_TABLE}")
            self._connection.close()
        if done != flows * self._steps:
            raise AssertionError(f"{done} of {flows * self._steps} tasks were done")
        return done / took

    def _fill(self, flows: int) -> None:
        self._do(f"DROP TABLE IF EXISTS {_TABLE}")
        self._do(f"CREATE TABLE {_TABLE} ({_COLUMNS})")
        self._do(self._words.index)
        rows = [
            (flow * STEPS + step, 0, 0, self._awaits[step])
            for flow in range(flows)
            for step in range(1, self._steps + 1)
        ]
        places = ", ".join([self._words.value] * 4)
        cursor = self._begin()
        cursor.executemany(f"INSERT INTO {_TABLE} (id, status, priority, waits_for) VALUES ({places})", rows)
        self._commit(cursor)

    def _turn(self, done: list[int], batch: int) -> list[int]:
        cursor = self._begin()
        if done:
            self._move(cursor, "status = 3", done)
            self._lower(cursor, done)
        query = f"SELECT id FROM {_TABLE} WHERE {_WHERE_READY} ORDER BY priority, id LIMIT {batch} {self._words.lock}"
        cursor.execute(query)
        held = [row[0] for row in cursor.fetchall()]
        if held:
            self._move(cursor, "status = 1", held)
        self._commit(cursor)
        return held

    def _lower(self, cursor: Any, done: list[int]) -> None:
        told: Counter[int] = Counter()
        for number in done:
            flow, step = divmod(number, STEPS)
            told.update(flow * STEPS + after for after in self._behind.get(step, ()))
        groups: dict[int, list[int]] = {}
        for number, count in told.items():
            groups.setdefault(count, []).append(number)
        for count, numbers in groups.items():
            self._move(cursor, f"waits_for = waits_for - {count}", numbers)

    def _move(self, cursor: Any, change: str, numbers: list[int]) -> None:
        where = f"id {self._words.among}"
        cursor.execute(f"UPDATE {_TABLE} SET {change} WHERE {where}", self._words.given(sorted(numbers)))

    def _begin(self) -> Any:
        cursor = self._connection.cursor()
        if self._words.begin:
            cursor.execute(self._words.begin)
        return cursor

    def _commit(self, cursor: Any) -> None:
        if self._words.begin:
            cursor.execute("COMMIT")
        else:
            self._connection.commit()
        cursor.close()

    def _do(self, statement: str) -> None:
        cursor = self._connection.cursor()
        cursor.execute(statement)
        cursor.close()
        if not self._words.begin:
            self._connection.commit()
