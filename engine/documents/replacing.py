"""Replace all rows of a workflow by those of a document, or take the workflow away: whole, or not at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from engine import history
from engine.database import Database
from engine.definition import versions
from engine.definition.reading import Check, misfits_of, read_definitions
from engine.definition.step import Definition
from engine.dialects.clock import now
from engine.documents.comparing import compare
from engine.documents.rows import Rows, rows_of
from engine.documents.shape import Document
from engine.documents.standing import Standing, find_standing, fits, stamp_of
from engine.errors import BadDefinition, BrokenPromise, Conflict, Outdated, UnfitProgram, UnknownWorkflow
from engine.tables import IS_ACTIVE, flow_stat, task_definition, task_edge, task_option, workflow

ANY: Final = "*"
"""Whatever version there is."""
_NOBODY: Final = "sdk"
"""Who did it, where nobody says."""
_TABLES: Final = (task_edge, task_option, task_definition)


@dataclass(frozen=True)
class Wish:
    """A document that is to be the workflow from now on. `if_version`: the version or the stamp that the caller saw,
    or `*` for whatever is there; `only_new`: it must not be there yet. `source`: the text that it was read from."""

    document: Document
    if_version: str | None = None
    only_new: bool = False
    source: str | None = None
    source_format: str | None = None
    by: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Applied:
    """A workflow as it is now, or would be; `was`: the version before, None if there was none that could run, and
    `stamp_was` the stamp of that one."""

    task_id: str
    version_id: str
    stamp: str
    was: str | None
    is_new: bool
    changes: dict[str, Any]
    stamp_was: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "stamp_was"}


def checked(document: Document, check: Check | None = None) -> tuple[Rows, Definition]:
    """The rows of a document, and what they make. Errors: BadDocument, BadDefinition, UnfitProgram."""
    rows = rows_of(document)
    definition = rows.compiled()
    if check is not None and (problems := misfits_of(definition, check)):
        raise UnfitProgram(document.task_id, problems)
    return rows, definition


def look(conn: Connection, wish: Wish, check: Check | None = None) -> Applied:
    """What `replace` would do; nothing is written. Errors: those of `replace`."""
    _, definition = checked(wish.document, check)
    before = find_standing(conn, wish.document.task_id)
    _refuse_outdated(wish, before)
    return _applied(wish.document, definition, before)


def replace(conn: Connection, db: Database, wish: Wish, check: Check | None = None) -> Applied:
    """Make the document the workflow, in the caller's transaction: a registration sees the old one or this one.

    Errors: BadDocument, BadDefinition and UnfitProgram for what cannot run; Outdated. Nothing may be committed then.
    """
    rows, definition = checked(wish.document, check)
    task_id = wish.document.task_id
    _lock(conn, db, task_id)
    before = find_standing(conn, task_id)
    _refuse_outdated(wish, before)
    applied = _applied(wish.document, definition, before)
    of_now = {"source": wish.source, "source_format": wish.source_format, "changed_by": wish.by, "changed_ts": now()}
    conn.execute(update(workflow).where(workflow.c.task_id == task_id).values({**rows.workflow, **of_now}))
    for table in _TABLES:
        conn.execute(delete(table).where(table.c.task_id == task_id))
    for table, values in ((task_definition, rows.steps), (task_option, rows.options), (task_edge, rows.edges)):
        if values:
            conn.execute(insert(table), [{"task_id": task_id, **row} for row in values])
    _refuse_unlike(conn, definition)
    versions.store(conn, db, [definition])
    if applied.is_new or not applied.changes["is_same"]:
        details = {"workflow": task_id, "version_id": definition.version_id, "was": applied.was}
        history.record(conn, [history.deed("workflow applied", wish.by or _NOBODY, wish.note, **details)])
    return applied


def remove(
    conn: Connection, db: Database, task_id: str, *, force: bool, by: str | None, note: str | None
) -> str | None:
    """Take all definition rows of a workflow away. Its flows, and its versions, stay as they are, this last one too.

    Returns the version that it was; None if it could not run. Errors: UnknownWorkflow; Conflict while flows of it are
    under way, unless `force`.
    """
    there = select(workflow.c.task_id).where(workflow.c.task_id == task_id)
    conn.execute(there.with_for_update() if db.can.row_locks else there).first()
    steps = select(task_definition.c.task_seq).where(task_definition.c.task_id == task_id)
    if conn.execute(steps.limit(1)).first() is None:
        raise UnknownWorkflow(task_id)
    is_active = conn.execute(
        select(flow_stat.c.task_flow_id).where(flow_stat.c.task_id == task_id, IS_ACTIVE).limit(1)
    ).first()
    if is_active is not None and not force:
        words = f"has flows under way, {is_active[0]!r} for one"
        raise Conflict(f"workflow {task_id!r}", words, "let them end, cancel them, or force it: they go on without it")
    before = find_standing(conn, task_id)
    was = None
    if isinstance(before, Standing):  # rows that somebody wrote by SQL may be no version yet
        versions.store(conn, db, [before.definition])
        was = before.version_id
    for table in (*_TABLES, workflow):
        conn.execute(delete(table).where(table.c.task_id == task_id))
    history.record(conn, [history.deed("workflow deleted", by or _NOBODY, note, workflow=task_id, was=was)])
    return was


def _lock(conn: Connection, db: Database, task_id: str) -> None:
    """Let one writer at a time have the workflow: by its row in ms_workflow, which is made if need be."""
    held = update(workflow).where(workflow.c.task_id == task_id).values(changed_ts=now())
    if not conn.execute(held).rowcount:
        conn.execute(db.dialect.insert_missing(workflow), {"task_id": task_id})
        conn.execute(held)


def _refuse_outdated(wish: Wish, before: Standing | BadDefinition | None) -> None:
    task_id = wish.document.task_id
    current = before.stamp if isinstance(before, Standing) else None
    if wish.only_new and before is not None:
        raise Outdated(task_id, "is there already", current, "leave out that it must be new, to replace it")
    if wish.if_version is None or (wish.if_version == ANY and before is not None):
        return
    if isinstance(before, Standing) and fits(wish.if_version, before):
        return
    if before is None:
        state = "is not there (any more)"
    elif isinstance(before, BadDefinition):
        state = "cannot run as it is now, so it is no version at all"
    else:
        state = f"is at version {before.version_id}, not as it was seen"
    raise Outdated(task_id, state, current, "read it again, and apply your change to what it says now")


def _applied(document: Document, definition: Definition, before: Standing | BadDefinition | None) -> Applied:
    known = before if isinstance(before, Standing) else None
    nothing = Document.model_construct(task_id=document.task_id, steps=[])
    older = known.definition if known else Definition(document.task_id)
    changes = compare(older.content, definition.content, (known.document if known else nothing, document))
    was = known.version_id if known else None
    stamp = stamp_of(definition, document)
    stamp_was = known.stamp if known else None
    return Applied(document.task_id, definition.version_id, stamp, was, before is None, changes, stamp_was)


def _refuse_unlike(conn: Connection, definition: Definition) -> None:
    """What was written is read back, as a registration would: a database that rounds or cuts is found out here."""
    found = read_definitions(conn, [definition.task_id]).get(definition.task_id)
    if isinstance(found, BadDefinition):
        raise found
    if found is None or found.version_id != definition.version_id:
        raise BrokenPromise(f"workflow {definition.task_id!r} reads otherwise than it was written")
