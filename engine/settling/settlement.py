"""What a try asks for, and what became of it: plain data that the files about settling share."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from engine.claimed import ClaimedTask
from engine.wishes import PlanWish, WaitWish


class Verdict(enum.Enum):
    """What became of a settlement."""

    ACCEPTED = "accepted"
    ALREADY = "accepted before: the answer to that COMMIT was lost"
    STALE = "superseded: another claim, or a person, has the row now"


class Settlement(NamedTuple):
    """What one attempt asks for. `kind` is finish, suspend, again, retry, await or release; the rest belongs to it.

    `choose` names the steps that are to follow, by name or `task_seq`; None lets all follow. Units: delay_s in seconds
    from the database's now; due_at is an instant and wins over delay_s; poke_s in seconds from the first `again`.
    `overdue`: the task was not running, but waiting for its next poke when its time for that was over.
    """

    task: ClaimedTask
    kind: str
    result: str | None = None
    reason: str | None = None
    error: str | None = None
    traceback: str | None = None
    log: str | None = None
    delay_s: float = 0.0
    due_at: datetime | None = None
    poke_s: float | None = None
    choose: tuple[str | int, ...] | None = None
    wait: WaitWish | None = None
    plan: PlanWish | None = None
    overdue: bool = False


@dataclass
class Settled:
    """The verdict of each settlement, in the order given."""

    verdicts: list[Verdict] = field(default_factory=list)
