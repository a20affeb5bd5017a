"""Column types that mean the same on every database, with the spelling of each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, String, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeDecorator, TypeEngine


class Id(String):
    """An id compared byte by byte: `Example`, `example` and `example ` are three ids on every database.

    Length in characters, at most 256. MariaDB and MySQL need a no-pad binary collation for that (utf8mb4_bin still
    ignores trailing blanks); PostgreSQL gets "C", which also keeps index order free of the locale; SQLite is binary.
    """


@compiles(Id, "mysql", "mariadb")
def _id_mysql(type_: Id, compiler: Any, **_: Any) -> str:
    collation = "utf8mb4_nopad_bin" if compiler.dialect.is_mariadb else "utf8mb4_0900_bin"
    return f"VARCHAR({type_.length}) CHARACTER SET utf8mb4 COLLATE {collation}"


@compiles(Id, "postgresql")
def _id_postgresql(type_: Id, compiler: Any, **_: Any) -> str:
    return f'VARCHAR({type_.length}) COLLATE "C"'


class LongText(TypeDecorator[str]):
    """Text of up to 16 MiB: JSON documents, messages, logs. JSON is text here, so that a malformed document written by
    hand can be stored, named and repaired instead of failing whoever reads the table."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return mysql.MEDIUMTEXT(charset="utf8mb4")
        return Text()


class UtcTimestamp(TypeDecorator[datetime]):
    """An instant in UTC with microseconds; Python sees aware datetimes only.

    PostgreSQL: timestamptz. MariaDB and MySQL: DATETIME(6) (TIMESTAMP ends in 2038 and follows the session's zone).
    SQLite: text `YYYY-MM-DD HH:MM:SS.ffffff`, which sorts as time; text written by hand may leave out the fraction.
    """

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in ("mysql", "mariadb"):
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        if dialect.name == "postgresql":
            return dialect.type_descriptor(DateTime(timezone=True))
        return dialect.type_descriptor(SqliteInstant())

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: Penstock stores instants, give an aware datetime")
        value = value.astimezone(UTC)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if not isinstance(value, datetime):
            return None  # PyMySQL gives a date that does not exist, such as 0000-00-00, as text
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class SqliteInstant(TypeDecorator[datetime]):
    """The text form of an instant on SQLite. Text that is none reads as None: a hand-made row must not stop a poll."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        return value.isoformat(" ", "microseconds") if isinstance(value, datetime) else value

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        if value is None or isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(str(value))
        except ValueError:
            return None


def has_partial_indexes(
    ddl: Any, target: Any, bind: Any, tables: Any = None, state: Any = None, *, dialect: Dialect, **_: Any
) -> bool:
    """For `ddl_if`: can an index of this database cover some rows only?"""
    return dialect.name not in ("mysql", "mariadb")


def lacks_partial_indexes(
    ddl: Any, target: Any, bind: Any, tables: Any = None, state: Any = None, *, dialect: Dialect, **_: Any
) -> bool:
    """For `ddl_if`: must one index over all rows do instead?"""
    return dialect.name in ("mysql", "mariadb")
