"""Answers to what tasks await: approvals and forms by people, call-backs by whoever has the token. The first counts.

A call-back is a message whose id is made of its token, whether it comes before or after its task awaits it. So the key
of `kr_message` sees to it that there is one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection, Row, delete, select

from engine import history, jsontext
from engine.database import Database, DuplicateKey
from engine.dialects.clock import now
from engine.errors import AlreadyAnswered, BadRequest, NotAllowed, UnknownWait
from engine.inputs import document as read_document
from engine.keys import key_of
from engine.tables import message, wait
from engine.waiting import waits
from engine.waiting.messages import Address, check_text, document, for_sure, insert_message, meet_early
from engine.waiting.tokens import CALLBACK, digest, has_shape, id_of
from engine.waiting.waits import Closing

BY_PEOPLE: Final = ("approval", "form")
EARLY_S: Final = 600.0
"""How long a call-back is kept that came before its task awaited it."""


def answer(db: Database, wait_id: str, payload: Any, *, actor: str) -> None:
    """Answer an approval or a form: the task that awaits it runs again and is given the payload.

    An approval takes an object with a boolean `approved`; a form takes what fits the JSON Schema in its details, if
    there is one. Errors: UnknownWait; AlreadyAnswered, also where the time is over; NotAllowed for an actor who is none
    of the candidates in the details; BadRequest for a payload of the wrong shape, or a wait that people do not answer.
    """
    with db.read() as conn:
        row, closing = _meant(conn, wait_id, payload, actor)
    _close(db, row, closing)


def answer_in(conn: Connection, db: Database, wait_id: str, payload: Any, *, actor: str) -> None:
    """The same in the caller's transaction. Locks the task."""
    row, closing = _meant(conn, wait_id, payload, actor)
    if not _close_in(conn, db, row, closing):
        _refuse_closed(_row(conn, wait_id) or row)
        raise UnknownWait(wait_id)


def _meant(conn: Connection, wait_id: str, payload: Any, actor: str) -> tuple[Row[Any], Closing]:
    """The wait that an answer is for, if it may be given by this actor. Errors: as `answer`."""
    check_text("wait_id", wait_id)
    check_text("actor", actor)
    text = document("payload", payload)
    row = _row(conn, wait_id)
    if row is None:
        raise UnknownWait(wait_id)
    if row.kind not in BY_PEOPLE:
        raise BadRequest("wait_id", f"{wait_id!r} is a {row.kind}, which nobody answers")
    details = _details(row)
    candidates = details.get("candidates")
    if isinstance(candidates, list) and candidates and actor not in candidates:
        raise NotAllowed(wait_id, actor, [str(one) for one in candidates])
    _refuse_closed(row)
    _check(row.kind, payload, details)
    return row, Closing(wait_id, "arrived", text, actor)


def call_back(db: Database, token: str, payload: Any, *, actor: str = "callback") -> None:
    """Give a payload to the task that awaits this token. The token itself is neither stored nor shown anywhere.

    A call-back may come before its task has said that it awaits it: one with the shape of `call.new_token()` is kept
    for ten minutes. Errors: UnknownWait for a token that no program can have given away; AlreadyAnswered; BadRequest
    for a payload that is not JSON or is larger than 1 MiB.
    """
    hashed, text = _of_token(token, payload, actor)
    tries: list[None] = []

    def work(conn: Connection) -> None:
        tries.append(None)
        _call_back(conn, db, hashed, text, actor, may_be_early=has_shape(token), is_first=len(tries) == 1)

    try:
        for_sure(db, work)
    except DuplicateKey:  # another call-back of this moment
        with db.read() as conn:
            _refuse_second(conn, id_of(hashed))
        raise


def call_back_in(conn: Connection, db: Database, token: str, payload: Any, *, actor: str) -> None:
    """The same in the caller's transaction. Errors: also DuplicateKey, for another call-back of this moment: asked
    again, it is AlreadyAnswered."""
    hashed, text = _of_token(token, payload, actor)
    _call_back(conn, db, hashed, text, actor, may_be_early=has_shape(token), is_first=True)


def _of_token(token: str, payload: Any, actor: str) -> tuple[str, str | None]:
    check_text("actor", actor)
    if not isinstance(token, str):
        raise BadRequest("token", "is no text")
    return digest(token), document("payload", payload)


def _call_back(
    conn: Connection, db: Database, hashed: str, text: str | None, actor: str, *, may_be_early: bool, is_first: bool
) -> None:
    wait_id = id_of(hashed)
    mine = message.c.message_id == wait_id
    if not is_first:  # the answer to the COMMIT before was lost
        known = conn.execute(select(message.c.sent_by, message.c.payload).where(mine)).one_or_none()
        if known is not None and (known.sent_by, known.payload) == (actor, text):
            return
    row = _row(conn, wait_id)
    if (row is None and not may_be_early) or (row is not None and row.correlation_key != hashed):
        raise UnknownWait
    if row is not None:
        _refuse_closed(row)
    conn.execute(delete(message).where(mine, message.c.wait_id.is_(None), message.c.expires_ts <= now()))
    _refuse_second(conn, wait_id)
    insert_message(conn, wait_id, Address(CALLBACK, hashed), text, actor, EARLY_S)
    if row is None:
        return
    if not meet_early(conn, db, [wait_id]):  # it ended at this moment
        _refuse_closed(_row(conn, wait_id) or row)
    history.record(conn, [history.about(key_of(row), "called back", actor, wait_id=wait_id)])


def _refuse_second(conn: Connection, wait_id: str) -> None:
    known = conn.execute(select(message).where(message.c.message_id == wait_id)).one_or_none()
    if known is not None:
        raise AlreadyAnswered(wait_id, "arrived", known.sent_by, known.sent_ts)


def _close(db: Database, row: Row[Any], closing: Closing) -> None:
    tries: list[None] = []

    def work(conn: Connection) -> None:
        tries.append(None)
        if _close_in(conn, db, row, closing):
            return
        found = _row(conn, closing.wait_id)
        if found is None:
            raise UnknownWait(closing.wait_id)
        if len(tries) == 1 or (found.closed_by, found.payload) != (closing.by, closing.payload):
            _refuse_closed(found)  # else the answer to the COMMIT before was lost

    for_sure(db, work)


def _close_in(conn: Connection, db: Database, row: Row[Any], closing: Closing) -> bool:
    if not waits.close(conn, db, [closing]):
        return False
    about = history.about(key_of(row), f"{row.kind} answered", closing.by or "", wait_id=row.wait_id)
    history.record(conn, [about])
    return True


def _row(conn: Connection, wait_id: str) -> Row[Any] | None:
    return conn.execute(select(wait).where(wait.c.wait_id == wait_id)).one_or_none()


def _refuse_closed(row: Row[Any]) -> None:
    if row.state != "open":
        raise AlreadyAnswered(row.wait_id, row.state, row.closed_by, row.closed_ts)


def _details(row: Row[Any]) -> Mapping[str, Any]:
    """The details of a wait; a person who wrote them wrongly by SQL restricts nobody."""
    details = read_document(row.details)
    return details if isinstance(details, dict) else {}


def _check(kind: str, payload: Any, details: Mapping[str, Any]) -> None:
    if kind == "approval":
        if not isinstance(payload, dict) or not isinstance(payload.get("approved"), bool):
            raise BadRequest("payload", 'an approval is an object with a boolean: {"approved": true}')
        return
    if "schema" in details:
        from engine.json_schema import misfit_of  # slow to import, and many processes never check a form

        if misfit := misfit_of(jsontext.loads(jsontext.dumps(payload)), details["schema"]):
            raise BadRequest("payload", misfit)
