"""Which flows a query looks at: a page of all flows, or those that were asked for.

A page is a range of flow ids with so many tasks that no statement runs long or holds a snapshot for long, on a
database of any size. Ranges leave out nothing: tasks without a flow and flows without tasks lie between two ids too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import TextClause, bindparam, select, text

from engine.database import Database
from engine.dialects.clock import later
from engine.dialects.types import UtcTimestamp
from engine.keys import KEY_COLUMNS, chunks
from engine.tables import flow_stat, task_stat

TASKS_PER_PAGE: Final = 3_000
FLOWS_PER_PAGE: Final = 500


@dataclass(frozen=True)
class Scope:
    """Flow ids from `low` on and below `high` (None: without end), or exactly `flows`."""

    low: str = ""
    high: str | None = None
    flows: Sequence[str] | None = None

    def statement(self, query: str, facts: Mapping[str, Any]) -> TextClause:
        """The query for these flows. `facts`: values for the parameters it may name."""
        words = query.format_map(_Aliases(self))
        values = {**facts, "low": self.low, "high": self.high, "flows": list(self.flows or ())}
        asked = [self._bound(name, value) for name, value in values.items() if f":{name}" in words]
        return text(words).bindparams(*asked)

    def condition(self, alias: str) -> str:
        if self.flows is not None:
            return f"{alias}.task_flow_id IN :flows"
        if self.high is None:
            return f"{alias}.task_flow_id >= :low"
        return f"{alias}.task_flow_id >= :low AND {alias}.task_flow_id < :high"

    @staticmethod
    def _bound(name: str, value: Any) -> Any:
        if name == "before":
            return bindparam(name, value, type_=UtcTimestamp())
        return bindparam(name, value, expanding=name == "flows")


class _Aliases(dict[str, str]):
    """`{t}` in a query, for any alias t."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope

    def __missing__(self, alias: str) -> str:
        return f"({self._scope.condition(alias)})"


def pages(db: Database, flow_id: str | None = None, since_s: float | None = None) -> Iterator[Scope]:
    """The flows to look at, page by page: one, those registered in the last `since_s` seconds, or all."""
    if flow_id is not None:
        yield Scope(flows=(flow_id,))
    elif since_s is not None:
        yield from _recent(db, since_s)
    else:
        yield from _all(db)


def _recent(db: Database, since_s: float) -> Iterator[Scope]:
    flow = flow_stat.c
    with db.read() as conn:
        found = conn.scalars(select(flow.task_flow_id).where(flow.registered_ts >= later(-since_s))).all()
    for part in chunks(sorted(found), FLOWS_PER_PAGE):
        yield Scope(flows=tuple(part))


def _all(db: Database) -> Iterator[Scope]:
    low: str | None = ""
    while low is not None:
        following = select(task_stat.c.task_flow_id).where(task_stat.c.task_flow_id > low)
        with db.read() as conn:
            high = conn.scalar(following.order_by(*KEY_COLUMNS).limit(1).offset(TASKS_PER_PAGE))
        yield Scope(low, high)
        low = high
