"""SQLite: one file, one writer at a time, and the same promises."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Table, event
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Insert

from engine.dialects.base import Abilities, Dialect, Failure, Warned
from engine.dialects.held_clock import utc_after_of
from engine.dialects.timeouts import Timeouts
from engine.dialects.turnstile import turnstile_of
from engine.errors import BadDatabaseURL

MAX_BUSY_S = 5.0
WAL_RESET_FIXED = (3, 51, 3)
NETWORK_FILE_SYSTEMS = {"nfs", "nfs4", "cifs", "smb", "smbfs", "smb3", "9p", "afs", "ceph", "fuse.sshfs", "glusterfs"}
HINT_EVERY_S = 0.01
IDLE_HINT_EVERY_S = 0.04
"""Between looks at the write-ahead log: while there are commits, and once there have been none for `AWAKE_S`."""
AWAKE_S = 2.0
COMMIT_S = 0.1
"""How long a commit may take from its last write to the log until others can see it; the next look is not far."""
_PRAGMAS = (
    "PRAGMA journal_mode = WAL",  # readers never wait for the writer
    "PRAGMA synchronous = FULL",  # an acknowledged flow survives a power cut
    "PRAGMA foreign_keys = ON",
    "PRAGMA mmap_size = 0",  # a file that shrinks under a mapping ends the process
    "PRAGMA trusted_schema = OFF",
)
_RETRY = {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_PROTOCOL", "SQLITE_SCHEMA", "SQLITE_INTERRUPT"}
_WAIT = {"SQLITE_FULL", "SQLITE_CANTOPEN", "SQLITE_NOMEM", "SQLITE_READONLY"}
_POISON = {"SQLITE_TOOBIG", "SQLITE_MISMATCH", "SQLITE_CONSTRAINT"}
_FATAL = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_READONLY_DBMOVED", "SQLITE_AUTH", "SQLITE_PERM"}
_DUPLICATE = {"SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_ROWID"}


class SQLite(Dialect):
    name = "sqlite"
    driver = "sqlite+pysqlite"
    remedy = "SQLite comes with Python: this Python was built without it"

    def abilities(self) -> Abilities:
        return Abilities(row_locks=False, many_writers=False, hints=True)

    def engine_options(self, url: URL, role: str, timeouts: Timeouts) -> dict[str, Any]:
        if not url.database or url.database == ":memory:" or "mode=memory" in url.database:
            raise BadDatabaseURL("a database in memory belongs to one connection alone: write sqlite:///file.db")
        folder = os.path.dirname(os.path.abspath(url.database))
        if not url.database.startswith("file:") and not os.path.isdir(folder):
            raise BadDatabaseURL(f"{folder} is no folder: make it, or write sqlite:///file.db for one in this folder")
        return {"connect_args": {"timeout": _patience_s(timeouts)}}

    def is_absent(self, url: URL) -> bool:
        return not (url.database and os.path.exists(url.database))

    def prepare(self, engine: Engine, timeouts: Timeouts) -> None:
        event.listen(engine, "connect", partial(_on_connect, engine.url.database))
        event.listen(engine, "begin", _on_begin)

    def turns(self, url: URL, timeouts: Timeouts) -> Callable[[], AbstractContextManager[None]]:
        return partial(turnstile_of(str(url.database)).turn, _patience_s(timeouts))

    def warnings(self, connection: Connection) -> Iterator[Warned]:
        if sqlite3.sqlite_version_info < WAL_RESET_FIXED:
            words = (
                f"SQLite {sqlite3.sqlite_version} has a rare defect when several processes reset the write-ahead log"
            )
            yield Warned(words, "run one `penstock up`, or use SQLite 3.51.3 or later", at_start=False)
        kind = file_system_of(str(connection.engine.url.database))
        if kind in NETWORK_FILE_SYSTEMS:
            yield Warned(f"the file lies on {kind}, whose locks cannot be relied on", "keep it on a local disk")

    def failure(self, error: DBAPIError) -> Failure:
        if isinstance(error.orig, (sqlite3.ProgrammingError, sqlite3.InterfaceError)):
            return Failure.POISON  # a value that the driver cannot carry, such as a lone surrogate
        code = _code(error)
        if code == "SQLITE_ERROR":  # says only that the statement cannot be run: as there is no such table, perhaps
            return Failure.FATAL if "no such" in str(error.orig) else Failure.UNKNOWN
        for family, verdict in (
            (_DUPLICATE, Failure.DUPLICATE),
            (_FATAL, Failure.FATAL),
            (_RETRY, Failure.RETRY),
            (_WAIT, Failure.WAIT),
            (_POISON, Failure.POISON),
        ):
            if code in family or "_".join(code.split("_")[:2]) in family:
                return verdict
        return Failure.CONNECTION if code.startswith("SQLITE_IOERR") else Failure.UNKNOWN

    def is_down(self, error: DBAPIError) -> bool:
        return self.failure(error) is Failure.WAIT and _code(error).startswith(("SQLITE_FULL", "SQLITE_READONLY"))

    def insert_missing(self, table: Table) -> Insert:
        return insert(table).on_conflict_do_nothing()

    @contextmanager
    def migration_lock(self, connection: Connection) -> Iterator[None]:
        yield  # BEGIN IMMEDIATE holds the file's one write lock already, and DDL is part of the transaction

    def listen(self, url: URL, stopped: Callable[[], bool]) -> Iterator[bool]:
        """Every commit of any process grows or rewrites the write-ahead log: looking at the file costs no query. It is
        written before it may be read, so what follows a change of it is the moment from which that can be seen."""
        log, path = f"{url.database}-wal", str(url.database)
        with closing(sqlite3.connect(path, uri=path.startswith("file:"), isolation_level=None)) as connection:
            before, seen = _stamp(log), _version(connection)
            yield False
            awake_until = time.monotonic() + AWAKE_S
            while not stopped():
                time.sleep(HINT_EVERY_S if time.monotonic() < awake_until else IDLE_HINT_EVERY_S)
                if (after := _stamp(log)) != before:
                    before, seen = after, _next_version(connection, seen)
                    yield False
                    awake_until = time.monotonic() + AWAKE_S


def file_system_of(path: str) -> str:
    """The kind of file system that holds the file; empty where the system does not say."""
    import psutil

    place = os.path.realpath(path)
    mounts = [part for part in psutil.disk_partitions(all=True) if _is_within(place, part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype.lower() if mounts else ""


def _patience_s(timeouts: Timeouts) -> float:
    return min(MAX_BUSY_S, timeouts.statement_s)


def _is_within(place: str, folder: str) -> bool:
    return os.path.commonpath([place, folder]) == folder


def _code(error: DBAPIError) -> str:
    return getattr(error.orig, "sqlite_errorname", None) or ""


def _next_version(connection: sqlite3.Connection, before: int) -> int:
    """The number of the commit under way, once it can be seen; some changes of the log are of none."""
    deadline = time.monotonic() + COMMIT_S
    while (now := _version(connection)) == before and time.monotonic() < deadline:
        time.sleep(COMMIT_S / 50)
    return now


def _version(connection: sqlite3.Connection) -> int:
    """A number that changes with every commit of others. It is read from shared memory, without a query of a table."""
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _on_connect(path: str | None, connection: sqlite3.Connection, record: Any) -> None:
    # text that is no UTF-8 can be stored by hand: it must not stop whoever reads the row
    connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
    connection.isolation_level = None  # transactions are begun below, and nowhere else
    for pragma in _PRAGMAS:
        connection.execute(pragma)
    connection.create_function("utc_after", 1, utc_after_of(path))


def _on_begin(connection: Connection) -> None:
    """Take the write lock first: a transaction that reads and then writes fails at once when another wrote between."""
    reading = connection.get_execution_options().get("penstock_read", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
