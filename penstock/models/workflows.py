"""Workflows as documents, and the versions that are kept of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from penstock.models.base import Model


class WorkflowListed(Model):
    """A workflow in a list."""

    task_id: str
    description: str | None = None
    owner: str | None = None
    tags: tuple[str, ...] = ()
    changed_ts: datetime | None = None
    changed_by: str | None = None
    version_id: str | None = None
    """None if it cannot run."""
    problem: str | None = None
    """Why it cannot run."""
    live_flows: int
    """Flows under way, counted up to 1,000."""
    last_flow: str | None = None


class WorkflowRead(Model):
    """A workflow as a document (docs/workflow-files.md)."""

    document: dict[str, Any]
    version_id: str
    stamp: str
    """What `if_version` takes: it changes whenever the workflow does."""
    changed_ts: datetime | None = None
    changed_by: str | None = None
    source_format: str | None = None


class WorkflowVersion(Model):
    """A version that is kept."""

    version_id: str
    created_ts: datetime
    is_current: bool
    """Flows are made from it now."""


class WorkflowVersionRead(WorkflowVersion):
    """A version, as a document with every edge that it has."""

    document: dict[str, Any]


class WorkflowApplied(Model):
    """A workflow as it is now, or would be (`dry_run`)."""

    task_id: str
    version_id: str
    stamp: str
    was: str | None = None
    """The version before."""
    is_new: bool
    changes: dict[str, Any]
