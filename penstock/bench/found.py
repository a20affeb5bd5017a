"""What is asked of a workload, and what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from engine.database import Database


@dataclass(frozen=True)
class Options:
    """How much to measure. `size` is in the workload's own measure: flows, tasks, branches or submissions. Of several
    `runs` the medians count."""

    size: int
    runs: int = 3
    watchers: int = 1


@dataclass(frozen=True)
class Found:
    """What one workload came to on one database. Units: tasks a second, seconds; `limit_tasks_per_s` is what the same
    database does bare, measured just before, where it is known; `facts` are further figures, each with its unit in its
    name."""

    workload: str
    db: str
    tasks: int
    wall_s: float
    tasks_per_s: float
    limit_tasks_per_s: float | None
    runs: int
    watchers: int
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ratio_to_limit(self) -> float | None:
        return None if self.limit_tasks_per_s is None else self.tasks_per_s / self.limit_tasks_per_s


@dataclass(frozen=True)
class Workload:
    """docs/performance.md says what each is. `size` is the default of --size, in the workload's own measure."""

    name: str
    size: int
    measure: Callable[[Database, Options], Found]
