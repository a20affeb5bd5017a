"""Commands on definitions: replace a workflow by a document, or take it away."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, StrictBool, StrictStr
from sqlalchemy import Connection

from engine.access import Role
from engine.commands.changes import NOTHING, Change, Done, between
from engine.commands.command import Arguments, Asked, Command, Noun
from engine.database import Database
from engine.documents import replacing, text
from engine.documents.lines import Lines
from engine.documents.shape import Document
from engine.errors import BadRequest
from engine.waiting.messages import check_text


class Applied(Arguments):
    document: dict[str, Any] | StrictStr = Field(
        description="the workflow: an object as docs/workflow-files.md has it, or a text that says one"
    )
    format: Literal["json", "toml"] = Field("json", description="how a text is written")
    if_version: StrictStr | None = Field(
        None,
        max_length=100,
        description="refuse unless the workflow is at this version (or stamp); * is any that there is",
    )
    only_new: StrictBool = Field(False, description="refuse if the workflow is there already")
    dry_run: StrictBool = Field(False, description="say what would change, and change nothing")


class Deleted(Arguments):
    force: StrictBool = Field(False, description="also while flows of it are under way; they go on")


def _apply(conn: Connection, db: Database, asked: Asked[Applied]) -> Done:
    told = asked.arguments
    check_text("subject", asked.subject)
    document = _document(asked)
    if document.task_id != asked.subject:
        raise BadRequest("document", f"is of workflow {document.task_id!r}, and workflow {asked.subject!r} is meant")
    source = told.document if isinstance(told.document, str) else None
    wish = replacing.Wish(
        document,
        told.if_version,
        told.only_new,
        source,
        told.format if source is not None else None,
        asked.actor.name,
        asked.reason,
    )
    if told.dry_run:
        return Done(replacing.look(conn, wish, asked.check).as_json(), NOTHING)
    applied = replacing.replace(conn, db, wish, asked.check)
    before = None if applied.is_new else {"version_id": applied.was, "stamp": applied.stamp_was}
    change = between(before, {"version_id": applied.version_id, "stamp": applied.stamp})
    return Done(applied.as_json(), change)


def _document(asked: Asked[Applied]) -> Document:
    """The document, which need not say whose it is. Errors: BadDocument."""
    told = asked.arguments
    if not isinstance(told.document, str):
        return text.check({"task_id": asked.subject, **told.document})
    said = text.parse(told.document, told.format)
    lines = Lines(told.document) if told.format == text.TOML else None
    return text.check({"task_id": asked.subject, **said} if isinstance(said, dict) else said, lines)


def _delete(conn: Connection, db: Database, asked: Asked[Deleted]) -> Done:
    force = asked.arguments.force
    was = replacing.remove(conn, db, asked.subject, force=force, by=asked.actor.name, note=asked.reason)
    return Done({"task_id": asked.subject}, Change({"version_id": was}, None))


COMMANDS = (
    Command("apply", Noun.WORKFLOW, "Make a document the workflow from now on", _apply, Applied, Role.AUTHOR),
    Command(
        "delete_workflow",
        Noun.WORKFLOW,
        "Take a workflow's definition away; its flows and versions stay",
        _delete,
        Deleted,
        Role.AUTHOR,
    ),
)
