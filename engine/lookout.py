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
    IS_CLOSING,
    IS_MADE_BY_HAND,
    IS_OVERSEEN,
    IS_READY,
    IS_SET_BACK,
    IS_UNEXPLAINED,
    IS_UNTOLD,
    flow_stat,
    task_stat,
)


@dataclass(frozen=True)
class Seen:
    """What one look found. `next_due_s`: seconds of the database's clock until the next due time, None if none."""

    ready: bool
    made_by_hand: bool
    untold: bool
    unexplained: bool
    next_due_s: float | None
    next_deadline_s: float | None = None
    """Seconds until the next flow has run out of its time; None if none will."""
    ended: bool = False
    """A flow has ended that leaves something to do."""

    @property
    def anything(self) -> bool:
        due = self.next_due_s is not None and self.next_due_s <= 0
        late = self.overdue or self.ended
        return self.ready or self.made_by_hand or self.untold or self.unexplained or due or late

    @property
    def overdue(self) -> bool:
        return self.next_deadline_s is not None and self.next_deadline_s <= 0


def look(conn: Connection, queues: Sequence[str]) -> Seen:
    """Look once, without locks."""
    far = task_stat.c.due_ts < later(MAX_DELAY_S)  # PostgreSQL has a time "infinity", which Python has not
    soon = flow_stat.c.deadline_ts < later(MAX_DELAY_S)
    query = select(
        or_(*(_any(IS_READY, task_stat.c.queue == queue) for queue in queues)).label("ready"),
        _any(IS_MADE_BY_HAND).label("made_by_hand"),
        _any(IS_UNTOLD).label("untold"),
        or_(_any(IS_UNEXPLAINED), set_back().exists()).label("unexplained"),
        select(func.min(task_stat.c.due_ts)).where(far).scalar_subquery().label("next_due"),
        select(func.min(flow_stat.c.deadline_ts)).where(IS_OVERSEEN, soon).scalar_subquery().label("next_deadline"),
        exists(select(1).select_from(flow_stat).where(IS_CLOSING)).label("ended"),
        now().label("time_now"),
    )
    row: Any = conn.execute(query).one()
    due, deadline = (
        None if instant is None else max(0.0, (instant - row.time_now).total_seconds())
        for instant in (row.next_due, row.next_deadline)
    )
    return Seen(
        bool(row.ready),
        bool(row.made_by_hand),
        bool(row.untold),
        bool(row.unexplained),
        due,
        next_deadline_s=deadline,
        ended=bool(row.ended),
    )


def set_back() -> Select[str, int]:
    """The keys of rows that were suspended and set back by hand, while their flow still counts them as suspended."""
    of_flow = flow_stat.c.task_flow_id == task_stat.c.task_flow_id
    suspended = flow_stat.c.flow_status == literal_column(str(int(Status.SUSPEND)))
    return select(*KEY_COLUMNS).join_from(flow_stat, task_stat, of_flow).where(suspended, IS_SET_BACK)


def _any(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(1).select_from(task_stat).where(*conditions))
