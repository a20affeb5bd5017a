"""The list of workflows: by id, page by page, with what people want to know of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from sqlalchemy import Connection, Row, select

from engine import jsontext
from engine.access import EVERYTHING, Reach
from engine.definition.reading import read_definitions
from engine.documents.live import count_live
from engine.errors import BadDefinition
from engine.queries.pages import check_limit, instant
from engine.tables import flow_stat, task_definition, workflow

_PART: Final = 500
"""Workflows that are looked through at a time."""
MOST_LIVE: Final = 1_000
"""Flows under way that are counted for each workflow."""


def list_workflows(
    conn: Connection,
    *,
    limit: int = 50,
    cursor: str | None = None,
    text: str | None = None,
    tag: str | None = None,
    owner: str | None = None,
    reach: Reach = EVERYTHING,
) -> tuple[list[dict[str, Any]], str | None]:
    """Workflows that have steps, by id, and the cursor of the next page. `text` is found in the id or the description,
    whatever its case. Shape of each: task_id, description, owner, tags, changed_ts, changed_by, version_id, problem
    (why it cannot run), live_flows (counted up to 1,000), last_flow. Errors: BadRequest."""
    check_limit(limit)
    found: list[Row[Any]] = []
    for row in every_workflow(conn, cursor, reach, limit + 1):
        if _fits(row, text, tag, owner):
            found.append(row)
        if len(found) > limit:
            break
    page = found[:limit]
    definitions = read_definitions(conn, [row.task_id for row in page]) if page else {}
    listed = [_listed(conn, row, definitions.get(row.task_id)) for row in page]
    return listed, page[-1].task_id if len(found) > limit else None


def every_workflow(
    conn: Connection, cursor: str | None = None, reach: Reach = EVERYTHING, least: int = _PART
) -> Iterator[Row[Any]]:
    """Every workflow that has steps, by id, behind the cursor, as long as somebody asks for more. Shape of each:
    task_id, and what its row in ms_workflow says to people."""
    size = min(least, _PART)
    while True:
        step = task_definition.c
        ids = select(step.task_id).distinct().where(reach.condition(step.task_id)).order_by(step.task_id).limit(size)
        part = (ids if cursor is None else ids.where(step.task_id > cursor)).subquery()
        extras = [workflow.c[name] for name in ("description", "owner", "tags", "changed_ts", "changed_by")]
        query = select(part.c.task_id, *extras).outerjoin_from(part, workflow, workflow.c.task_id == part.c.task_id)
        rows = conn.execute(query.order_by(part.c.task_id)).all()
        yield from rows
        if len(rows) < size:
            return
        cursor, size = rows[-1].task_id, _PART


def _fits(row: Row[Any], text: str | None, tag: str | None, owner: str | None) -> bool:
    wanted = (text or "").casefold()
    is_found = wanted in row.task_id.casefold() or wanted in (row.description or "").casefold()
    return is_found and (tag is None or tag in _tags(row.tags)) and (owner is None or owner == row.owner)


def _tags(text: str | None) -> list[str]:
    """What a person may have written by hand is no reason to show nothing."""
    try:
        found = jsontext.loads(text) if text is not None else []
    except jsontext.NotJSON:
        return []
    return [tag for tag in found if isinstance(tag, str)] if isinstance(found, list) else []


def _listed(conn: Connection, row: Row[Any], definition: Any) -> dict[str, Any]:
    flow = flow_stat.c
    newest = select(flow.task_flow_id).where(flow.task_id == row.task_id, flow.registered_ts.isnot(None))
    newest = newest.order_by(flow.registered_ts.desc(), flow.task_flow_id.desc()).limit(1)
    is_bad = isinstance(definition, BadDefinition)
    return {
        "task_id": row.task_id,
        "description": row.description,
        "owner": row.owner,
        "tags": _tags(row.tags),
        "changed_ts": None if row.changed_ts is None else instant(row.changed_ts),
        "changed_by": row.changed_by,
        "version_id": None if is_bad or definition is None else definition.version_id,
        "problem": definition.why if isinstance(definition, BadDefinition) else None,
        "live_flows": count_live(conn, row.task_id, MOST_LIVE),
        "last_flow": conn.scalar(newest),
    }
