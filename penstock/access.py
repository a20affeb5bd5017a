"""The database of a command that comes and goes: opened, looked at, and closed again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from engine.database import Database, open_database
from engine.dialects.timeouts import USUAL, Timeouts
from engine.errors import DatabaseUnavailable, FatalDatabaseError, PenstockError, SchemaMissing, SchemaTooOld
from engine.schema import verify


@contextmanager
def database(url: str, role: str = "cli") -> Iterator[Database]:
    """An open database that holds the tables of this Penstock. Errors: those of `verify`, and of an unusable URL."""
    with any_database(url, role) as db:
        with told_where(db):
            verify(db)
        yield db


@contextmanager
def any_database(
    url: str, role: str, *, connections: int | None = None, timeouts: Timeouts = USUAL
) -> Iterator[Database]:
    """An open database, whatever is in it."""
    db = open_database(url, role=role, connections=connections, timeouts=timeouts)
    try:
        yield db
    finally:
        db.close()


def refuse_newer(db: Database) -> None:
    """Errors: SchemaTooNew, before a migration would stumble over tables that it does not know."""
    try:
        with told_where(db):
            verify(db)
    except (SchemaMissing, SchemaTooOld):
        return


@contextmanager
def told_where(db: Database) -> Iterator[None]:
    """Add to an error which database it was, and what a person can do."""
    where = db.url.render_as_string()
    try:
        yield
    except DatabaseUnavailable as error:
        words = f"{where} cannot be reached: {error}. Is the server up, and is this the address? (--db, PENSTOCK_DB)"
        raise DatabaseUnavailable(words) from error
    except PenstockError as error:
        if type(error) is not FatalDatabaseError:  # the others say it themselves
            raise
        words = f"{where} refuses: {error}. Are the user, the password and the name of the database right?"
        raise FatalDatabaseError(words) from error
