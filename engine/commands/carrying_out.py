"""Carry out one command: check it, do it, and record it with who asked and why, in the same transaction.

A command's row in `kr_command` is inserted with its effect, so an answer that was lost on its way from the COMMIT is
read there. One that is refused changes nothing and is recorded as refused.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from pydantic import ValidationError
from sqlalchemy import Connection, insert, select

from engine import jsontext
from engine.access import Actor
from engine.commands import subjects
from engine.commands.changes import Done, Side
from engine.commands.command import Asked, Command, Noun
from engine.commands.table import command_of
from engine.database import Database, DuplicateKey
from engine.definition.reading import Check
from engine.dialects.clock import now
from engine.errors import BadRequest, OutcomeUnknown, PenstockError, concerns_all
from engine.failpoints import hit
from engine.ids import new_claim_id
from engine.tables import command as commands
from engine.waiting.messages import check_text

T = TypeVar("T")
DONE: Final = "done"
REFUSED: Final = "refused"
MAX_REASON: Final = 10_000
CONCEALED: Final = "***"


@dataclass(frozen=True)
class Ask:
    """A command as a door hands it on; nothing of it is checked yet. `arguments` is a JSON object."""

    verb: str
    subject: str | None
    arguments: Any = field(default_factory=dict)
    reason: str | None = None


def carry_out(db: Database, ask: Ask, actor: Actor, check: Check | None = None) -> Mapping[str, Any]:
    """Do what is asked. Shape: the command's answer, a JSON object.

    Errors: BadRequest for what does not fit; Forbidden; UnknownFlow and its like, also for what the actor does not
    reach; what the command itself refuses; those of the database. Nothing was changed then, but for OutcomeUnknown.
    """
    try:
        command, asked = checked(ask, actor, check)
        if command.in_parts is not None:
            subjects.refuse_unreached(db, command, asked)
            return _recorded(db, command, asked, command.in_parts(db, asked))
        asked = looked_up(db, command, asked)
        answer = _do(db, command, asked)
        if command.afterwards is not None:
            command.afterwards()
        return answer
    except PenstockError as error:
        if not isinstance(error, OutcomeUnknown) and not concerns_all(error):
            _record_refusal(db, ask, actor, error)
        raise


def checked(ask: Ask, actor: Actor, check: Check | None = None) -> tuple[Command, Asked[Any]]:
    """The command, and the request as it takes it. Errors: BadRequest, Forbidden."""
    command = command_of(ask.verb)
    actor.needs(command.role, command.name.replace("_", " "))
    if command.noun is Noun.EVERYTHING:
        if ask.subject is not None:
            raise BadRequest("subject", f"{command.name} has none: what is meant stands in its arguments")
    else:
        check_text("subject", ask.subject)
    if ask.reason is not None and (not isinstance(ask.reason, str) or len(ask.reason) > MAX_REASON):
        raise BadRequest("reason", f"is no text of at most {MAX_REASON:,} characters")
    reason = jsontext.clean_text(ask.reason, MAX_REASON) if ask.reason else None
    arguments = _arguments(command, ask.arguments)
    return command, Asked(ask.subject or "", arguments, actor, reason, check)


def looked_up(db: Database, command: Command, asked: Asked[Any]) -> Asked[Any]:
    """The request with what its command looks up ahead of the transaction."""
    return asked if command.ahead is None else replace(asked, ahead=command.ahead(db, asked))


def _arguments(command: Command, given: Any) -> Any:
    if not isinstance(given, Mapping):
        raise BadRequest("arguments", "are no JSON object")
    try:
        return command.arguments.model_validate(dict(given))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        where = [(".".join(str(part) for part in item["loc"]), item["msg"]) for item in found]
        raise BadRequest(
            where[0][0] or "arguments", "; ".join([where[0][1], *(": ".join(one) for one in where[1:])])
        ) from error


def _do(db: Database, command: Command, asked: Asked[Any]) -> Mapping[str, Any]:
    own_id = new_claim_id()  # the request's own may be the caller's, and come again

    def record(conn: Connection, done: Done) -> None:
        row = {**row_of(command, asked), "handled_by": own_id, **done_words(command, done)}
        conn.execute(insert(commands).values(**row, handled_ts=now()))

    try:
        return done_and_recorded(db, lambda conn: worked(conn, db, command, asked, record))
    except OutcomeUnknown:
        if (answer := _answer_of(db, asked.subject, own_id)) is None:
            raise
        return answer


def worked(
    conn: Connection,
    db: Database,
    command: Command,
    asked: Asked[Any],
    record: Callable[[Connection, Done], None],
) -> Mapping[str, Any]:
    """Do the work of a command and record its answer and what it changed, in the caller's transaction."""
    subjects.check_reach(conn, command, asked)
    done = command.work(conn, db, asked)
    hit("command.after_work")
    record(conn, done)
    hit("command.before_commit")
    return done.answer


def done_and_recorded(db: Database, work: Callable[[Connection], T]) -> T:
    """What `work` answers, in a transaction of its own."""
    try:
        done = db.transact(work)
    except DuplicateKey:  # somebody else inserted what this would have: it can be seen now
        done = db.transact(work)
    hit("command.after_commit")
    return done


def _recorded(db: Database, command: Command, asked: Asked[Any], done: Done) -> Mapping[str, Any]:
    row = {**row_of(command, asked), **done_words(command, done)}
    db.transact(lambda conn: conn.execute(insert(commands).values(**row, handled_ts=now())))
    return done.answer


def row_of(command: Command, asked: Asked[Any]) -> dict[str, Any]:
    """What a row of kr_command says of a request that came through another door than SQL."""
    return {
        "verb": command.name,
        "subject": asked.subject or None,
        "arguments": concealed(command, asked.arguments.model_dump(mode="json", exclude_unset=True)),
        "reason": asked.reason,
        **_asker(asked.actor),
    }


def concealed(command: Command, arguments: Mapping[str, Any]) -> str:
    """The arguments as they are recorded."""
    return jsontext.dumps(_masked(command, arguments))


def _masked(command: Command, columns: Mapping[str, Any]) -> dict[str, Any]:
    return {name: CONCEALED if name in command.concealed else value for name, value in columns.items()}


def _asker(actor: Actor) -> dict[str, Any]:
    return {
        "asked_by": actor.name,
        "asked_ts": now(),
        "door": actor.door,
        "address": actor.address,
        "request_id": actor.request_id,
    }


def done_words(command: Command, done: Done) -> dict[str, Any]:
    """What a row of kr_command says of what was done."""

    def shown(side: Side) -> Side:
        return None if side is None else _masked(command, side)

    changes = done.change._replace(before=shown(done.change.before), after=shown(done.change.after))
    return {"outcome": DONE, "answer": jsontext.dumps(dict(done.answer)), "changes": jsontext.dumps(changes.as_json())}


def refused_words(error: PenstockError) -> dict[str, Any]:
    """What a row of kr_command says of what was refused, and so changed nothing."""
    words = {"error": type(error).__name__, "message": str(error)[:10_000]}
    return {"outcome": REFUSED, "answer": jsontext.dumps(words)}


def _answer_of(db: Database, subject: str, own_id: str) -> Mapping[str, Any] | None:
    """What became of a request whose COMMIT was not answered; None if nothing did."""
    column = commands.c.subject
    mine = column == subject if subject else column.is_(None)
    query = select(commands.c.answer).where(mine, commands.c.handled_by == own_id)
    with db.read() as conn:
        text = conn.scalar(query.order_by(commands.c.command_id.desc()).limit(1))
    return None if text is None else jsontext.loads_object(text)


def _short(text: str, most: int) -> str:
    """What a column holds of a text that may be anything."""
    return jsontext.clean_text(text[:most], most)[:most]


def _record_refusal(db: Database, ask: Ask, actor: Actor, error: PenstockError) -> None:
    """As it was asked, as far as a row can hold it; whoever asks hears of it in any case."""
    if actor.door == "http" and isinstance(error, BadRequest):
        return  # a slip of the pen, which anybody may make a thousand times
    row = {
        "verb": _short(str(ask.verb), 64),
        "subject": _short(ask.subject, 256) if isinstance(ask.subject, str) else None,
        "reason": jsontext.clean_text(ask.reason, MAX_REASON) if isinstance(ask.reason, str) else None,
        **_asker(actor),
        **refused_words(error),
    }
    with contextlib.suppress(PenstockError):
        db.transact(lambda conn: conn.execute(insert(commands).values(**row, handled_ts=now())))
