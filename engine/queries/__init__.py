"""Read-only views of what there is, as plain dictionaries for register, CLI and SDK; every page is bounded."""

from __future__ import annotations

from engine.queries.flows import cursor_at, failed_tasks, list_flows, read_flow, with_result
from engine.queries.pages import MAX_PAGE

__all__ = ["MAX_PAGE", "cursor_at", "failed_tasks", "list_flows", "read_flow", "with_result"]
