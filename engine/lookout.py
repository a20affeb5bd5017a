"""Is there anything to do? One query for all that a watcher waits for, each part answered by an index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, exists, func, literal_column, or_, select

from engine.candidates import ANYTHING, Offer, leaving
from engine.dialects.clock import MAX_DELAY_S, later, now
from engine.keys import KEY_COLUMNS
from engine.states import Status
from engine.tables import (
    IS_ASKED,
    IS_CLOSING,
    IS_MADE_BY_HAND,
    IS_OPEN_WAIT,
    IS_OVERSEEN,
    IS_READY,
    IS_RUNNING,
    IS_SET_BACK,
    IS_TURN,
    IS_UNEXPLAINED,
    IS_UNREAD,
    IS_UNTOLD,
    command,
    flow_stat,
    limit,
    message,
    task_stat,
    wait,
    watcher,
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
    next_deadline_s: float | None = None
    """Seconds until the next flow has run out of its time; None if none will."""
    ended: bool = False
    """A flow has ended that leaves something to do."""
    limited: bool = False
    """ms_limit has rows."""
    running: bool = False
    """Tasks are held, by whomever."""
    turns: bool = False
    """Flows wait for others of their workflow to end."""
    asked: bool = False
    """A command was inserted."""
    wanted: str | None = None
    """What an operator wants of this watcher."""
    time_now: datetime | None = None
    """The database's time of this look."""

    @property
    def anything(self) -> bool:
        return self.ready or self.anything_but_ready

    @property
    def anything_but_ready(self) -> bool:
        due = self.next_due_s is not None and self.next_due_s <= 0
        late = self.overdue or self.ended
        return self.made_by_hand or self.untold or self.unexplained or due or late or self.asked

    @property
    def overdue(self) -> bool:
        return self.next_deadline_s is not None and self.next_deadline_s <= 0


def look(conn: Connection, queues: Sequence[str], watcher_id: str = "", *, offer: Offer = ANYTHING) -> Seen:
    """Look once, without locks. What the `offer` leaves to other watchers is not ready here."""
    queues_left = tuple((queue, tuple(sorted(offer.without.get(queue, ())))) for queue in queues)
    row: Any = conn.execute(_query(queues_left), {"watcher_id": watcher_id}).one()
    task_s, wait_s = _until(row.next_due, row.time_now), _until(row.next_wait, row.time_now)
    next_s = min((seconds for seconds in (task_s, wait_s) if seconds is not None), default=None)
    looks = bool(row.ready), bool(row.made_by_hand), bool(row.untold), bool(row.unexplained)
    return Seen(
        *looks,
        next_s,
        wait_is_due=wait_s is not None and wait_s <= 0,
        mail=bool(row.mail),
        next_deadline_s=_until(row.next_deadline, row.time_now),
        ended=bool(row.ended),
        limited=bool(row.limited),
        running=bool(row.running),
        turns=bool(row.turns),
        asked=bool(row.asked),
        wanted=row.wanted,
        time_now=row.time_now,
    )


@lru_cache(16)
def _query(queues: tuple[tuple[str, tuple[str, ...]], ...]) -> Select[Any]:
    """`queues`: each with the programs whose tasks there are left to others."""
    far = task_stat.c.due_ts < later(MAX_DELAY_S)  # PostgreSQL has a time "infinity", which Python has not
    soon = flow_stat.c.deadline_ts < later(MAX_DELAY_S)
    return select(
        or_(*(_any(IS_READY, task_stat.c.queue == queue, *leaving(left)) for queue, left in queues)).label("ready"),
        _any(IS_MADE_BY_HAND).label("made_by_hand"),
        _any(IS_UNTOLD).label("untold"),
        or_(_any(IS_UNEXPLAINED), set_back().exists()).label("unexplained"),
        select(func.min(task_stat.c.due_ts)).where(far).scalar_subquery().label("next_due"),
        _next_wait().label("next_wait"),
        _is_mail().label("mail"),
        select(func.min(flow_stat.c.deadline_ts)).where(IS_OVERSEEN, soon).scalar_subquery().label("next_deadline"),
        exists(select(1).select_from(flow_stat).where(IS_CLOSING)).label("ended"),
        exists(select(1).select_from(limit)).label("limited"),
        _any(IS_RUNNING).label("running"),
        exists(select(1).select_from(wait).where(IS_TURN)).label("turns"),
        exists(select(1).select_from(command).where(IS_ASKED)).label("asked"),
        select(watcher.c.wanted)
        .where(watcher.c.watcher_id == bindparam("watcher_id"))
        .scalar_subquery()
        .label("wanted"),
        now().label("time_now"),
    )


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
