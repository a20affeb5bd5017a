"""Commands on workflows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.models import WorkflowApplied
from penstock.sdk.asking import Command, asking, nothing


class OnWorkflows:
    """Definitions, and whether they may start."""

    @asking
    def apply(
        self,
        task_id: str,
        document: Mapping[str, Any] | str,
        *,
        format: str | None = None,
        if_version: str | None = None,
        only_new: bool = False,
        dry_run: bool = False,
        reason: str | None = None,
    ) -> Command[WorkflowApplied]:
        """Make a document (docs/workflow-files.md) the workflow from now on: an object, or a text in the `format` json
        (unless told otherwise) or toml. Refused unless the workflow is at `if_version`, a version or a stamp, if that
        is given; with `only_new`, if it is there already. `dry_run` says what would change."""
        told = {
            "document": document if isinstance(document, str) else dict(document),
            "format": format,
            "if_version": if_version,
            "only_new": only_new,
            "dry_run": dry_run,
        }
        return Command("apply", task_id, told, reason, WorkflowApplied.of)

    @asking
    def delete_workflow(self, task_id: str, *, force: bool = False, reason: str | None = None) -> Command[None]:
        """Take a workflow's definition away; its flows and versions stay. `force`: also while flows are under way."""
        return Command("delete_workflow", task_id, {"force": force}, reason, nothing)

    @asking
    def pause_workflow(self, task_id: str, *, reason: str | None = None) -> Command[None]:
        """Start no more tasks of a workflow; what runs goes on."""
        return Command("pause_workflow", task_id, {}, reason, nothing)

    @asking
    def resume_workflow(self, task_id: str, *, reason: str | None = None) -> Command[None]:
        """Start the tasks of a paused workflow again."""
        return Command("resume_workflow", task_id, {}, reason, nothing)
