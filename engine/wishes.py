"""What a program asked for beyond finishing or failing, as data that a settlement carries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class WaitWish:
    """One more thing to await. `details` is a JSON object as text. Units: delay_s in seconds from the database's now;
    due_at is an instant and wins; with neither the wait has no end of its own."""

    kind: str
    name: str | None = None
    key: str | None = None
    details: str | None = None
    delay_s: float | None = None
    due_at: datetime | None = None


@dataclass(frozen=True)
class PlannedTask:
    """A task to be added to a running flow. `parameters` is a JSON object as text; `after` holds places in the plan."""

    program: str
    parameters: str = "{}"
    name: str | None = None
    after: tuple[int, ...] = ()
    priority: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PlanWish:
    """Tasks to be added behind the one that finishes. `join`: what waits for that one waits for their last too."""

    tasks: tuple[PlannedTask, ...]
    join: bool = True
