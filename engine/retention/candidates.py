"""Which flows may be deleted: ended long enough ago, closed, and needed by nobody.

A flow is needed by a sub-flow of its own that has not ended, and by the flow whose task started it, for as long as that
one is there: a sub-flow goes with its parent, or after it. A flow with an idempotency key or a run key is kept for a
week at least, so that whoever asks again is answered with it rather than with a second flow.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, or_, select

from engine.dialects.clock import later
from engine.keys import chunks
from engine.states import Status
from engine.tables import flow_stat

FINISHED: Final = (Status.FINISH,)
ENDED: Final = (Status.FINISH, Status.IGNORE)
KEYS_KEPT_S: Final = 7 * 86_400.0
"""How long a key answers at least, from the registration of its flow."""
_DONE: Final = 2
_flow = flow_stat.c
COLUMNS: Final = (
    _flow.task_flow_id,
    _flow.parent_flow_id,
    _flow.task_count,
    _flow.finished_ts,
    _flow.registered_ts,
)


@dataclass(frozen=True)
class Wanted:
    """What is to be deleted: flows that ended more than `older_than_s` seconds ago by the database's clock, with these
    statuses; of the workflow `task_id`, or of all but those of `but`."""

    older_than_s: float
    task_id: str | None = None
    statuses: Sequence[Status] = ENDED
    but: Sequence[str] = ()


@dataclass(frozen=True)
class Due:
    """What is wanted at one moment of the database's time, which is read first: PostgreSQL looks up no index by a time
    that it has to ask for row by row."""

    wanted: Wanted
    ended_before: datetime
    keyed_before: datetime

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """What a flow itself must fulfil, whatever there is of its parents."""
        over = _flow.flow_status.in_([int(status) for status in self.wanted.statuses])
        closed = or_(_flow.closing.is_(None), _flow.closing == _DONE)
        keyless = and_(_flow.idempotency_key.is_(None), _flow.run_key.is_(None))
        return [*self._old(), over, closed, or_(keyless, _flow.registered_ts < self.keyed_before), ~_open_child()]

    def _old(self) -> list[ColumnElement[bool]]:
        """`IS NOT NULL` is written out, as an index of ended flows alone is used where the planner sees it."""
        old = [_flow.finished_ts.isnot(None), _flow.finished_ts < self.ended_before]
        if self.wanted.task_id is not None:  # what ended before was registered before: the workflow's index leads there
            old += [_flow.task_id == self.wanted.task_id, _flow.registered_ts < self.ended_before]
        if self.wanted.but:
            old.append(_flow.task_id.not_in(list(self.wanted.but)))
        return old

    @property
    def of_anybody(self) -> Due:
        """The same for sub-flows, of whatever workflow: it was the parent that was asked for."""
        return replace(self, wanted=replace(self.wanted, task_id=None, statuses=ENDED))


def due(conn: Connection, wanted: Wanted) -> Due:
    """What is wanted, as of now."""
    ended, keyed = conn.execute(select(later(-wanted.older_than_s), later(-KEYS_KEPT_S))).one()
    return Due(wanted, ended, keyed)


@dataclass(frozen=True)
class Place:
    """Where a page of candidates ended."""

    ended: datetime
    flow_id: str


def page(conn: Connection, due: Due, after: Place | None, size: int) -> list[Row[Any]]:
    """The flows that may go first, the longest ended first: those that no other flow has started, or one that is gone.
    Read without locks."""
    query = select(*COLUMNS).where(*due.conditions, ~_parent())
    by: tuple[Any, ...] = (_flow.finished_ts, _flow.task_flow_id)
    if due.wanted.task_id is not None:
        by = (_flow.registered_ts, _flow.task_flow_id)
    if after is not None:
        query = query.where(or_(by[0] > after.ended, and_(by[0] == after.ended, by[1] > after.flow_id)))
    return list(conn.execute(query.order_by(*by).limit(size)))


def place_of(row: Row[Any], wanted: Wanted) -> Place:
    """Where a page that ends with this row ends."""
    return Place(row.finished_ts if wanted.task_id is None else row.registered_ts, row.task_flow_id)


def descendants(conn: Connection, due: Due, flow_ids: Collection[str]) -> list[Row[Any]]:
    """The sub-flows that may go with these flows, and theirs in turn, parents first."""
    found: list[Row[Any]] = []
    conditions = due.of_anybody.conditions
    above = set(flow_ids)
    seen = set(flow_ids)
    while above:
        level: list[Row[Any]] = []
        for part in chunks(sorted(above)):
            level += conn.execute(select(*COLUMNS).where(_flow.parent_flow_id.in_(part), *conditions))
        found += [row for row in level if row.task_flow_id not in seen]
        above = {row.task_flow_id for row in level} - seen
        seen |= above
    return found


def still(conn: Connection, due: Due, flow_ids: Collection[str], *, lock: Any) -> list[Row[Any]]:
    """Those of these flows that may be deleted now, locked; `lock` makes a query a locking one."""
    query: Select[Any] = select(*COLUMNS).where(_flow.task_flow_id.in_(sorted(flow_ids)), *due.conditions)
    return list(conn.execute(lock(query.order_by(_flow.task_flow_id))))


def parents_there(conn: Connection, flow_ids: Collection[str]) -> set[str]:
    """Which of these flows exist."""
    query = select(_flow.task_flow_id).where(_flow.task_flow_id.in_(sorted(flow_ids)))
    return set(conn.scalars(query)) if flow_ids else set()


def _open_child() -> Any:
    child = flow_stat.alias("child")
    is_open = or_(child.c.flow_status.not_in([int(status) for status in ENDED]), child.c.closing == 1)
    mine = child.c.parent_flow_id == _flow.task_flow_id
    return select(1).select_from(child).where(mine, is_open).correlate(flow_stat).exists()


def _parent() -> Any:
    parent = flow_stat.alias("parent")
    mine = parent.c.task_flow_id == _flow.parent_flow_id
    return select(1).select_from(parent).where(mine).correlate(flow_stat).exists()
