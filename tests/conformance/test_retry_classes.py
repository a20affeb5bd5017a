"""What an error of a driver means, code by code: the table of the specification against each dialect."""

from __future__ import annotations

import sqlite3
from typing import Any

import psycopg.errors
import pymysql.err
import pytest
from sqlalchemy.exc import DBAPIError

from engine.database import Database, open_database
from engine.dialects import Failure, dialect_of
from engine.errors import DatabaseUnavailable, FatalDatabaseError, OutcomeUnknown, PoisonData, Unclassified

A, B, C, D, E = Failure.RETRY, Failure.CONNECTION, Failure.WAIT, Failure.POISON, Failure.FATAL
BACK = Failure.DUPLICATE
MARIADB = {
    A: [1213, 1020, 1205, 1969, 3024, 1317, 3572],
    B: [2006, 2013, 2055, 1053, 1152, 1154, 1155, 1156, 1157, 1158, 1159, 1160, 1161, 1927, 4031, 0],
    C: [2002, 2003, 2005, 1040, 1203, 1226, 1021, 1114, 1041, 1290, 1792, 1836, 1030],
    D: [1406, 1264, 1366, 1292, 4025, 3819, 1153],
    E: [1146, 1054, 1045, 1044, 1665],
    BACK: [1062],
    Failure.UNKNOWN: [4242],
}
POSTGRESQL = {
    A: ["40001", "40P01", "55P03", "57014", "26000", "42P05"],
    B: ["57P01", "57P02", "57P05", "08000", "08006", "08007", "25P03"],
    C: ["57P03", "53300", "53100", "53200", "53400", "25006", "58030"],
    D: ["22P02", "22P05", "22001", "22003", "22021", "23514", "54000"],
    E: ["42P01", "42703", "28000", "28P01", "3D000", "42501"],
    BACK: ["23505"],
    Failure.UNKNOWN: ["XX000"],
}
SQLITE = {
    A: ["BUSY", "BUSY_SNAPSHOT", "BUSY_RECOVERY", "BUSY_TIMEOUT", "PROTOCOL", "SCHEMA", "LOCKED"],
    B: ["IOERR", "IOERR_READ", "IOERR_FSYNC"],
    C: ["FULL", "CANTOPEN", "NOMEM", "READONLY"],
    D: ["TOOBIG", "MISMATCH", "CONSTRAINT_CHECK", "CONSTRAINT_NOTNULL"],
    E: ["CORRUPT", "NOTADB", "READONLY_DBMOVED"],
    BACK: ["CONSTRAINT_UNIQUE", "CONSTRAINT_PRIMARYKEY"],
    Failure.UNKNOWN: ["WARNING", "ERROR"],
}
WORDS = {
    "connection to server at 127.0.0.1 failed: Connection refused": (C, True),
    "FATAL: the database system is starting up": (C, True),
    "FATAL: the database system is shutting down": (C, True),
    "FATAL: the database system is in recovery mode": (C, True),
    "connection timeout expired": (C, False),
    "connection to server failed: Connection timed out; 127.0.0.1: Connection refused": (C, False),
    "FATAL: sorry, too many clients already": (C, False),
    "FATAL: remaining connection slots are reserved for superusers": (C, False),
    "failed to resolve host 'nowhere': [Errno -2] Name or service not known": (C, False),
    "server closed the connection unexpectedly": (B, False),
    "consuming input failed: the connection is lost": (B, False),
    "the connection is closed": (B, False),
    'FATAL: password authentication failed for user "x"': (E, False),
    'FATAL: database "x" does not exist': (E, False),
}
ADDRESSES = {"mariadb": "mysql://h/d", "postgresql": "postgresql://h/d", "sqlite": "sqlite:///x.db"}


def mariadb(code: int, words: str = "words") -> Exception:
    return pymysql.err.InterfaceError(0, "") if code == 0 else pymysql.err.OperationalError(code, words)


def postgresql(state: str, words: str = "words") -> Exception:
    return psycopg.errors.lookup(state)(words)


def sqlite(name: str, words: str = "words") -> Exception:
    error = sqlite3.OperationalError(words)
    error.sqlite_errorname = f"SQLITE_{name}"
    return error


CASES = [
    *[("mariadb", mariadb(code), kind) for kind, codes in MARIADB.items() for code in codes],
    *[("postgresql", postgresql(state), kind) for kind, states in POSTGRESQL.items() for state in states],
    *[("sqlite", sqlite(name), kind) for kind, names in SQLITE.items() for name in names],
    *[("postgresql", psycopg.OperationalError(words), kind) for words, (kind, _) in WORDS.items()],
    ("postgresql", postgresql("0A000", "cached plan must not change result type"), A),
    ("postgresql", postgresql("0A000", "cannot do that"), E),
    ("postgresql", psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes"), D),
    ("sqlite", sqlite("ERROR", "no such table: kr_task_stat"), E),
    ("sqlite", sqlite3.ProgrammingError("Error binding parameter 1: type 'set' is not supported"), D),
]


def opened(kind: str) -> Database:
    return open_database(ADDRESSES[kind])


def wrapped(error: Exception) -> DBAPIError:
    return DBAPIError("SELECT 1", {}, error)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "kind, error, verdict", CASES, ids=lambda part: repr(part) if isinstance(part, Exception) else ""
)
def test_each_code_has_its_class(kind: str, error: Exception, verdict: Failure) -> None:
    assert opened(kind).dialect.failure(wrapped(error)) is verdict


@pytest.mark.parametrize(
    "kind, error, verdict", CASES, ids=lambda part: repr(part) if isinstance(part, Exception) else ""
)
def test_each_class_has_its_error(kind: str, error: Exception, verdict: Failure) -> None:
    """While a COMMIT is under way, what is not known to have failed has an unknown outcome."""
    db = opened(kind)
    plain: dict[Failure, Any] = {
        A: DatabaseUnavailable,
        B: DatabaseUnavailable,
        C: DatabaseUnavailable,
        D: PoisonData,
        BACK: PoisonData,
        E: FatalDatabaseError,
        Failure.UNKNOWN: Unclassified,
    }
    assert isinstance(db._translate(wrapped(error), committing=False), plain[verdict])
    told = db._translate(wrapped(error), committing=True)
    assert isinstance(told, OutcomeUnknown) == (verdict in (B, C, Failure.UNKNOWN))


@pytest.mark.parametrize(
    "kind, error, is_down",
    [
        *[("postgresql", psycopg.OperationalError(words), is_down) for words, (_, is_down) in WORDS.items()],
        *[("postgresql", postgresql(state), True) for state in ("57P03", "57P02", "25006", "53100")],
        *[("postgresql", postgresql(state), False) for state in ("57P01", "57014", "40P01", "08006", "53300")],
        ("mariadb", mariadb(2003, "Can't connect ([Errno 111] Connection refused)"), True),
        ("mariadb", mariadb(2003, "Can't connect (timed out)"), False),
        *[("mariadb", mariadb(code), True) for code in (1053, 1290, 1792, 1836, 1021, 1114)],
        *[("mariadb", mariadb(code), False) for code in (2013, 2006, 2005, 1205, 1927, 1040)],
        *[("sqlite", sqlite(name), True) for name in ("FULL", "READONLY")],
        *[("sqlite", sqlite(name), False) for name in ("BUSY", "CANTOPEN", "READONLY_DBMOVED", "IOERR")],
    ],
    ids=lambda part: repr(part) if isinstance(part, Exception) else "",
)
def test_who_is_down_and_who_is_merely_silent(kind: str, error: Exception, is_down: bool) -> None:
    """Only where the server says that nobody can write may exclusive programs run on after their lease."""
    from sqlalchemy import make_url

    assert dialect_of(make_url(ADDRESSES[kind])).is_down(wrapped(error)) is is_down
