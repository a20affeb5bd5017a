"""Commands that were inserted: each row is carried out once, and answered in place.

The row is locked, its work done and its answer written in one transaction, so that a watcher that dies on the way has
done nothing, and one whose COMMIT was not answered finds the row handled or not.
"""

from __future__ import annotations

import logging
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, select, update

from engine import jsontext
from engine.access import Actor, Role
from engine.commands.carrying_out import (
    Ask,
    checked,
    concealed,
    done_and_recorded,
    done_words,
    looked_up,
    refused_words,
    worked,
)
from engine.commands.command import Asked, Command
from engine.database import Database
from engine.definition.reading import Check
from engine.dialects.clock import now
from engine.errors import BadRequest, BrokenPromise, FatalDatabaseError, OutcomeUnknown, PenstockError, concerns_all
from engine.tables import IS_ASKED
from engine.tables import command as commands

log = logging.getLogger("penstock.commands")
BATCH: Final = 50
NOBODY: Final = "sql"
"""Who asked, where the row does not say."""


def carry_out_asked(db: Database, watcher_id: str, check: Check | None = None, role: Role = Role.OPERATOR) -> int:
    """Carry out the commands that wait, oldest first, at most 50; what takes more than `role` is refused. Returns how
    many were handled."""
    with db.read() as conn:
        waiting = conn.scalars(
            select(commands.c.command_id).where(IS_ASKED).order_by(commands.c.command_id).limit(BATCH)
        ).all()
    return sum(_handle(db, command_id, watcher_id, check, role) for command_id in waiting)


def _handle(db: Database, command_id: int, watcher_id: str, check: Check | None, role: Role) -> bool:
    """Do what one row asks for, or refuse it. False if somebody else has, or is about to."""
    command: Command | None = None
    with db.read() as conn:
        row = conn.execute(select(commands).where(commands.c.command_id == command_id, IS_ASKED)).one_or_none()
    if row is None:
        return False
    try:
        command, asked = checked(_ask_of(row), Actor(_name(row), role, door="sql"), check)
        asked = looked_up(db, command, asked)
        return _do(db, row, command, asked, watcher_id)
    except OutcomeUnknown:  # done and answered, or neither: the next look sees which
        raise
    except PenstockError as error:
        if concerns_all(error) and not isinstance(error, FatalDatabaseError):
            raise
        # a right that the watcher's account has not, or a database that refuses everything: then this raises, too
        return _answer(db, row, command, error, watcher_id)
    except Exception as error:  # no row may keep those behind it waiting
        log.exception("command %s failed", row.command_id)
        return _answer(db, row, command, BrokenPromise(f"{type(error).__name__}: {error}"), watcher_id)


def _ask_of(row: Row[Any]) -> Ask:
    """Errors: BadRequest for arguments that are no JSON object."""
    try:
        arguments = jsontext.loads_object(row.arguments) if row.arguments is not None else {}
    except jsontext.NotJSON as error:
        raise BadRequest("arguments", str(error)) from error
    return Ask(row.verb, row.subject, arguments, row.reason)


def _name(row: Row[Any]) -> str:
    return jsontext.clean_text(row.asked_by, 256)[:256] if row.asked_by else NOBODY


def _do(db: Database, row: Row[Any], command: Command, asked: Asked[Any], watcher_id: str) -> bool:
    def work(conn: Connection) -> bool:
        if conn.execute(_locked(db, row)).first() is None:
            return False
        worked(
            conn,
            db,
            command,
            asked,
            lambda conn, done: _write(conn, row, command, done_words(command, done), watcher_id),
        )
        return True

    done = done_and_recorded(db, work)
    if command.afterwards is not None:
        command.afterwards()
    return done


def _answer(db: Database, row: Row[Any], command: Command | None, error: PenstockError, watcher_id: str) -> bool:
    def work(conn: Connection) -> bool:
        if conn.execute(_locked(db, row)).first() is None:
            return False
        _write(conn, row, command, refused_words(error), watcher_id)
        return True

    return db.transact(work)


def _locked(db: Database, row: Row[Any]) -> Select[Any]:
    query = select(commands.c.command_id).where(commands.c.command_id == row.command_id, IS_ASKED)
    return query.with_for_update(skip_locked=db.can.skip_locked) if db.can.row_locks else query


def _write(conn: Connection, row: Row[Any], command: Command | None, words: dict[str, Any], watcher_id: str) -> None:
    values = {"handled_ts": now(), "handled_by": watcher_id, "asked_by": _name(row), **words}
    if command is not None and command.concealed and row.arguments is not None:
        try:
            values["arguments"] = concealed(command, jsontext.loads_object(row.arguments))
        except jsontext.NotJSON:  # whoever wrote it may have written a secret
            values["arguments"] = None
    conn.execute(update(commands).where(commands.c.command_id == row.command_id).values(values))
