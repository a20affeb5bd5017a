"""Limits that are rows: what `ms_limit` says now, and from when on each limit by rate lets the next task start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import Connection, delete, func, insert, select

from engine.dialects.clock import later, time_now
from engine.dialects.rowset import one_of
from engine.keys import chunks
from engine.limits.rates import Rate
from engine.tables import limit, limit_stat

WORKFLOW: Final = "workflow"
QUEUE: Final = "queue"
KEY: Final = "key"
EVERY_KEY: Final = "*"
"""The name of the limit of every key that has no row of its own."""


class Name(NamedTuple):
    """Which limit: `scope` is workflow, queue or key, `name` the task_id, the queue or the limit_key."""

    scope: str
    name: str


@dataclass(frozen=True)
class Rule:
    """What one row of ms_limit allows; None is no cap."""

    max_running: int | None = None
    rate: Rate | None = None


@dataclass(frozen=True)
class Rules:
    """All of ms_limit at one moment, with the times of its rates; `now` is the database's time of that moment."""

    rows: Mapping[Name, Rule] = field(default_factory=dict)
    free_at: Mapping[Name, datetime | None] = field(default_factory=dict)
    now: datetime | None = None

    def of(self, name: Name) -> Rule | None:
        """The rule for this workflow, queue or key; a key without a row of its own has that of every key."""
        own = self.rows.get(name)
        return self.rows.get(Name(KEY, EVERY_KEY)) if own is None and name.scope == KEY else own


NO_RULES: Final = Rules()


def read(conn: Connection) -> Rules:
    """What holds now. The caller has the claim lock: whoever claims next must see the same, or what came of this."""
    rows = {Name(row.scope, row.name): _rule(row) for row in conn.execute(select(limit))}
    if not any(rule.rate for rule in rows.values()):
        return Rules(rows)
    times = {Name(row.scope, row.name): row.free_at_ts for row in conn.execute(select(limit_stat))}
    return Rules(rows, times, time_now(conn))


def write(conn: Connection, times: Mapping[Name, datetime]) -> None:
    """Keep from when on these limits let the next task start. The caller has the claim lock."""
    for part in chunks(sorted(times)):
        conn.execute(delete(limit_stat).where(one_of((limit_stat.c.scope, limit_stat.c.name), part)))
        rows = [{"scope": name.scope, "name": name.name, "free_at_ts": times[name]} for name in part]
        conn.execute(insert(limit_stat), rows)


def forget_past(conn: Connection) -> int:
    """Delete times that have come to mean the same as none: of keys that nobody uses any more, above all. Returns how
    many. Nothing is decided by it, so it needs no lock."""
    longest = conn.scalar(select(func.max(limit.c.rate_period_s)).where(limit.c.rate.isnot(None)))
    past = limit_stat.c.free_at_ts < later(-float(longest or 0.0))
    return conn.execute(delete(limit_stat).where(past)).rowcount


def _rule(row: object) -> Rule:
    found = row._mapping  # type: ignore[attr-defined]
    rate, period_s = found["rate"], found["rate_period_s"]
    most = found["max_running"] if found["paused_ts"] is None else 0
    return Rule(most, Rate.of(rate, period_s) if rate else None)
