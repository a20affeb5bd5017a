"""Commands on what tasks await: answers by people, messages, call-backs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field, StrictStr
from sqlalchemy import Connection

from engine.commands.command import Arguments, Asked, Command, Noun
from engine.commands.types import Seconds
from engine.database import Database
from engine.waiting import answers, messages


class Answered(Arguments):
    payload: Any = Field(None, description='of an approval {"approved": true}; of a form what fits its schema')


class Message(Arguments):
    key: StrictStr = Field(min_length=1, max_length=messages.MAX_TEXT, description="which of those that await the name")
    payload: Any = Field(None, description="what the task is given, JSON")
    expires_s: Seconds = Field(messages.KEEP_S, description="how many seconds it is kept while nobody awaits it")


class CalledBack(Arguments):
    token: StrictStr = Field(min_length=1, max_length=1_000, description="what the program gave away")
    payload: Any = Field(None, description="what the task is given, JSON")


def _answer(conn: Connection, db: Database, asked: Asked[Answered]) -> Mapping[str, Any]:
    answers.answer_in(conn, db, asked.subject, asked.arguments.payload, actor=asked.actor.name)
    return {}


def _send(conn: Connection, db: Database, asked: Asked[Message]) -> Mapping[str, Any]:
    told = asked.arguments
    sent = messages.send_in(
        conn, db, asked.subject, told.key, told.payload, actor=asked.actor.name, expires_s=told.expires_s
    )
    return {"message_id": sent.message_id, "wait_id": sent.wait_id}


def _call_back(conn: Connection, db: Database, asked: Asked[CalledBack]) -> Mapping[str, Any]:
    answers.call_back_in(conn, db, asked.arguments.token, asked.arguments.payload, actor=asked.actor.name)
    return {}


COMMANDS = (
    Command("answer", Noun.WAIT, "Answer an approval or a form", _answer, Answered),
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
