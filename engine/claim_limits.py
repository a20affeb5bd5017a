"""How many tasks may run at once, over all watchers: in total, and for each workflow."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select

from engine.tables import IS_RUNNING, task_stat


@dataclass(frozen=True)
class Limits:
    """Caps on running tasks over all watchers; None is no cap. `max_active` holds for each workflow, unless
    `max_active_of` names another figure for it."""

    max_running: int | None = None
    max_active: int | None = None
    max_active_of: dict[str, int] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        return self.max_running is not None or self.max_active is not None or bool(self.max_active_of)


class Room:
    """What the limits leave free. Made inside the claiming transaction, under its limit lock, so that two watchers
    cannot both see the last place."""

    def __init__(self, conn: Connection, limits: Limits) -> None:
        self.limits = limits
        by_workflow = (
            select(task_stat.c.task_id, func.count().label("running")).where(IS_RUNNING).group_by(task_stat.c.task_id)
        )
        self.running: Counter[str] = Counter({row.task_id: row.running for row in conn.execute(by_workflow)})

    def left(self, wanted: int) -> int:
        """How many of `wanted` tasks the total cap still allows."""
        if self.limits.max_running is None:
            return wanted
        return max(0, min(wanted, self.limits.max_running - self.running.total()))

    def full(self) -> list[str]:
        """The workflows that may start nothing more."""
        named = [task_id for task_id in self.limits.max_active_of if self._is_full(task_id)]
        return sorted({*named, *(task_id for task_id in self.running if self._is_full(task_id))})

    def take(self, task_id: str) -> bool:
        """Take one place for a task of this workflow; False if there is none."""
        if self._is_full(task_id):
            return False
        self.running[task_id] += 1
        return True

    def _is_full(self, task_id: str) -> bool:
        cap = self.limits.max_active_of.get(task_id, self.limits.max_active)
        return cap is not None and self.running[task_id] >= cap
