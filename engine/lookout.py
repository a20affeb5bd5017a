"""Is there anything to do? One query for all that a watcher waits for, each part answered by an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, exists, func, literal_column, or_, select

from engine.dialects.clock import MAX_DELAY_S, later, now
from engine.keys import KEY_COLUMNS
from engine.states import Status
from engine.tables import (
    IS_MADE_BY_HAND,
    IS_READY,
    IS_SET_BACK,
    IS_TURN,
    IS_UNEXPLAINED,
    IS_UNTOLD,
    flow_stat,
    limit,
    task_stat,
    wait,
)


@dataclass(frozen=True)
class Seen:
    """What one look found. `next_due_s`: seconds of the database's clock until the next due time, None if none."""

    ready: bool
    made_by_hand: bool
    untold: bool
    unexplained: bool
    next_due_s: float | None
    limited: bool = False
    """ms_limit has rows."""
    turns: bool = False
    """Flows wait for others of their workflow to end."""

    @property
    def anything(self) -> bool:
        return self.ready or self.anything_but_ready

    @property
    def anything_but_ready(self) -> bool:
        due = self.next_due_s is not None and self.next_due_s <= 0
        return self.made_by_hand or self.untold or self.unexplained or due


def look(conn: Connection, queues: Sequence[str]) -> Seen:
    """Look once, without locks."""
    far = task_stat.c.due_ts < later(MAX_DELAY_S)  # PostgreSQL has a time "infinity", which Python has not
    query = select(
        or_(*(_any(IS_READY, task_stat.c.queue == queue) for queue in queues)).label("ready"),
        _any(IS_MADE_BY_HAND).label("made_by_hand"),
        _any(IS_UNTOLD).label("untold"),
        or_(_any(IS_UNEXPLAINED), set_back().exists()).label("unexplained"),
        select(func.min(task_stat.c.due_ts)).where(far).scalar_subquery().label("next_due"),
        exists(select(1).select_from(limit)).label("limited"),
        exists(select(1).select_from(wait).where(IS_TURN)).label("turns"),
        now().label("time_now"),
    )
    row: Any = conn.execute(query).one()
    due = None if row.next_due is None else max(0.0, (row.next_due - row.time_now).total_seconds())
    found = (bool(row.ready), bool(row.made_by_hand), bool(row.untold), bool(row.unexplained))
    return Seen(*found, due, bool(row.limited), bool(row.turns))


def set_back() -> Select[str, int]:
    """The keys of rows that were suspended and set back by hand, while their flow still counts them as suspended."""
    of_flow = flow_stat.c.task_flow_id == task_stat.c.task_flow_id
    suspended = flow_stat.c.flow_status == literal_column(str(int(Status.SUSPEND)))
    return select(*KEY_COLUMNS).join_from(flow_stat, task_stat, of_flow).where(suspended, IS_SET_BACK)


def _any(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(1).select_from(task_stat).where(*conditions))
