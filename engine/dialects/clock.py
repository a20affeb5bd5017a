"""The database's own clock, in UTC with microseconds: the only clock that judges leases and due times.

`later(seconds)` is an expression, so that the time is read inside the statement that uses it. PostgreSQL needs
clock_timestamp(), because now() stands still for a whole transaction; MariaDB and MySQL need UTC_TIMESTAMP(6), because
NOW() follows the session's time zone and drops the fraction. SQLite has no clock but the host's and no microseconds of
its own before 3.42, so the connection carries a function for it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Double, bindparam, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from engine.dialects.types import UtcTimestamp

MAX_DELAY_S: Final = 100 * 366 * 86_400.0
"""No date arithmetic of any of the databases overflows within a hundred years."""


def bounded(seconds: float) -> float:
    """The seconds, cut to what every database can add to its time."""
    return max(-MAX_DELAY_S, min(MAX_DELAY_S, float(seconds)))


def time_now(conn: Connection) -> datetime:
    """The database's time, to be bound: an expression in VALUES keeps PyMySQL from sending many rows at once."""
    found = conn.scalar(_NOW)
    assert found is not None
    return found


class later(FunctionElement[datetime]):  # noqa: N801 - it reads as a function in statements
    """The database's time `seconds` from now. Units: seconds, negative for the past, at most a hundred years.

    Given a text, the seconds come from the parameter of that name, and given a column, from there, in a statement for
    many rows: no seconds (None) are no time, and whoever gives them sees to the hundred years (`bounded`).
    """

    type = UtcTimestamp()
    inherit_cache = True

    def __init__(self, seconds: float | str | ColumnElement[float]) -> None:
        if isinstance(seconds, ColumnElement):
            super().__init__(seconds)
        elif isinstance(seconds, str):
            super().__init__(bindparam(seconds, type_=Double()))
        else:
            super().__init__(bindparam(None, bounded(seconds), type_=Double(), unique=True))


class now(FunctionElement[datetime]):  # noqa: N801
    """The database's time."""

    type = UtcTimestamp()
    inherit_cache = True


class seconds_between(FunctionElement[float]):  # noqa: N801
    """From the first instant to the second. Units: seconds, to the millisecond at least."""

    type = Double()
    inherit_cache = True

    def __init__(self, begin: ColumnElement[datetime], end: ColumnElement[datetime]) -> None:
        super().__init__(begin, end)


_NOW = select(now())


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: Any, **options: Any) -> str:
    return "clock_timestamp()"


@compiles(now, "mysql", "mariadb")
def _now_mysql(element: now, compiler: Any, **options: Any) -> str:
    return "UTC_TIMESTAMP(6)"


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: Any, **options: Any) -> str:
    return "(SELECT utc_after(0))"  # asked once for all rows of a statement


@compiles(later, "postgresql")
def _later_postgresql(element: later, compiler: Any, **options: Any) -> str:
    return f"(clock_timestamp() + make_interval(secs => {compiler.process(element.clauses, **options)}))"


@compiles(later, "mysql", "mariadb")
def _later_mysql(element: later, compiler: Any, **options: Any) -> str:
    return f"(UTC_TIMESTAMP(6) + INTERVAL ({compiler.process(element.clauses, **options)}) * 1000000 MICROSECOND)"


@compiles(later, "sqlite")
def _later_sqlite(element: later, compiler: Any, **options: Any) -> str:
    return f"utc_after({compiler.process(element.clauses, **options)})"


@compiles(seconds_between, "postgresql")
def _between_postgresql(element: seconds_between, compiler: Any, **options: Any) -> str:
    begin, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CAST(EXTRACT(EPOCH FROM ({end} - {begin})) AS DOUBLE PRECISION)"


@compiles(seconds_between, "mysql", "mariadb")
def _between_mysql(element: seconds_between, compiler: Any, **options: Any) -> str:
    begin, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"CAST(TIMESTAMPDIFF(MICROSECOND, {begin}, {end}) / 1000000 AS DOUBLE)"


@compiles(seconds_between, "sqlite")
def _between_sqlite(element: seconds_between, compiler: Any, **options: Any) -> str:
    begin, end = (compiler.process(clause, **options) for clause in element.clauses)
    return f"((julianday({end}) - julianday({begin})) * 86400.0)"


def sqlite_utc_after(seconds: float | None) -> str | None:
    """The SQL function behind both on SQLite."""
    if seconds is None:
        return None
    return (datetime.now(UTC).replace(tzinfo=None) + timedelta(seconds=seconds)).isoformat(" ", "microseconds")
