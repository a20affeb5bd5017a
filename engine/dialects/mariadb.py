"""MariaDB and MySQL, through PyMySQL."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Table, event, text
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Insert

from engine.dialects.base import Abilities, Dialect, Failure, Warned, skip_locked_works
from engine.dialects.pinging import POOL, ping_what_rested
from engine.dialects.timeouts import Timeouts
from engine.dialects.tls import mysql_tls, way_out
from engine.errors import DatabaseUnavailable

# MariaDB 1969, MySQL 3024: statement time-out; 1205: lock wait time-out, which leaves the transaction open
_RETRY = {1205, 1213, 1020, 1412, 1969, 3024, 1317, 3572}
_CONNECTION = {2006, 2013, 2055, 1053, 1927, 4031, *range(1152, 1162)} - {1153}
# 1226: an account's own ceiling of connections; 1026 and 1030: the storage failed, for want of space above all
_WAIT = {2002, 2003, 2005, 1040, 1203, 1226, 1021, 1026, 1030, 1037, 1038, 1041, 1114, 1129, 1290, 1792, 1836}
_DOWN = {1053, 1021, 1041, 1114, 1290, 1792, 1836}
"""Stopping, full, out of memory, read-only."""
MIN_PACKET = 16 * 1024 * 1024
_POISON = {1406, 1264, 1366, 1292, 4025, 3819, 1153, 1048, 1364, 1265, 1690}
_FATAL = {1146, 1054, 1045, 1044, 1049, 1665, 1142, 1698}


_EXPECTED: dict[str, tuple[Callable[[str], bool], str, str]] = {
    "innodb_flush_log_at_trx_commit": (
        lambda value: value == "1",
        "what was acknowledged may be lost when the machine fails",
        "innodb_flush_log_at_trx_commit = 1",
    ),
    "wsrep_on": (
        lambda value: value in ("OFF", "0"),
        "a Galera cluster that is written to by several nodes loses updates",
        "send all of Penstock to one node",
    ),
    "binlog_format": (
        lambda value: value != "STATEMENT",
        "READ COMMITTED cannot be logged by statement",
        "binlog_format = ROW or MIXED",
    ),
    "read_only": (lambda value: value in ("OFF", "0"), "nothing can be claimed here", "use the primary"),
    "max_allowed_packet": (
        lambda value: int(value) >= MIN_PACKET,
        "large results and logs may not fit",
        f"max_allowed_packet = {MIN_PACKET} or more",
    ),
}
"""Server variables: what is right, what is wrong with anything else, and the remedy."""


class MariaDB(Dialect):
    name = "mysql"
    driver = "mysql+pymysql"
    remedy = "pip install pymysql"
    backslashes = True

    def abilities(self) -> Abilities:
        return Abilities(lock_of=False, partial_indexes=False, documents=False)

    def engine_options(self, url: URL, role: str, timeouts: Timeouts) -> dict[str, Any]:
        defaults = {
            "charset": "utf8mb4",
            "connect_timeout": math.ceil(timeouts.connect_s),
            "read_timeout": timeouts.socket_s,
            "write_timeout": timeouts.socket_s,
        }
        return {
            "connect_args": {
                **{name: value for name, value in defaults.items() if name not in url.query},
                **mysql_tls(url),
            },
            "isolation_level": "READ COMMITTED",  # REPEATABLE READ locks gaps: an idle claim would block registrations
            **POOL,
        }

    def prepare(self, engine: Engine, timeouts: Timeouts) -> None:
        ping_what_rested(engine)
        event.listen(engine, "connect", partial(_on_connect, timeouts))

    def probe(self, engine: Engine, can: Abilities) -> None:
        can.skip_locked = skip_locked_works(engine)

    def warnings(self, connection: Connection) -> Iterator[Warned]:
        names = ", ".join(f"'{name}'" for name in _EXPECTED)
        found = {
            str(name).lower(): str(value).upper()
            for name, value in connection.exec_driver_sql(f"SHOW GLOBAL VARIABLES WHERE variable_name IN ({names})")
        }
        for name, (is_right, words, remedy) in _EXPECTED.items():
            if name in found and not is_right(found[name]):
                yield Warned(f"{name} is {found[name]}: {words}", remedy)

    def failure(self, error: DBAPIError) -> Failure:
        code = _code(error)
        if _is_of_tls(error):
            return Failure.FATAL
        if code == 1062:
            return Failure.DUPLICATE
        for family, verdict in (
            (_RETRY, Failure.RETRY),
            (_CONNECTION, Failure.CONNECTION),
            (_WAIT, Failure.WAIT),
            (_POISON, Failure.POISON),
            (_FATAL, Failure.FATAL),
        ):
            if code in family:
                return verdict
        if code == 0:  # InterfaceError (0, ''): the second use of a dead connection
            return Failure.CONNECTION
        if isinstance(error.orig, UnicodeError):
            return Failure.POISON
        return Failure.UNKNOWN

    def is_down(self, error: DBAPIError) -> bool:
        code = _code(error)
        if code in (2002, 2003):
            words = str(error.orig).lower()
            return "refused" in words or "no such file" in words
        return code in _DOWN

    def advice(self, error: DBAPIError) -> str:
        return way_out("ssl_ca=FILE", "ssl_disabled=true") if _is_of_tls(error) else ""

    def insert_missing(self, table: Table) -> Insert:
        statement = insert(table)
        key = next(iter(table.primary_key))
        # not INSERT IGNORE, which would also hide a value cut short
        return statement.on_duplicate_key_update({key.name: key})

    @contextmanager
    def migration_lock(self, connection: Connection) -> Iterator[None]:
        name = connection.scalar(text("SELECT CONCAT('penstock.', SHA1(DATABASE()))"))
        ask = text("SELECT GET_LOCK(:name, 5)")  # statements and sockets have time-outs of 10 seconds and more
        if not any(connection.scalar(ask, {"name": name}) == 1 for _ in range(12)):
            raise DatabaseUnavailable("another process has been changing this schema for 60 seconds")
        try:
            yield
            connection.exec_driver_sql("COMMIT")  # before the next one may look: the revision is no DDL
        finally:
            connection.scalar(text("SELECT RELEASE_LOCK(:name)"), {"name": name})

    def claim_lock(self, connection: Connection) -> None:
        # GET_LOCK outlives the transaction; the row of the schema's version is locked just as long as it lasts
        connection.execute(text("SELECT version_num FROM alembic_version FOR UPDATE")).all()

    def analyze(self, connection: Connection, *tables: Table) -> None:
        connection.execute(text(f"ANALYZE TABLE {', '.join(table.name for table in tables)}")).all()

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        """Table by table: each ends the transaction before it."""
        for table in tables:
            connection.execute(text(f"TRUNCATE TABLE {table.name}"))


def _code(error: DBAPIError) -> int | None:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments and isinstance(arguments[0], int) else None


def _is_of_tls(error: DBAPIError) -> bool:
    """Is there no TLS, or somebody else at the other end? 2026: the server has none."""
    return _code(error) == 2026 or (_code(error) == 2003 and "certificate" in str(error.orig).lower())


def _on_connect(timeouts: Timeouts, connection: Any, record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        is_mariadb = "mariadb" in cursor.fetchone()[0].lower()
        settings = ["time_zone = '+00:00'", f"innodb_lock_wait_timeout = {math.ceil(timeouts.lock_s)}"]
        settings.append("sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO'")
        if is_mariadb:
            settings.append(f"max_statement_time = {timeouts.statement_s:g}")
            settings.append(f"idle_transaction_timeout = {math.ceil(timeouts.idle_s)}")
        else:
            settings.append(f"max_execution_time = {math.ceil(timeouts.statement_s * 1000)}")
        cursor.execute("SET SESSION " + ", ".join(settings))
