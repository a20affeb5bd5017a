"""Why tasks are where they are."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from penstock.models.base import Model, StatusName


class Cause(Model):
    """One thing that keeps a task where it is."""

    cause: str
    """A stable word (docs/sql.md)."""
    what: str
    unblocks: str
    """What would let it go on, for people."""
    by: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    facts: dict[str, Any] = Field(default_factory=dict)


class TaskWhy(Model):
    """Why a task is where it is."""

    task_flow_id: str
    task_exec_seq: int
    task_id: str
    task_seq: int
    name: str | None = None
    program: str | None = None
    queue: str
    status: StatusName
    reason: str | None = None
    words: str
    """Where it is, in a line."""
    hidden: int
    """Causes that were left out."""
    causes: tuple[Cause, ...] = ()
    roots: tuple[TaskWhy, ...] = ()
    """Of a task that was asked about alone: what lies at the bottom."""


class FlowWhy(Model):
    """A flow, and what its open tasks wait for."""

    task_flow_id: str
    task_id: str | None = None
    status: StatusName | None = None
    reason: str | None = None
    words: str
    tasks: tuple[TaskWhy, ...] = ()
    more: bool
    """Other tasks are open, too."""
