"""How many tasks may run at once, over all watchers: in total, and for each workflow, queue and key.

What counts is the rows that run, counted anew by each claim; there is no counter that could be left too high by a
process that died. Limits by rate are times, which need no giving back either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, or_, select

from engine.dialects.clock import time_now
from engine.dialects.rowset import one_of
from engine.limits import rows as limit_rows
from engine.limits.rows import EVERY_KEY, KEY, NO_RULES, QUEUE, WORKFLOW, Name
from engine.tables import IS_RUNNING, task_stat

_ALL = Name("total", "")


@dataclass(frozen=True)
class Limits:
    """Caps on running tasks over all watchers; None is no cap. `max_active` holds for each workflow, unless
    `max_active_of` names another figure for it. `from_rows`: ms_limit has rows, or may have; the claim reads them."""

    max_running: int | None = None
    max_active: int | None = None
    max_active_of: dict[str, int] = field(default_factory=dict)
    from_rows: bool = False

    @property
    def any(self) -> bool:
        own = self.max_running is not None or self.max_active is not None or bool(self.max_active_of)
        return own or self.from_rows


@dataclass
class Gate:
    """One limit in one claim: how many more it lets start, and how many of these have been taken."""

    places: int | None = None
    starts: int | None = None
    taken: int = 0

    @property
    def is_shut(self) -> bool:
        return self.is_out_of_starts or (self.places is not None and self.taken >= self.places)

    @property
    def is_out_of_starts(self) -> bool:
        return self.starts is not None and self.taken >= self.starts


class Room:
    """What the limits leave free. Made inside the claiming transaction, under the claim lock, so that two watchers
    cannot both see the last place, nor act on two different readings of the limits."""

    def __init__(self, conn: Connection, limits: Limits) -> None:
        self.limits = limits
        self.rules = limit_rows.read(conn) if limits.from_rows else NO_RULES
        self.is_unlimited = (
            not self.rules.rows and not Limits(limits.max_running, limits.max_active, limits.max_active_of).any
        )
        self._running: Counter[Name] = Counter()
        self._gates: dict[Name, Gate] = {}
        self._free_at: dict[Name, datetime] = {}
        if not self.is_unlimited:
            self._count(conn)
            for name in {*self._running, *self.rules.rows, *self.rules.free_at, *self._of_watcher()}:
                self._gate(name)

    def _count(self, conn: Connection) -> None:
        task = task_stat.c
        kinds = task.task_id, task.queue, task.limit_key
        for *kind, count in conn.execute(select(*kinds, func.count()).where(IS_RUNNING).group_by(*kinds)):
            for name in _names(*kind):
                self._running[name] += count

    def _of_watcher(self) -> Iterable[Name]:
        return [_ALL, *(Name(WORKFLOW, task_id) for task_id in self.limits.max_active_of)]

    def _gate(self, name: Name) -> Gate:
        gate = self._gates.get(name)
        if gate is None:
            gate = self._gates[name] = Gate(self._places(name), self._starts(name))
        return gate

    def _places(self, name: Name) -> int | None:
        rule = self.rules.of(name)
        caps = [rule.max_running if rule else None]
        if name == _ALL:
            caps.append(self.limits.max_running)
        elif name.scope == WORKFLOW:
            caps.append(self.limits.max_active_of.get(name.name, self.limits.max_active))
        given = [cap for cap in caps if cap is not None]
        return max(0, min(given) - self._running[name]) if given else None

    def _starts(self, name: Name) -> int | None:
        rule = self.rules.of(name)
        if rule is None or rule.rate is None or self.rules.now is None:
            return None
        return rule.rate.free(self.rules.free_at.get(name), self.rules.now)

    def left(self, queue: str, wanted: int) -> int:
        """How many of `wanted` tasks of this queue the caps on the total and on the queue still allow."""
        for name in (_ALL, Name(QUEUE, queue)):
            gate = self._gate(name)
            for cap in (gate.places, gate.starts):
                wanted = wanted if cap is None else min(wanted, cap - gate.taken)
        return max(0, wanted)

    def take(self, row: Row[Any]) -> bool:
        """Take one place in every limit that a candidate counts against; False if one of them is full."""
        gates = [self._gate(name) for name in _names(row.task_id, row.queue, row.limit_key)]
        if any(gate.is_shut for gate in gates):
            return False
        for gate in gates:
            gate.taken += 1
        return True

    def give_back(self, rows: Iterable[Row[Any]]) -> None:
        """Places that were taken for rows which could not be had after all."""
        for row in rows:
            for name in _names(row.task_id, row.queue, row.limit_key):
                self._gate(name).taken -= 1

    def shut(self) -> frozenset[Name]:
        """The limits that let nothing more start."""
        return frozenset(name for name, gate in self._gates.items() if gate.is_shut)

    def outside(self, shut: frozenset[Name]) -> list[ColumnElement[bool]]:
        """Conditions that leave out what counts against these workflows and keys, so that the database skips a long
        row of held-back tasks by itself and nobody behind them is kept waiting."""
        task = task_stat.c
        conditions: list[ColumnElement[bool]] = []
        if workflows := [(name.name,) for name in sorted(shut) if name.scope == WORKFLOW]:
            conditions.append(~one_of((task.task_id,), workflows))
        keys = [(name.name,) for name in sorted(shut) if name.scope == KEY]
        if self._no_key_may_start():
            own = [(name.name,) for name in sorted(self.rules.rows) if name.scope == KEY and name not in shut]
            named: list[ColumnElement[bool]] = [one_of((task.limit_key,), own)] if own else []
            conditions.append(or_(task.limit_key.is_(None), *named))
        elif keys:
            conditions.append(or_(task.limit_key.is_(None), ~one_of((task.limit_key,), keys)))
        return conditions

    def _no_key_may_start(self) -> bool:
        rule = self.rules.rows.get(Name(KEY, EVERY_KEY))
        return rule is not None and rule.max_running == 0

    def spend(self, conn: Connection, claimed: Sequence[Row[Any]]) -> None:
        """Write down what the rates have let through, as of a moment after these tasks have started."""
        started: Counter[Name] = Counter()
        for row in claimed:
            names = _names(row.task_id, row.queue, row.limit_key)
            started.update(name for name in names if self._gate(name).starts is not None)
        if started:
            instant = time_now(conn)
            self._free_at = {name: self._after(name, instant, count) for name, count in started.items()}
            limit_rows.write(conn, self._free_at)

    def free_in_s(self) -> float | None:
        """Seconds until the first of the rates that hold something back now lets it start; None if none does."""
        instant = self.rules.now
        if instant is None:
            return None
        spent = [name for name, gate in self._gates.items() if gate.is_out_of_starts]
        times = [self._free_at.get(name) or self._after(name, instant, 0) for name in spent]
        return min(((time - instant).total_seconds() for time in times), default=None)

    def _after(self, name: Name, instant: datetime, count: int) -> datetime:
        rule = self.rules.of(name)
        assert rule is not None
        assert rule.rate is not None
        return rule.rate.after(self.rules.free_at.get(name), instant, count)


def _names(task_id: str, queue: str, limit_key: str | None) -> tuple[Name, ...]:
    """The limits that a task counts against."""
    names = _ALL, Name(WORKFLOW, task_id), Name(QUEUE, queue)
    return names if limit_key is None else (*names, Name(KEY, limit_key))
