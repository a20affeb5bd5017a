"""Open a database, and run transactions on it: retried where that is safe, never where the outcome is unknown."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from sqlalchemy import Connection, Engine, create_engine, make_url
from sqlalchemy import Dialect as DriverDialect
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from engine.dialects import Abilities, Dialect, Failure, dialect_of
from engine.dialects.clock import time_now
from engine.dialects.pinging import RUNS_AGAIN
from engine.dialects.rowset import documents_do
from engine.dialects.timeouts import USUAL, Timeouts
from engine.errors import (
    BadDatabaseURL,
    DatabaseUnavailable,
    FatalDatabaseError,
    OutcomeUnknown,
    PenstockError,
    PoisonData,
    Unclassified,
)

T = TypeVar("T")
MAX_TRIES = 20
COMPILED = 1_500
"""Statements that are kept compiled: those that name many rows have several forms each (engine/dialects/rowset.py)."""

REPEATING = 4
"""Connections at most for transactions that are repeated, where these have their own."""


def flavour_of(dialect: DriverDialect) -> str:
    """Which schema file fits: MariaDB and MySQL, one dialect of SQLAlchemy's, differ in their collations."""
    return "mariadb" if getattr(dialect, "is_mariadb", False) else str(dialect.name)


class Database:
    """One open database: SQLAlchemy's Engine, what it can do (`can`), and its transactions."""

    def __init__(
        self, engine: Engine, dialect: Dialect, timeouts: Timeouts = USUAL, repeating: Engine | None = None
    ) -> None:
        self.engine = engine
        self.repeating = repeating or engine
        """Where transactions begin that are `repeated`: on connections of their own, if they are planned otherwise."""
        self.dialect = dialect
        self.timeouts = timeouts
        self.can: Abilities = dialect.abilities()
        self._spelling = documents_do if self.can.documents else nullcontext
        self._turn = dialect.turns(engine.url, timeouts)

    @property
    def url(self) -> URL:
        return self.engine.url

    @property
    def address(self) -> str:
        """The URL as a text, with the password in it: to open the database again, never to be shown."""
        return self.url.render_as_string(hide_password=False)

    @property
    def flavour(self) -> str:
        """sqlite, mariadb, mysql or postgresql; the server says which of the middle two when it is first asked."""
        return flavour_of(self.engine.dialect)

    def probe(self) -> Abilities:
        """Ask the server what it can do; processes that claim call it once at their start."""
        self.dialect.probe(self.engine, self.can)
        return self.can

    @contextmanager
    def transaction(self, *, repeated: bool = False) -> Iterator[Connection]:
        """One transaction, tried once: committed at the end of the block, rolled back on any error. `repeated`: as
        `transact` says.

        Errors: what `transact` raises, except that a RETRY failure surfaces as DatabaseUnavailable.
        """
        committing = False
        try:
            engine = self.repeating if repeated else self.engine
            with self._spelling(), self._turn(), engine.connect() as connection:
                with_begin = connection.begin()
                try:
                    yield connection
                    committing = True
                    with_begin.commit()
                except BaseException:
                    with_begin.rollback()
                    raise
        except DBAPIError as error:
            raise self._translate(error, committing) from error
        except (StatementError, UnicodeError, OverflowError) as error:  # the driver refused a value before sending it
            raise PoisonData(str(error).splitlines()[0][:500]) from error
        except PoolTimeout as error:
            raise DatabaseUnavailable("all connections of this process are in use") from error

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only reads; on SQLite it neither takes nor waits for the write lock."""
        try:
            with self._spelling(), self.engine.connect().execution_options(penstock_read=True) as connection:
                yield connection
        except DBAPIError as error:
            raise self._translate(error, committing=False) from error
        except (StatementError, UnicodeError, OverflowError) as error:  # as above: nothing can be asked with it
            raise PoisonData(str(error).splitlines()[0][:500]) from error
        except PoolTimeout as error:
            raise DatabaseUnavailable("all connections of this process are in use") from error

    def transact(self, work: Callable[[Connection], T], *, tries: int = MAX_TRIES, repeated: bool = False) -> T:
        """Run `work` in a transaction and commit; a deadlock or a connection lost on the way runs the whole again.

        `work` may run several times, so it must do nothing but talk to its connection. `repeated`: the same few
        statements come again and again, and find their rows by keys or in the order of an index, so they need not be
        planned anew each time.
        Errors: OutcomeUnknown when the answer to COMMIT was lost (the caller reads back by id); DatabaseUnavailable
        when the server cannot be reached or stays busy; PoisonData, FatalDatabaseError as their names say.
        """
        failure: _Retryable | None = None
        for attempt in range(tries):
            if attempt:
                time.sleep(random.uniform(0, min(0.002 * 2**attempt, 0.5)))
            runs_again = RUNS_AGAIN.set(attempt == 0 and tries > 1)
            try:
                with self.transaction(repeated=repeated) as connection:
                    return work(connection)
            except _Retryable as error:
                failure = error
            finally:
                RUNS_AGAIN.reset(runs_again)
        down = failure is not None and failure.is_down
        raise DatabaseUnavailable(f"gave up after {tries} tries: {failure}", is_down=down) from failure

    def twin(self, role: str, connections: int, *, timeouts: Timeouts | None = None) -> Database:
        """The same database with connections of its own, for what must not wait behind anything else."""
        return open_database(self.address, role=role, connections=connections, timeouts=timeouts or self.timeouts)

    def now(self, connection: Connection) -> object:
        """The database's time, aware, in UTC."""
        return time_now(connection)

    def close(self) -> None:
        self.engine.dispose()
        self.repeating.dispose()

    def _translate(self, error: DBAPIError, committing: bool) -> PenstockError:
        kind = self.dialect.failure(error)
        words = _first_line(error) + self.dialect.advice(error)
        if committing and kind in (Failure.CONNECTION, Failure.WAIT, Failure.UNKNOWN):
            return OutcomeUnknown(f"the answer to COMMIT was lost: {words}")
        if kind in (Failure.RETRY, Failure.CONNECTION):
            return _Retryable(words, is_down=self.dialect.is_down(error))
        if kind is Failure.WAIT:
            return DatabaseUnavailable(words, is_down=self.dialect.is_down(error))
        if kind in (Failure.POISON, Failure.DUPLICATE):
            return DuplicateKey(words) if kind is Failure.DUPLICATE else PoisonData(words)
        return Unclassified(words) if kind is Failure.UNKNOWN else FatalDatabaseError(words)


class _Retryable(DatabaseUnavailable):
    """Not applied, and worth another try at once."""


class DuplicateKey(PoisonData):
    """A unique key is taken: read back whose it is."""


def open_database(
    url: str, *, role: str = "client", connections: int | None = None, timeouts: Timeouts = USUAL
) -> Database:
    """Open the database at `url` without connecting yet.

    `url` is SQLAlchemy's form; a plain `mysql://` or `postgresql://` gets the driver that Penstock uses. `connections`
    is the most that are open at once (SQLAlchemy's default: 15), beside `REPEATING` on PostgreSQL for what is repeated.
    Errors: BadDatabaseURL for a URL that cannot be read, an unknown database, or a driver that is not installed.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise BadDatabaseURL(
            f"{_masked(url)!r} is no database URL: write sqlite:///file.db, mysql+pymysql://user:password@host/name "
            "or postgresql+psycopg://user:password@host/name"
        ) from error
    dialect = dialect_of(parsed)
    if parsed.drivername in ("postgres", "postgresql", "mysql", "mariadb"):
        parsed = parsed.set(drivername=dialect.driver)
    try:
        options = dialect.engine_options(parsed, role, timeouts)
        engine = create_engine(parsed, query_cache_size=COMPILED, **options, **_pool(connections))
        repeating = _repeating(dialect, parsed, role, timeouts, connections)
    except ModuleNotFoundError as error:
        raise BadDatabaseURL(f"the driver for {parsed.drivername} is not installed: {dialect.remedy}") from error
    except (NoSuchModuleError, ArgumentError, TypeError) as error:
        raise BadDatabaseURL(f"{parsed.render_as_string()}: {error}; Penstock uses {dialect.driver}") from error
    dialect.prepare(engine, timeouts)
    if repeating is not None:
        dialect.prepare(repeating, timeouts)
        dialect.prepare_repeating(repeating)
    return Database(engine, dialect, timeouts, repeating)


def _repeating(dialect: Dialect, url: URL, role: str, timeouts: Timeouts, connections: int | None) -> Engine | None:
    """The engine of transactions that are repeated, where their connections differ from others."""
    options = dialect.repeating_options(url, role, timeouts)
    if options is None:
        return None
    return create_engine(url, query_cache_size=COMPILED, **options, **_pool(min(connections or REPEATING, REPEATING)))


def _pool(connections: int | None) -> dict[str, int]:
    return {} if connections is None else {"pool_size": connections, "max_overflow": 0}


def wait_until_up(
    db: Database,
    seconds: float,
    *,
    on_wait: Callable[[str], None] = lambda words: None,
    then: Callable[[], None] = lambda: None,
) -> None:
    """Wait until the server answers and `then` succeeds, at most `seconds`: a server that answers a query may be gone
    again, or have no room to write, a moment later. Errors: DatabaseUnavailable after that; fatal ones at once.
    """
    deadline = time.monotonic() + seconds
    pause = 0.2
    while True:
        try:
            with db.read() as connection:
                connection.exec_driver_sql("SELECT 1")
            then()
            return
        except (DatabaseUnavailable, OutcomeUnknown) as error:
            if time.monotonic() + pause > deadline:
                raise DatabaseUnavailable(
                    f"{db.url.render_as_string()} did not answer within {seconds:g} seconds: {error}"
                ) from error
            on_wait(str(error))
        time.sleep(pause * random.uniform(0.8, 1.2))
        pause = min(pause * 2, 5.0)


def _masked(url: str) -> str:
    """A URL that cannot be read, without what may be its password."""
    return re.sub(r"(//[^/]*?):.*@", r"\1:***@", url)


def _first_line(error: DBAPIError) -> str:
    words = str(error.orig).strip() or type(error.orig).__name__
    return words.splitlines()[0][:500]
