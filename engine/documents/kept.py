"""The versions of a workflow that are kept: listed, read, found by how their ids begin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, or_, select

from engine.definition.step import PHASES
from engine.documents.rows import RETRY
from engine.documents.shape import Document
from engine.documents.standing import current_version
from engine.documents.text import check
from engine.errors import BadRequest, UnknownVersion, UnknownWorkflow
from engine.queries.pages import bad_cursor, check_limit, instant
from engine.tables import workflow_version

_version = workflow_version.c


class Version(NamedTuple):
    """A definition as it was: `content` as `Definition.content` has it."""

    version_id: str
    created_ts: datetime
    content: str

    def as_json(self, current: str | None) -> dict[str, Any]:
        """`current`: the version that the rows make now."""
        return {
            "version_id": self.version_id,
            "created_ts": instant(self.created_ts),
            "is_current": self.version_id == current,
        }


def list_versions(
    conn: Connection, task_id: str, *, limit: int = 50, cursor: str | None = None
) -> tuple[list[Version], str | None]:
    """Newest first, without their content, and the cursor of the next page. Errors: BadRequest."""
    check_limit(limit)
    query = select(_version.version_id, _version.created_ts).where(_version.task_id == task_id)
    if cursor is not None:
        last = conn.scalar(
            select(_version.created_ts).where(_version.task_id == task_id, _version.version_id == cursor)
        )
        if last is None:
            raise bad_cursor(cursor)
        older = and_(_version.created_ts == last, _version.version_id < cursor)
        query = query.where(_version.created_ts <= last, or_(_version.created_ts < last, older))
    query = query.order_by(_version.created_ts.desc(), _version.version_id.desc()).limit(limit + 1)
    found = [Version(row.version_id, row.created_ts, "") for row in conn.execute(query)]
    return found[:limit], found[limit - 1].version_id if len(found) > limit else None


def versions_page(
    conn: Connection, task_id: str, *, limit: int = 50, cursor: str | None = None
) -> tuple[list[dict[str, Any]], str | None]:
    """The same as documents. Errors: UnknownWorkflow for one that neither is there nor was."""
    current = current_version(conn, task_id)
    found, following = list_versions(conn, task_id, limit=limit, cursor=cursor)
    if not found and current is None:
        raise UnknownWorkflow(task_id)
    return [version.as_json(current) for version in found], following


def version_document(conn: Connection, task_id: str, version_id: str) -> dict[str, Any]:
    """A version with its `document`. Errors: those of `read_version`."""
    found = read_version(conn, task_id, version_id)
    document = document_of_content(found.content).as_json()
    return {**found.as_json(current_version(conn, task_id)), "document": document}


def read_version(conn: Connection, task_id: str, version_id: str) -> Version:
    """The version of this id, or the only one whose id begins so. Errors: UnknownVersion; BadRequest if several do."""
    query = select(_version.version_id, _version.created_ts, _version.definition).where(_version.task_id == task_id)
    if not version_id.isascii() or not version_id.isalnum():
        raise UnknownVersion(task_id, version_id[:80])
    begins = query.where(_version.version_id >= version_id, _version.version_id <= version_id + "g")
    found = conn.execute(begins.order_by(_version.version_id).limit(2)).all()
    if not found:
        raise UnknownVersion(task_id, version_id)
    if len(found) > 1 and found[0].version_id != version_id:
        raise BadRequest("version", f"{version_id!r} begins the ids of several versions: write more of it")
    return Version(*found[0])


def document_of_content(content: str) -> Document:
    """A version as a document: with each edge that it has, also those of a chain. Errors: BadDocument."""
    whole = json.loads(content)
    names = {step["task_seq"]: step.get("name") or step["task_seq"] for step in whole["steps"]}
    extras = {name: value for name, value in whole.get("workflow", {}).items() if value is not None}
    return check({"task_id": whole["task_id"], **extras, "steps": [_step(step, names) for step in whole["steps"]]})


def _step(step: Mapping[str, Any], names: Mapping[int, Any]) -> dict[str, Any]:
    left_out = {"task_seq", "task_priority", "edges", "after", "parameters", *RETRY.values()}
    said = {name: value for name, value in step.items() if name not in left_out and not name.startswith(PHASES)}
    said |= {"seq": step["task_seq"], "priority": step["task_priority"] or None, "after": _after(step, names) or None}
    said |= {"parameters": step["parameters"] or None}
    said["retry"] = {name: step[column] for name, column in RETRY.items() if column in step} or None
    for name in PHASES:
        if f"{name}_program" in step:
            parameters = step[f"{name}_parameters"] or None
            said[name] = {"program": step[f"{name}_program"], "parameters": parameters}
    return said


def _after(step: Mapping[str, Any], names: Mapping[int, Any]) -> list[Any]:
    edges: dict[int, Any] = {before: names[before] for before in step["after"]}
    for edge in step.get("edges", ()):
        extras = {name: value for name, value in edge.items() if name != "after"}
        edges[edge["after"]] = {"step": names[edge["after"]], **extras}
    return [edges[before] for before in sorted(edges)]
