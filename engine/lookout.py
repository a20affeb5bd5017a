"""Is there anything to do? One query for all that a watcher waits for, each part answered by an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, func, literal_column, or_, select

from engine.dialects.clock import MAX_DELAY_S, later, now
from engine.keys import KEY_COLUMNS
from engine.states import Status
from engine.tables import (
    IS_MADE_BY_HAND,
    IS_OPEN_WAIT,
    IS_READY,
    IS_SET_BACK,
    IS_UNEXPLAINED,
    IS_UNREAD,
    IS_UNTOLD,
    flow_stat,
    message,
    task_stat,
    wait,
)


@dataclass(frozen=True)
class Seen:
    """What one look found. `next_due_s`: seconds of the database's clock until the next due time of a task or a wait,
    None if none. `mail`: somebody awaits a message, and some message is unread; whether these belong together takes a
    query of its own."""

    ready: bool
    made_by_hand: bool
    untold: bool
    unexplained: bool
    next_due_s: float | None
    wait_is_due: bool = False
    mail: bool = False

    @property
    def anything(self) -> bool:
        due = self.next_due_s is not None and self.next_due_s <= 0
        return self.ready or self.made_by_hand or self.untold or self.unexplained or due


def look(conn: Connection, queues: Sequence[str]) -> Seen:
    """Look once, without locks."""
    far = task_stat.c.due_ts < later(MAX_DELAY_S)  # PostgreSQL has a time "infinity", which Python has not
    query = select(
        or_(*(_any(IS_READY, task_stat.c.queue == queue) for queue in queues)).label("ready"),
        _any(IS_MADE_BY_HAND).label("made_by_hand"),
        _any(IS_UNTOLD).label("untold"),
        or_(_any(IS_UNEXPLAINED), set_back().exists()).label("unexplained"),
        select(func.min(task_stat.c.due_ts)).where(far).scalar_subquery().label("next_due"),
        _next_wait().label("next_wait"),
        _is_mail().label("mail"),
        now().label("time_now"),
    )
    row: Any = conn.execute(query).one()
    task_s, wait_s = _until(row.next_due, row.time_now), _until(row.next_wait, row.time_now)
    next_s = min((seconds for seconds in (task_s, wait_s) if seconds is not None), default=None)
    looks = bool(row.ready), bool(row.made_by_hand), bool(row.untold), bool(row.unexplained)
    return Seen(*looks, next_s, wait_s is not None and wait_s <= 0, bool(row.mail))


def _until(instant: datetime | None, time_now: datetime) -> float | None:
    return None if instant is None else max(0.0, (instant - time_now).total_seconds())


def _next_wait() -> Any:
    is_due = IS_OPEN_WAIT, wait.c.due_ts.isnot(None), wait.c.due_ts < later(MAX_DELAY_S)
    return select(func.min(wait.c.due_ts)).where(*is_due).scalar_subquery()


def _is_mail() -> ColumnElement[bool]:
    awaited = wait.c.kind.in_(["message", "callback"])
    return and_(
        exists(select(1).select_from(message).where(IS_UNREAD)),
        exists(select(1).select_from(wait).where(IS_OPEN_WAIT, awaited)),
    )


def set_back() -> Select[str, int]:
    """The keys of rows that were suspended and set back by hand, while their flow still counts them as suspended."""
    of_flow = flow_stat.c.task_flow_id == task_stat.c.task_flow_id
    suspended = flow_stat.c.flow_status == literal_column(str(int(Status.SUSPEND)))
    return select(*KEY_COLUMNS).join_from(flow_stat, task_stat, of_flow).where(suspended, IS_SET_BACK)


def _any(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists(select(1).select_from(task_stat).where(*conditions))
