"""What operators look at beside flows: waits, queues, limits, watchers, events, commands, programs, figures."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from penstock.models.base import Model


class Wait(Model):
    """Something that a task awaits, or has awaited."""

    wait_id: str
    task_flow_id: str
    task_exec_seq: int
    kind: str
    """timer, message, approval, form, callback, poke, flow or turn."""
    name: str | None = None
    correlation_key: str | None = None
    state: str
    """open, arrived, expired or cancelled."""
    details: Any = None
    payload: Any = None
    created_ts: datetime
    due_ts: datetime | None = None
    closed_ts: datetime | None = None
    closed_by: str | None = None

    @property
    def is_open(self) -> bool:
        return self.state == "open"


class Event(Model):
    """Something that happened."""

    event_id: int
    event_ts: datetime
    task_flow_id: str | None = None
    task_exec_seq: int | None = None
    what: str
    actor: str | None = None
    details: Any = None


class Queue(Model):
    """A queue: what waits and runs in it, who serves it, and what holds it back."""

    queue: str
    ready: int
    """Counted up to 10,000."""
    ready_is_more: bool
    running: int
    watchers: int
    """Live ones that serve it."""
    max_running: int | None = None
    rate: int | None = None
    rate_period_s: float | None = None
    paused_ts: datetime | None = None
    paused_by: str | None = None
    paused_reason: str | None = None


class Limit(Model):
    """How many tasks may run at once or start in a period; or a pause."""

    scope: str
    """workflow, queue or key."""
    name: str
    max_running: int | None = None
    rate: int | None = None
    rate_period_s: float
    paused_ts: datetime | None = None
    paused_by: str | None = None
    paused_reason: str | None = None


class Watcher(Model):
    """A watcher that lives, or has died within a day."""

    watcher_id: str
    label: str | None = None
    host: str | None = None
    pid: int | None = None
    queues: tuple[str, ...] = ()
    slots: int
    state: str
    started_ts: datetime
    beat_ts: datetime
    lease_until_ts: datetime
    programs: Any = None
    """Names of the programs that it has; None: it has not said."""
    wanted: str | None = None
    lives: bool
    running: int
    """Tasks that it runs."""


class Command(Model):
    """Something that an operator asked for, and what became of it."""

    command_id: int
    verb: str
    subject: str | None = None
    arguments: Any = None
    reason: str | None = None
    asked_by: str | None = None
    asked_ts: datetime | None = None
    door: str
    address: str | None = None
    request_id: str | None = None
    handled_ts: datetime | None = None
    handled_by: str | None = None
    outcome: str | None = None
    """done or refused; None while it waits for a watcher."""
    answer: Any = None
    changes: dict[str, Any] | None = None
    """`before` and `after`: the columns that it changed, as they were and as they are. None of what was refused."""


class Program(Model):
    """A program that is installed where the service runs."""

    name: str
    description: str
    executor: str
    parameters: dict[str, Any]
    """JSON schema."""
    plugin: str
    version: str


class Counters(Model):
    """What is in play; a count ends at 100,000, and stands in `more` then."""

    flows_wait: int
    flows_running: int
    flows_suspend: int
    tasks_ready: int
    tasks_running: int
    tasks_suspended: int
    watchers: int
    more: tuple[str, ...] = ()


class Minute(Model):
    """What one minute brought; lengths of time are seconds from registration to end."""

    minute_ts: datetime
    registered: int
    finished: int
    ignored: int
    mean_s: float | None = None
    longest_s: float | None = None
