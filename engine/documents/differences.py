"""What a change changes: two versions of a workflow, or its rows as they stand, with the flows that are under way."""

from __future__ import annotations

import contextlib
from typing import Any

from sqlalchemy import Connection

from engine.definition.step import Definition
from engine.documents.comparing import compare
from engine.documents.kept import list_versions, read_version
from engine.documents.live import live_flows
from engine.documents.standing import read_standing
from engine.errors import UnknownVersion


def difference(conn: Connection, task_id: str, older: str | None = None, newer: str | None = None) -> dict[str, Any]:
    """From one version to another. Without `newer`, to the rows as they stand; without `older`, from the version kept
    last before that.

    Shape: as `compare`, with `from` and `to` (ids; `from` is None where there was none) and `live`.
    Errors: UnknownWorkflow, UnknownVersion, BadDefinition.
    """
    ends, new = _standing(conn, task_id) if newer is None else _kept(conn, task_id, newer)
    begins, old = _before(conn, task_id, ends) if older is None else _kept(conn, task_id, older)
    said = compare(old, new)
    return {"task_id": task_id, "from": begins, "to": ends, **said, "live": live_flows(conn, task_id)}


def _standing(conn: Connection, task_id: str) -> tuple[str, str]:
    definition = read_standing(conn, task_id).definition
    return definition.version_id, definition.content


def _kept(conn: Connection, task_id: str, version_id: str) -> tuple[str, str]:
    found = read_version(conn, task_id, version_id)
    return found.version_id, found.content


def _before(conn: Connection, task_id: str, version_id: str) -> tuple[str | None, str]:
    """The version that was kept last before this one, or, if this one is not kept yet, the newest; or nothing."""
    cursor: str | None = None
    with contextlib.suppress(UnknownVersion):
        cursor = read_version(conn, task_id, version_id).version_id
    found, _ = list_versions(conn, task_id, limit=1, cursor=cursor)
    return _kept(conn, task_id, found[0].version_id) if found else (None, Definition(task_id).content)
