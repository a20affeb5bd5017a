"""Is there anything to do? One query for all that a watcher waits for, each part answered by an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, ColumnElement, exists, func, or_, select

from engine.dialects.clock import now
from engine.tables import IS_MADE_BY_HAND, IS_READY, IS_SUSPENDED, IS_UNTOLD, task_stat


@dataclass(frozen=True)
class Seen:
    """What one look found. `next_due_s`: seconds of the database's clock until the next due time, None if none."""

    ready: bool
    made_by_hand: bool
    untold: bool
    unexplained: bool
    next_due_s: float | None

    @property
    def anything(self) -> bool:
        due = self.next_due_s is not None and self.next_due_s <= 0
        return self.ready or self.made_by_hand or self.untold or self.unexplained or due


def look(conn: Connection, queues: Sequence[str]) -> Seen:
    """Look once, without locks."""
    unexplained = IS_SUSPENDED, task_stat.c.reason.is_(None)
    query = select(
        or_(*(_any(IS_READY, task_stat.c.queue == queue) for queue in queues)).label("ready"),
        _any(IS_MADE_BY_HAND).label("made_by_hand"),
        _any(IS_UNTOLD).label("untold"),
        _any(*unexplained).label("unexplained"),
        select(func.min(task_stat.c.due_ts)).scalar_subquery().label("next_due"),
        now().label("time_now"),
    )
    row: Any = conn.execute(query).one()
    due = None if row.next_due is None else max(0.0, (row.next_due - row.time_now).total_seconds())
    return Seen(bool(row.ready), bool(row.made_by_hand), bool(row.untold), bool(row.unexplained), due)


def _any(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(1).select_from(task_stat).where(*conditions))
