"""What one database does differently from another: the only room where a database is asked which one it is."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from sqlalchemy import Connection, Engine, Table
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Insert

from engine.dialects.timeouts import Timeouts


class Failure(enum.Enum):
    """What an error of the driver means for the transaction it hit (reliability classes A to E)."""

    RETRY = "not applied: the whole transaction may be tried again at once"
    CONNECTION = "the connection is gone: not applied, unless a COMMIT was under way"
    WAIT = "the server refuses for the moment: wait, then try again"
    POISON = "a value is refused: trying again gives the same answer"
    DUPLICATE = "a unique key is taken: read back whose it is"
    FATAL = "refused for good: a person must mend the set-up"
    UNKNOWN = "not in the tables below"


@dataclass
class Abilities:
    """What this server can do, found out once; code asks for an ability, never for a database by name."""

    row_locks: bool = True
    skip_locked: bool = False
    lock_of: bool = True
    """A join can be read with the rows of one of its tables locked, and no others."""
    hints: bool = False
    partial_indexes: bool = True
    documents: bool = True
    """Many rows are named by one JSON document (engine/dialects/rowset.py)."""
    many_writers: bool = True


class Warned(NamedTuple):
    """What is wrong with a server that works, and what to do about it."""

    words: str
    remedy: str
    at_start: bool = True
    """Is it worth a line in the log of every watcher that starts, or only an answer to `penstock check`?"""


class Dialect:
    """One database family. Subclasses hold differences only."""

    name: ClassVar[str]
    driver: ClassVar[str]
    """What SQLAlchemy calls it with its driver, as in `mysql+pymysql`."""
    remedy: ClassVar[str]
    """What to install when the driver is missing."""
    backslashes: ClassVar[bool] = False
    """Does a backslash in a text between quotes stand for something else?"""

    def abilities(self) -> Abilities:
        return Abilities()

    def engine_options(self, url: URL, role: str, timeouts: Timeouts) -> dict[str, Any]:
        """Arguments for create_engine(). `role` names the program in the server's list of connections."""
        return {}

    def repeating_options(self, url: URL, role: str, timeouts: Timeouts) -> dict[str, Any] | None:
        """The same for transactions whose statements come again and again, if their connections are to be others."""
        return None

    def is_absent(self, url: URL) -> bool:
        """Would connecting create the database rather than find it?"""
        return False

    def prepare(self, engine: Engine, timeouts: Timeouts) -> None:
        """Attach what each new connection needs."""

    def prepare_repeating(self, engine: Engine) -> None:
        """Attach what those with `repeating_options` need besides."""

    def turns(self, url: URL, timeouts: Timeouts) -> Callable[[], AbstractContextManager[None]]:
        """What a transaction that writes waits in before it begins, where the database itself keeps no order."""
        return nullcontext

    def probe(self, engine: Engine, can: Abilities) -> None:
        """Ask the running server what it can do, and write it into `can`."""

    def warnings(self, connection: Connection) -> Iterator[Warned]:
        """How this server is set up to lose what it acknowledged, or to get in the way of watchers."""
        return iter(())

    def failure(self, error: DBAPIError) -> Failure:
        """Decide by the driver's code, never by the class of the exception."""
        raise NotImplementedError

    def advice(self, error: DBAPIError) -> str:
        """What to add to the driver's own words, where they do not say what to do."""
        return ""

    def is_down(self, error: DBAPIError) -> bool:
        """Does the server itself say that nobody can write at present: refused, starting, stopping, read-only, full?
        Silence says nothing of the kind: perhaps it is only this process that is cut off."""
        raise NotImplementedError

    def insert_missing(self, table: Table) -> Insert:
        """An INSERT that leaves a row alone whose key exists already."""
        raise NotImplementedError

    def migration_lock(self, connection: Connection) -> AbstractContextManager[None]:
        """Hold the one lock that lets a single process change the schema at a time."""
        raise NotImplementedError

    def claim_lock(self, connection: Connection) -> None:
        """Let one transaction at a time count running tasks and claim; freed by its end."""

    def analyze(self, connection: Connection, *tables: Table) -> None:
        """Let the planner know what is in these tables now, rather than when the server comes to it."""

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Delete every row of these tables, and leave nothing for the server to clear away afterwards."""
        for table in tables:
            connection.execute(table.delete())

    def notify(self, connection: Connection) -> None:
        """Tell sleeping watchers that rows became ready, when this transaction commits. A hint only."""

    def listen(self, url: URL, stopped: Callable[[], bool]) -> Iterator[bool]:
        """Yield once for each hint until `stopped()`: True if rows are ready, False if something has changed. Whatever
        it is can be read by then. Ends at once where the database has no hints."""
        return iter(())


def skip_locked_works(engine: Engine) -> bool:
    """See whether a row locked by one connection is really skipped by another: some servers accept the words only."""
    probe = "SELECT version_num FROM alembic_version FOR UPDATE"
    try:
        with engine.connect() as holder, engine.connect() as other:
            held = holder.exec_driver_sql(probe).all()
            seen = other.exec_driver_sql(f"{probe} SKIP LOCKED").all()
            return bool(held) and not seen
    except DBAPIError:
        return False
