"""What a watcher can be told: one frozen dataclass, checked when it is made."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from engine.access import Role
from engine.dialects.timeouts import Timeouts
from engine.errors import BadRequest
from engine.graph.dependencies import Policy
from engine.limits.room import Limits
from programs.guard import Guard
from watcher.executors.environment import scrubbed
from watcher.executors.limits import Limits as ChildLimits

MAX_WORKERS: Final = 1_000


@dataclass(frozen=True)
class Settings:
    """Units: names that end in `_s` are seconds. `limit` and `max_active` are Flower's concurrency caps and count over
    all watchers of the database; None means no cap. Lengths of time that are None follow from the lease."""

    workers: int = 10
    interval_s: float = 1.0
    limit: int | None = None
    max_active: int | None = None
    max_active_of: Mapping[str, int] = field(default_factory=dict)
    queues: tuple[str, ...] = ("default",)
    lease_s: float = 20.0
    heartbeat_s: float = 5.0
    heartbeat_in: Literal["process", "thread"] = "process"
    """Where the beats come from; a thread falls silent while a program keeps the interpreter to itself."""
    beat_statement_s: float | None = None
    """Longest wait for the answer to a beat: 3 s, or what the lease leaves beside three intervals."""
    statement_s: float | None = None
    """Longest statement: 10 s, or the lease if that is shorter."""
    lock_s: float | None = None
    """Longest wait for a row that another transaction holds: 2 s, or a quarter of the lease."""
    idle_s: float | None = None
    """Longest rest in the middle of a transaction: 15 s, or three quarters of the lease."""
    stop_margin_s: float | None = None
    """How long before the end of the lease exclusive programs are stopped in silence: 4 s, or a quarter of it."""
    reap_s: float | None = None
    """Between looks for silent watchers, half more or less: a tenth of the lease."""
    stall_s: float = 300.0
    """A loop that stood still for so long is dead: the heartbeat stops and kills the process."""
    grace_s: float = 10.0
    max_losses: int = 10
    batch: int = 500
    ahead_s: float = 0.05
    ignore_satisfies: bool = True
    keep_all_attempts: bool = False
    ageing_s: float = 300.0
    db_wait_s: float = 60.0
    label: str = ""
    log_interval_s: float = 1.0
    """How often what running tries have logged so far is written; 0 for never: it is there once they end."""
    async_slots: int = 1_000
    """Tasks that may wait on the event loop at once without taking the place of others."""
    max_stuck: int = 100
    """Programs in threads that did not come back in time; with one more, the watcher drains and ends."""
    child_memory_mb: int | None = None
    child_max_rss_mb: int = 1_024
    child_max_processes: int = 64
    child_tasks: int = 1_000
    child_env: tuple[str, ...] = ()
    retention_s: float | None = None
    """How long ended flows are kept whose workflow does not say so itself; None: for ever."""

    secret_env: tuple[str, ...] = ("*",)
    """Environment variables that references to secrets may name, as patterns; none of Penstock's own."""
    secret_dir: str | None = None
    """Where files of secrets are; None: nowhere."""
    http_networks: tuple[str, ...] = ()
    """Internal networks to which programs may send requests (`programs.addresses.parse_allowed`): none unless told."""
    sql_role: Role = Role.OPERATOR
    """What whoever inserts a row into kr_command may ask for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sql_role", Role(self.sql_role))
        _at_least(
            self, 1, "workers", "limit", "max_active", "max_losses", "batch", "child_max_processes", "child_tasks"
        )
        _at_least(self, 1, "retention_s")
        _at_least(self, 0, "async_slots", "max_stuck")
        _at_least(self, 64, "child_memory_mb", "child_max_rss_mb")
        if self.workers > MAX_WORKERS:
            raise BadRequest("workers", f"{self.workers} is more than {MAX_WORKERS}: start further watchers instead")
        _at_least(self, 0, "grace_s", "ahead_s", "ageing_s", "db_wait_s", "log_interval_s")
        _at_least(self, 0.01, "interval_s", "lease_s", "heartbeat_s")
        if 0 < self.ageing_s < 1:
            raise BadRequest("ageing_s", f"{self.ageing_s:g} is less than a second: write 0 for never, or 1 and more")
        if 0 < self.log_interval_s < 0.05:
            why = f"{self.log_interval_s:g} would keep the database busy: write 0 for never, or 0.05 and more"
            raise BadRequest("log_interval_s", why)
        if self.batch > 500:
            raise BadRequest("batch", f"{self.batch} is more than the 500 rows that one statement names")
        _check_lengths(self)
        if type(self.queues) is not tuple or not self.queues or not all(self.queues):
            raise BadRequest("queues", "name at least one queue, each by a text that is not empty")
        try:
            Guard(self.http_networks)
        except ValueError as error:
            raise BadRequest("http_networks", str(error)) from error
        for task_id, cap in self.max_active_of.items():
            if cap < 1:
                raise BadRequest("max_active", f"{cap} for workflow {task_id!r} is less than 1")

    @property
    def timeouts(self) -> Timeouts:
        """Of the connections for claims and settlements."""
        lease_s = self.lease_s
        return Timeouts(
            statement_s=_given(self.statement_s, 10.0, lease_s),
            lock_s=_given(self.lock_s, 2.0, lease_s / 4),
            idle_s=_given(self.idle_s, 15.0, lease_s * 0.75),
        )

    @property
    def beat_timeouts(self) -> Timeouts:
        """Of the heartbeat's own connection: its silence must be noticed within the lease."""
        most = max(0.05, self.lease_s - 3 * self.heartbeat_s)
        usual, statement_s = self.timeouts, _given(self.beat_statement_s, 3.0, most)
        patience_s = min(5.0, self.lease_s / 4)
        return Timeouts(statement_s, min(usual.lock_s, statement_s), usual.idle_s, min(5.0, self.lease_s), patience_s)

    @property
    def margin_s(self) -> float:
        return _given(self.stop_margin_s, 4.0, self.lease_s / 4)

    @property
    def reap_every_s(self) -> float:
        return self.reap_s if self.reap_s is not None else self.lease_s / 10

    @property
    def limits(self) -> Limits:
        return Limits(self.limit, self.max_active, dict(self.max_active_of))

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


def _given(length_s: float | None, usual_s: float, most_s: float) -> float:
    return length_s if length_s is not None else min(usual_s, most_s)


def _check_lengths(it: Settings) -> None:
    """Lengths of time that make sense alone and do harm together. Errors: BadRequest, which names both and a remedy."""
    if it.heartbeat_in not in ("process", "thread"):
        raise BadRequest("heartbeat_in", f"{it.heartbeat_in!r} is neither process nor thread")
    _at_least(it, 0.01, "beat_statement_s", "statement_s", "lock_s", "idle_s", "reap_s", "stall_s")
    _at_least(it, 0, "stop_margin_s")
    lease = f"lease_s ({it.lease_s:g})"
    beats = f"lower heartbeat_s, or raise lease_s to {4 * it.heartbeat_s:g}"
    if it.heartbeat_s >= it.lease_s / 3:
        raise _clash("heartbeat_s", it.heartbeat_s, f"not less than a third of {lease}: one late beat loses it", beats)
    for name, most_s, why in (
        ("beat_statement_s", it.lease_s - 3 * it.heartbeat_s, f"more than three heartbeat_s leave of {lease}"),
        ("statement_s", it.lease_s, f"longer than {lease}, which would end before its statement"),
        ("lock_s", it.timeouts.statement_s, f"longer than statement_s ({it.timeouts.statement_s:g})"),
    ):
        value = getattr(it, name)
        if value is not None and value > most_s:
            raise _clash(name, value, why, f"lower {name} to {most_s:g}, or raise the other")
    for name, why in (
        ("idle_s", f"not less than {lease}: a frozen watcher would keep its locks for longer than its tasks"),
        ("stop_margin_s", f"not less than {lease}: exclusive programs would be stopped before they begin"),
        ("reap_s", f"not less than {lease}: tasks of lost watchers would wait for the sweep more than for the lease"),
    ):
        value = getattr(it, name)
        if value is not None and value >= it.lease_s:
            raise _clash(name, value, why, f"lower {name}, or raise lease_s")
    if it.stall_s < it.lease_s:
        why = f"less than {lease}: a busy loop would be killed before its tasks could lapse"
        raise _clash("stall_s", it.stall_s, why, "raise stall_s")


def _clash(name: str, value: float, why: str, remedy: str) -> BadRequest:
    return BadRequest(name, f"{value:g} is {why}: {remedy}")


def _at_least(settings: Settings, least: float, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is None:
            continue
        if not math.isfinite(value):
            raise BadRequest(name, f"{value:g} is no number to count or wait with")
        if value < least:
            raise BadRequest(name, f"{value:g} is less than {least:g}")
