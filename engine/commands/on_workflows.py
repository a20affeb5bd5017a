"""Commands on workflows: make flows of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StrictStr
from sqlalchemy import Connection

from engine.commands.changes import NOTHING, Done, made
from engine.commands.command import Arguments, Asked, Command, Noun
from engine.commands.types import Priority
from engine.database import Database
from engine.errors import PenstockError
from engine.flows import MAX_ID, MAX_KEY, MAX_TAG, MAX_TAGS, Registration, register

Tag = Annotated[StrictStr, Field(min_length=1, max_length=MAX_TAG)]


class Registered(Arguments):
    parameters: dict[str, Any] | None = Field(None, description="replace the steps' own parameters of the same name")
    priority: Priority | None = Field(None, description="replaces that of every step; smaller goes first")
    run_key: Annotated[StrictStr, Field(min_length=1, max_length=MAX_ID)] | None = Field(
        None, description="the period or business key that the flow stands for"
    )
    idempotency_key: Annotated[StrictStr, Field(min_length=1, max_length=MAX_KEY)] | None = Field(
        None, description="a second request with this key makes no second flow"
    )
    tags: Annotated[list[Tag], Field(max_length=MAX_TAGS)] | None = Field(
        None, description="words that the flow can be found by"
    )


def _register(conn: Connection, db: Database, asked: Asked[Registered]) -> Done:
    told = asked.arguments
    wish = Registration(
        asked.subject,
        told.parameters,
        told.priority,
        told.run_key,
        told.idempotency_key,
        tags=tuple(told.tags or ()),
        by=asked.actor.name,
    )
    answer = register(conn, db, [wish], asked.check)[wish.flow_id]
    if isinstance(answer, PenstockError):
        raise answer
    change = NOTHING if answer.replayed else made(task_flow_id=answer.flow_id, task_id=asked.subject)
    return Done({"task_flow_id": answer.flow_id, "replayed": answer.replayed}, change)


COMMANDS = (Command("register", Noun.WORKFLOW, "Start a flow of a workflow", _register, Registered),)
