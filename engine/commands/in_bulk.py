"""One command on all flows or tasks that a filter finds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StrictBool, StrictInt, StrictStr
from sqlalchemy import Connection

from engine.commands.changes import NOTHING, Change, Done
from engine.commands.command import Arguments, Asked, Command, Noun
from engine.commands.task_changes import by_name
from engine.commands.types import WHOLE, Whole
from engine.control.bulk import FLOWS_PER_TRANSACTION, MAX_FLOWS, Count, Filter, bulk, bulk_in, texts_for
from engine.control.rerun import MAX_PATTERN
from engine.database import Database
from engine.errors import BadRequest
from engine.flows import MAX_ID

Name = Annotated[StrictStr, Field(min_length=1, max_length=MAX_ID)]


class Where(Arguments):
    """Which flows, and which of their tasks; at least one thing must be named."""

    task_id: Name | None = None
    flow_ids: Annotated[list[Name], Field(max_length=MAX_FLOWS)] | None = None
    flow_status: Whole | None = None
    run_key_from: Name | None = None
    run_key_to: Name | None = None
    registered_after: AwareDatetime | None = None
    registered_before: AwareDatetime | None = None
    status: Whole | None = Field(None, description="of tasks, as everything below")
    reason: Name | None = None
    program: Name | None = None
    name: Annotated[StrictStr, Field(min_length=1, max_length=MAX_PATTERN)] | None = Field(
        None, description="a regular expression, found in the step's name or its program"
    )


class Bulk(Arguments):
    verb: StrictStr = Field(description="one of the verbs on flows and tasks")
    where: Where
    arguments: dict[str, Any] = Field(default_factory=dict, description="of the verb")
    dry_run: StrictBool = Field(True, description="count, and change nothing")
    limit: Annotated[StrictInt, Field(ge=1, le=MAX_FLOWS), WHOLE] | None = Field(
        None, description=f"flows at most; {MAX_FLOWS:,}, and {FLOWS_PER_TRANSACTION} by SQL, which is one transaction"
    )


def _where(told: Bulk) -> Filter:
    return Filter(**{name: value for name, value in told.where.model_dump().items() if value is not None})


def _ahead(db: Database, asked: Asked[Bulk]) -> Any:
    told = asked.arguments
    if told.where.name is None:
        return None
    return texts_for(db, told.verb, _where(told), told.limit or FLOWS_PER_TRANSACTION, told.arguments)


def _work(conn: Connection, db: Database, asked: Asked[Bulk]) -> Done:
    told = asked.arguments
    options = {"limit": told.limit or FLOWS_PER_TRANSACTION, "texts": asked.ahead, **_options(asked)}
    return _done(bulk_in(conn, db, told.verb, _where(told), **options))


def _in_parts(db: Database, asked: Asked[Bulk]) -> Done:
    told = asked.arguments
    return _done(bulk(db, told.verb, _where(told), limit=told.limit or MAX_FLOWS, **_options(asked)))


def _options(asked: Asked[Bulk]) -> dict[str, Any]:
    """What both ways are told alike. Errors: BadRequest for arguments that are not the verb's."""
    told, who = asked.arguments, asked.actor
    if set(told.arguments) & _OWN:
        raise BadRequest("arguments", f"of a verb are none of {', '.join(sorted(_OWN))}")
    mine = {"actor": who.name, "note": asked.reason, "dry_run": told.dry_run, "within": who.reach}
    return {**told.arguments, **mine}


_OWN = {"actor", "note", "dry_run", "limit", "progress", "within", "texts", "policy"}
"""Names that are not the verb's to be given."""


def _done(count: Count) -> Done:
    shown = {name: value for name, value in asdict(count).items() if name != "statuses_after"}
    answer = {**shown, "statuses": {str(status): number for status, number in count.statuses.items()}}
    if count.dry_run or not count.flows:
        return Done(answer, NOTHING)
    after = {"statuses": by_name(count.statuses_after), "flows": count.flows, "tasks": count.tasks}
    return Done(answer, Change({"statuses": by_name(count.statuses)}, after))


COMMANDS = (
    Command(
        "bulk",
        Noun.EVERYTHING,
        "Apply a verb to all flows or tasks that a filter finds",
        _work,
        Bulk,
        is_checked_by_itself=True,
        ahead=_ahead,
        in_parts=_in_parts,
    ),
)
