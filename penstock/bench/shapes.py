"""The workflows that are measured: their steps, which do nothing, and their edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import insert

from engine.database import Database
from engine.flows import Registration, register
from engine.tables import task_definition, task_edge

BATCH: Final = 500
"""Flows of one registration."""


@dataclass(frozen=True)
class Shape:
    """`edges` name steps by number, from 1: (before, after)."""

    name: str
    steps: int
    edges: tuple[tuple[int, int], ...] = ()
    program: str = "Noop"

    def define(self, db: Database) -> None:
        steps = [{"task_id": self.name, "task_seq": step, "program": self.program} for step in range(1, self.steps + 1)]
        edges = [{"task_id": self.name, "task_seq": after, "depends_task_seq": b} for b, after in self.edges]
        with db.transaction() as conn:
            conn.execute(insert(task_definition), steps)
            if edges:
                conn.execute(insert(task_edge), edges)

    def register(self, db: Database, flows: int) -> None:
        for first in range(0, flows, BATCH):
            wishes = [Registration(self.name) for _ in range(min(BATCH, flows - first))]
            db.transact(lambda conn, wishes=wishes: register(conn, db, wishes), repeated=True)  # type: ignore[misc]


def fan_out(width: int) -> Shape:
    """One step, `width` steps behind it, and one behind all of those."""
    last = width + 2
    middle = range(2, last)
    return Shape("fan-out", last, (*((1, step) for step in middle), *((step, last) for step in middle)))


def _chain(steps: int) -> Sequence[tuple[int, int]]:
    return [(step, step + 1) for step in range(1, steps)]


# A -> B, C; B -> D, E; C -> E, F; D -> G, H; E -> H, I; F -> I, J
DIAMOND10: Final = Shape(
    "diamond10",
    10,
    ((1, 2), (1, 3), (2, 4), (2, 5), (3, 5), (3, 6), (4, 7), (4, 8), (5, 8), (5, 9), (6, 9), (6, 10)),
)
CHAIN: Final = Shape("chain", 40, tuple(_chain(40)))
QUEUE: Final = Shape("queue", 1)
