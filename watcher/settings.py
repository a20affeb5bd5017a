"""What a watcher can be told: one frozen dataclass, checked when it is made."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from engine.errors import BadRequest
from engine.graph.dependencies import Policy
from engine.limits.room import Limits
from watcher.executors.environment import scrubbed
from watcher.executors.limits import Limits as ChildLimits

MAX_WORKERS: Final = 1_000


@dataclass(frozen=True)
class Settings:
    """Units: names that end in `_s` are seconds. `limit` and `max_active` are Flower's concurrency caps and count over
    all watchers of the database; None means no cap."""

    workers: int = 10
    interval_s: float = 1.0
    limit: int | None = None
    max_active: int | None = None
    max_active_of: Mapping[str, int] = field(default_factory=dict)
    queues: tuple[str, ...] = ("default",)
    lease_s: float = 20.0
    heartbeat_s: float = 5.0
    grace_s: float = 10.0
    max_losses: int = 10
    batch: int = 500
    ahead_s: float = 0.05
    ignore_satisfies: bool = True
    keep_all_attempts: bool = False
    ageing_s: float = 300.0
    db_wait_s: float = 60.0
    label: str = ""
    async_slots: int = 1_000
    """Tasks that may wait on the event loop at once without taking the place of others."""
    max_stuck: int = 100
    """Programs in threads that did not come back in time; with one more, the watcher drains and ends."""
    stop_margin_s: float | None = None
    """How long before the end of a lease exclusive tasks are stopped; None is 4 s, or a quarter of a shorter lease."""
    child_memory_mb: int | None = None
    child_max_rss_mb: int = 1_024
    child_max_processes: int = 64
    child_tasks: int = 1_000
    child_env: tuple[str, ...] = ()

    retention_s: float | None = None
    """How long ended flows are kept whose workflow does not say so itself; None: for ever."""

    def __post_init__(self) -> None:
        _at_least(
            self, 1, "workers", "limit", "max_active", "max_losses", "batch", "child_max_processes", "child_tasks"
        )
        _at_least(self, 1, "retention_s")
        _at_least(self, 0, "async_slots", "max_stuck")
        _at_least(self, 64, "child_memory_mb", "child_max_rss_mb")
        _at_least(self, 0.01, "stop_margin_s")
        if self.stop_margin_s is not None and self.stop_margin_s > self.lease_s / 2:
            words = f"{self.stop_margin_s:g} is longer than half of lease_s ({self.lease_s:g})"
            raise BadRequest("stop_margin_s", f"{words}: exclusive tasks would hardly run")
        if self.workers > MAX_WORKERS:
            raise BadRequest("workers", f"{self.workers} is more than {MAX_WORKERS}: start further watchers instead")
        _at_least(self, 0, "grace_s", "ahead_s", "ageing_s", "db_wait_s")
        _at_least(self, 0.01, "interval_s", "lease_s", "heartbeat_s")
        if 0 < self.ageing_s < 1:
            raise BadRequest("ageing_s", f"{self.ageing_s:g} is less than a second: write 0 for never, or 1 and more")
        if self.batch > 500:
            raise BadRequest("batch", f"{self.batch} is more than the 500 rows that one statement names")
        if self.heartbeat_s > self.lease_s / 3:
            words = f"{self.heartbeat_s:g} is longer than a third of lease_s ({self.lease_s:g}): one late beat loses it"
            raise BadRequest("heartbeat_s", words)
        if type(self.queues) is not tuple or not self.queues or not all(self.queues):
            raise BadRequest("queues", "name at least one queue, each by a text that is not empty")
        for task_id, cap in self.max_active_of.items():
            if cap < 1:
                raise BadRequest("max_active", f"{cap} for workflow {task_id!r} is less than 1")

    @property
    def limits(self) -> Limits:
        return Limits(self.limit, self.max_active, dict(self.max_active_of))

    @property
    def margin_s(self) -> float:
        """Seconds before the end of a lease at which exclusive tasks are stopped."""
        return min(4.0, self.lease_s / 4) if self.stop_margin_s is None else self.stop_margin_s

    @property
    def of_children(self) -> ChildLimits:
        return ChildLimits(
            environment=scrubbed(os.environ, self.child_env),
            memory_bytes=(self.child_memory_mb or 0) * 1024**2,
            max_rss_bytes=self.child_max_rss_mb * 1024**2,
            max_processes=self.child_max_processes,
            max_tasks=self.child_tasks,
        )

    @property
    def policy(self) -> Policy:
        return Policy(self.ignore_satisfies)


def _at_least(settings: Settings, least: float, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is None:
            continue
        if not math.isfinite(value):
            raise BadRequest(name, f"{value:g} is no number to count or wait with")
        if value < least:
            raise BadRequest(name, f"{value:g} is less than {least:g}")
