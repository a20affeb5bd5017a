"""The workflows of the load: their graphs, their definition rows, and what each task of a flow must return."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert

from engine.database import Database
from engine.tables import limit, task_definition, task_edge, task_option
from tests.chaos.witness import MODULUS, share

CAP = 3
"""How many tasks of the capped workflow may run at once."""


@dataclass(frozen=True)
class Shape:
    """A workflow of `size` tasks 1..n; `edges` are (before, after); `kinds` says which tasks do not just finish."""

    name: str
    size: int
    edges: tuple[tuple[int, int], ...] = ()
    kinds: Mapping[int, str] = field(default_factory=dict)
    cap: int | None = None

    @property
    def task_id(self) -> str:
        return f"chaos-{self.name}"

    def parents(self, seq: int) -> list[int]:
        return [before for before, after in self.edges if after == seq]

    def totals(self, number: int) -> dict[int, int]:
        """What each task of the flow with this number returns."""
        found: dict[int, int] = {}
        for seq in range(1, self.size + 1):  # tasks are numbered so that those before come first
            found[seq] = (share(number, seq) + sum(found[before] for before in self.parents(seq))) % MODULUS
        return found


def _chain(size: int) -> tuple[tuple[int, int], ...]:
    return tuple((seq, seq + 1) for seq in range(1, size))


def _join(width: int) -> tuple[tuple[int, int], ...]:
    last = width + 2
    return tuple((1, seq) for seq in range(2, last)) + tuple((seq, last) for seq in range(2, last))


DIAMOND = ((1, 2), (1, 3), (1, 4), (1, 5), (2, 6), (3, 6), (4, 7), (5, 7), (6, 8), (7, 8), (8, 9), (8, 10))
SHAPES = {
    shape.name: shape
    for shape in (
        Shape("independent", 1),
        Shape("chain", 4, _chain(4)),
        Shape("diamond", 10, DIAMOND),
        Shape("join", 22, _join(20)),
        Shape("wide", 202, _join(200)),
        Shape("retry", 3, _chain(3), {2: "retry"}),
        Shape("again", 3, _chain(3), {2: "again"}),
        Shape("timer", 3, _chain(3), {2: "timer"}),
        Shape("capped", 1, cap=CAP),
    )
}
BY_TASK_ID = {shape.task_id: shape for shape in SHAPES.values()}
MIXES: dict[str, dict[str, float]] = {
    "chain": {"chain": 1},
    "diamond": {"diamond": 1},
    "join": {"join": 12, "wide": 1},
    "independent": {"independent": 1},
    "mixed": {
        "independent": 30,
        "chain": 20,
        "diamond": 15,
        "join": 6,
        "wide": 0.4,
        "retry": 8,
        "again": 8,
        "timer": 6,
        "capped": 8,
    },
}


def draw(mix: str, rng: random.Random) -> Shape:
    """The workflow of the next flow."""
    weights = MIXES[mix]
    return SHAPES[rng.choices(list(weights), list(weights.values()))[0]]


def define(db: Database, executor: str, seed: int) -> None:
    """Write the definitions of all shapes."""
    rng = random.Random(f"{seed}/executors")
    steps, options, edges = [], [], []
    for shape in SHAPES.values():
        for seq in range(1, shape.size + 1):
            own = rng.choice(("thread", "process", "async")) if executor == "mixed" else executor
            key = {"task_id": shape.task_id, "task_seq": seq}
            kind = shape.kinds.get(seq)
            steps.append({**key, "program": _program(own), **_parameter(kind)})
            options.append({**key, **_option(own, kind)})
        edges += [
            {"task_id": shape.task_id, "task_seq": after, "depends_task_seq": before} for before, after in shape.edges
        ]
    with db.transaction() as conn:
        conn.execute(insert(task_definition), steps)
        conn.execute(insert(task_option), options)
        conn.execute(insert(task_edge), edges)
        capped = [shape for shape in SHAPES.values() if shape.cap]
        conn.execute(
            insert(limit),
            [{"scope": "workflow", "name": shape.task_id, "max_running": shape.cap} for shape in capped],
        )


def _program(executor: str) -> str:
    return "ChaosAsync" if executor == "async" else "ChaosWork"


def _parameter(kind: str | None) -> dict[str, Any]:
    return {"param1_key": "KIND" if kind else None, "param1_value": kind}


def _option(executor: str, kind: str | None) -> dict[str, Any]:
    """A child process that is killed counts as a failed try, so tasks of processes need tries to spare."""
    tries = 20 if executor == "process" else 3 if kind == "retry" else None
    delay = 0.1 if tries else None
    return {"executor": None if executor == "thread" else executor, "max_attempts": tries, "retry_delay_s": delay}
