"""PostgreSQL, through psycopg 3."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, Table, event, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import Insert

from engine.dialects.base import Abilities, Dialect, Failure, Warned, skip_locked_works
from engine.dialects.pinging import POOL, ping_what_rested
from engine.dialects.timeouts import Timeouts
from engine.dialects.tls import postgresql_tls, way_out

CHANNEL = "penstock_ready"
LISTEN_S = 0.25
"""Between looks whether to go on listening: a watcher that stops waits so long for this."""
_MIGRATION_LOCK = 0x70656E73746F636B  # "penstock" in ASCII
_CLAIM_LOCK = _MIGRATION_LOCK + 1
_SESSION = {
    # a plan cached while a table was empty scans the table for ever after: plan each statement anew
    "plan_cache_mode": "force_custom_plan",
    # each statement has an index to go by, but on a table that was never analysed a scan looks cheaper than it is
    "enable_seqscan": "off",
    "random_page_cost": "1.1",
    "jit": "off",  # the price of a forbidden scan would have short statements compiled
    "timezone": "UTC",
}
_REPEATING = {
    **_SESSION,
    # to plan a statement for one row takes longer than to run it; with these off there is little to choose for a
    # look-up but its index
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
}
_PLANNED_AT = "penstock_planned_at"
PLANS_LAST_S = 2.0
"""Then plans that were kept are made anew: tables may have grown, and nobody may have told the planner yet."""
_CODES = {
    "40001": Failure.RETRY,
    "40P01": Failure.RETRY,
    "55P03": Failure.RETRY,
    "57014": Failure.RETRY,
    "26000": Failure.RETRY,
    "42P05": Failure.RETRY,
    "57P01": Failure.CONNECTION,
    "57P02": Failure.CONNECTION,
    "57P05": Failure.CONNECTION,
    "25P03": Failure.CONNECTION,
    "25P04": Failure.CONNECTION,
    "57P03": Failure.WAIT,
    "25006": Failure.WAIT,
    "58030": Failure.WAIT,
    "23505": Failure.DUPLICATE,
    "23514": Failure.POISON,
    "23502": Failure.POISON,
    "42P01": Failure.FATAL,
    "42703": Failure.FATAL,
    "42501": Failure.FATAL,
    "3D000": Failure.FATAL,
    "57P04": Failure.FATAL,
}
_CLASSES = {
    "08": Failure.CONNECTION,
    "22": Failure.POISON,
    "53": Failure.WAIT,  # no room, no memory, no connection left
    "54": Failure.POISON,
    "28": Failure.FATAL,
}


_DOWN = {"57P02", "57P03", "25006", "53100"}
"""Crashed, starting or stopping, read-only, full."""
_DOWN_WORDS = ("refused", "starting up", "shutting down", "recovery mode", "not yet accepting", "no such file")
_WAIT_WORDS = (
    *_DOWN_WORDS,
    *("timeout", "timed out", "could not translate", "resolve", "unreachable", "no route"),
    *("too many clients", "too many connections", "connection slots", "read-only", "session is not read"),
)
"""What a connection that cannot be made says: it has no code."""


class PostgreSQL(Dialect):
    name = "postgresql"
    driver = "postgresql+psycopg"
    remedy = "pip install 'penstock[postgresql]'"

    def abilities(self) -> Abilities:
        return Abilities(hints=True)

    def engine_options(self, url: URL, role: str, timeouts: Timeouts) -> dict[str, Any]:
        return self._options(url, role, timeouts, _SESSION)

    def repeating_options(self, url: URL, role: str, timeouts: Timeouts) -> dict[str, Any]:
        return self._options(url, role, timeouts, _REPEATING)

    def _options(self, url: URL, role: str, timeouts: Timeouts, session: dict[str, str]) -> dict[str, Any]:
        defaults: dict[str, Any] = {
            "connect_timeout": max(2, math.ceil(timeouts.connect_s)),  # libpq takes no less than two seconds
            "tcp_user_timeout": math.ceil(min(10.0, timeouts.socket_s) * 1000),
            "keepalives_idle": 5,
            "keepalives_interval": 2,
            "keepalives_count": 3,
            "application_name": f"penstock/{role}",
            "options": " ".join(f"-c {name}={value}" for name, value in {**session, **_kept(timeouts)}.items()),
        }
        return {
            "connect_args": {
                **{name: value for name, value in defaults.items() if name not in url.query},
                **postgresql_tls(url),
            },
            "isolation_level": "READ COMMITTED",
            **POOL,
        }

    def prepare(self, engine: Engine, timeouts: Timeouts) -> None:
        ping_what_rested(engine)
        event.listen(engine, "connect", partial(_on_connect, timeouts.socket_s))

    def prepare_repeating(self, engine: Engine) -> None:
        event.listen(engine, "begin", _forget_old_plans)

    def probe(self, engine: Engine, can: Abilities) -> None:
        can.skip_locked = skip_locked_works(engine)

    def warnings(self, connection: Connection) -> Iterator[Warned]:
        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            if connection.exec_driver_sql(f"SHOW {name}").scalar() == "off":
                yield Warned(f"{name} is off: what was acknowledged may be lost when the machine fails", f"{name} = on")
        if connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar():
            yield Warned("this server is a standby: nothing can be claimed here", "use the primary")

    def failure(self, error: DBAPIError) -> Failure:
        state = getattr(error.orig, "sqlstate", None)
        words = str(error.orig).lower()
        if state == "0A000":  # a plan made before the table was changed; everything else under this code stays so
            return Failure.RETRY if "cached plan" in words else Failure.FATAL
        if state:
            return _CODES.get(state) or _CLASSES.get(state[:2], Failure.UNKNOWN)
        if _is_of_tls(error):
            return Failure.FATAL
        if any(part in words for part in _WAIT_WORDS):
            return Failure.WAIT
        if "password" in words or "authentication" in words or "does not exist" in words:
            return Failure.FATAL
        if any(part in words for part in ("closed", "lost", "terminated", "connection")):
            return Failure.CONNECTION
        if type(error.orig).__name__ == "DataError" or isinstance(error.orig, UnicodeError):
            return Failure.POISON  # refused by the driver itself: a NUL in a text
        return Failure.UNKNOWN

    def is_down(self, error: DBAPIError) -> bool:
        if state := getattr(error.orig, "sqlstate", None):
            return state in _DOWN
        words = str(error.orig).lower()
        return any(part in words for part in _DOWN_WORDS) and "timeout" not in words and "timed out" not in words

    def advice(self, error: DBAPIError) -> str:
        return way_out("sslrootcert=FILE", "sslmode=disable") if _is_of_tls(error) else ""

    def insert_missing(self, table: Table) -> Insert:
        return insert(table).on_conflict_do_nothing()

    @contextmanager
    def migration_lock(self, connection: Connection) -> Iterator[None]:
        driver: Any = connection.connection.driver_connection
        vars(driver).pop("wait", None)  # and neither is the client in a hurry
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # an index on millions of rows takes its time
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK})
        yield  # freed by the end of the transaction, which covers the DDL too

    def claim_lock(self, connection: Connection) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CLAIM_LOCK})

    def analyze(self, connection: Connection, *tables: Table) -> None:
        connection.execute(text(f"ANALYZE {', '.join(table.name for table in tables)}"))

    def empty(self, connection: Connection, tables: Sequence[Table]) -> None:
        connection.execute(text(f"TRUNCATE {', '.join(table.name for table in tables)}"))

    def notify(self, connection: Connection) -> None:
        connection.execute(text(f"NOTIFY {CHANNEL}"))

    def listen(self, url: URL, stopped: Callable[[], bool]) -> Iterator[bool]:
        import psycopg

        plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True, connect_timeout=5, **postgresql_tls(url)) as connection:
            connection.execute(f"LISTEN {CHANNEL}")
            yield False  # what was committed before the LISTEN is not announced: look once
            while not stopped():
                for _ in connection.notifies(timeout=LISTEN_S, stop_after=1):
                    yield True


def _forget_old_plans(connection: Connection) -> None:
    now = time.monotonic()
    if now - connection.info.setdefault(_PLANNED_AT, now) > PLANS_LAST_S:
        connection.exec_driver_sql("DISCARD PLANS")
        connection.info[_PLANNED_AT] = now


def _is_of_tls(error: DBAPIError) -> bool:
    """Is there no TLS, or somebody else at the other end? Such a connection has no code."""
    if getattr(error.orig, "sqlstate", None):
        return False
    words = str(error.orig).lower()
    return "certificate" in words or "ssl was required" in words


def _kept(timeouts: Timeouts) -> dict[str, str]:
    """The time-outs that the server keeps, in milliseconds."""
    kept = {
        "statement_timeout": timeouts.statement_s,
        "lock_timeout": timeouts.lock_s,
        "idle_in_transaction_session_timeout": timeouts.idle_s,
    }
    return {name: str(math.ceil(seconds * 1000)) for name, seconds in kept.items()}


def _on_connect(socket_s: float, connection: Any, record: Any) -> None:
    from psycopg.errors import DataError
    from psycopg.types.datetime import TimestamptzLoader

    class Lenient(TimestamptzLoader):
        """A time that Python cannot hold, such as `infinity`, reads as None: a hand-made row must not stop a poll."""

        def load(self, data: Any) -> Any:
            try:
                return super().load(data)
            except DataError:
                return None

    connection.adapters.register_loader("timestamptz", Lenient)
    if "timeout" in inspect.signature(connection.wait).parameters:  # psycopg 3.3
        connection.wait = partial(_wait_for_answer, connection, socket_s)


def _wait_for_answer(connection: Any, socket_s: float, steps: Any, *rest: Any, **more: Any) -> Any:
    """The client's own patience, which libpq has not: a server, or whatever lies before it, may keep a connection open
    and never answer."""
    from psycopg import OperationalError
    from psycopg.errors import _WaitTimeout

    try:
        return type(connection).wait(connection, steps, *rest, **{"timeout": socket_s, **more})
    except _WaitTimeout as error:
        connection.pgconn.finish()
        raise OperationalError(f"no answer within {socket_s:g} seconds: the connection is closed") from error
