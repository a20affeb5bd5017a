"""Commands on what tasks await: answers by people, messages, call-backs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, StrictStr
from sqlalchemy import Connection

from engine.commands.changes import Change, Done, Side, made, state_of, watched
from engine.commands.command import Arguments, Asked, Command, Noun
from engine.commands.types import Seconds
from engine.database import Database
from engine.tables import wait
from engine.waiting import answers, messages
from engine.waiting.tokens import digest, id_of


class Answered(Arguments):
    payload: Any = Field(None, description='of an approval {"approved": true}; of a form what fits its schema')


class Message(Arguments):
    key: StrictStr = Field(min_length=1, max_length=messages.MAX_TEXT, description="which of those that await the name")
    payload: Any = Field(None, description="what the task is given, JSON")
    expires_s: Seconds = Field(messages.KEEP_S, description="how many seconds it is kept while nobody awaits it")


class CalledBack(Arguments):
    token: StrictStr = Field(min_length=1, max_length=1_000, description="what the program gave away")
    payload: Any = Field(None, description="what the task is given, JSON")


def _answer(conn: Connection, db: Database, asked: Asked[Answered], before: Side) -> Mapping[str, Any]:
    answers.answer_in(conn, db, asked.subject, asked.arguments.payload, actor=asked.actor.name)
    return {}


def _send(conn: Connection, db: Database, asked: Asked[Message]) -> Done:
    told = asked.arguments
    sent = messages.send_in(
        conn, db, asked.subject, told.key, told.payload, actor=asked.actor.name, expires_s=told.expires_s
    )
    return Done({"message_id": sent.message_id, "wait_id": sent.wait_id}, made(**sent._asdict()))


def _call_back(conn: Connection, db: Database, asked: Asked[CalledBack]) -> Done:
    """The subject is the wait that the token stands for, which the record names; one that came early is a message."""
    wait_id = id_of(digest(asked.arguments.token))
    before = _state(conn, wait_id)
    answers.call_back_in(conn, db, asked.arguments.token, asked.arguments.payload, actor=asked.actor.name)
    after = _state(conn, wait_id)
    if before is None or after is None:
        return Done({}, made(message_id=wait_id))
    return Done({}, Change({"wait_id": wait_id, **before}, {"wait_id": wait_id, **after}))


def _state(conn: Connection, wait_id: str) -> Side:
    """Not locked: tasks come first, and an answer is refused unless it finds the wait open."""
    return state_of(conn, [wait.c.state, wait.c.closed_by], wait.c.wait_id == wait_id)


def _answered(conn: Connection, asked: Asked[Answered], lock: bool) -> Side:
    return _state(conn, asked.subject)


COMMANDS = (
    Command("answer", Noun.WAIT, "Answer an approval or a form", watched(_answered, _answer), Answered),
    Command("send", Noun.MESSAGE, "Send a message of this name to the task that awaits it", _send, Message),
    Command(
        "call_back",
        Noun.EVERYTHING,
        "Give a payload to the task that gave a token away",
        _call_back,
        CalledBack,
        is_checked_by_itself=True,
        concealed=frozenset({"token"}),
    ),
)
