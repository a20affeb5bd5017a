"""Connections of a pool are asked whether they live before they are used again, unless one was used a moment ago, for a
transaction that runs again if it turns out to be dead.

SQLAlchemy's own `pool_pre_ping` asks each time, a round trip for every transaction of a watcher at work; and its
reset of what comes back to the pool is another one where the driver does not know that a transaction is over.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError

RESTED_S: Final = 0.1
"""Since its last use: then a connection is asked in any case."""
POOL: Final[dict[str, Any]] = {"pool_recycle": 300, "pool_reset_on_return": None, "pool_use_lifo": True}
"""Nothing is left to reset: whatever takes a connection ends its transaction before it gives it back. Whoever comes
next takes the one that was used last, which need not be asked and has prepared what is run most."""
RUNS_AGAIN: Final[ContextVar[bool]] = ContextVar("penstock_runs_again", default=False)
"""Set where what fails over a dead connection is run again at once."""


def ping_what_rested(engine: Engine) -> None:
    """Ping connections as they leave the pool; one that does not answer empties the pool."""

    def rest(connection: Any, record: Any) -> None:
        record.info["rests_since"] = time.monotonic()

    def ask(connection: Any, record: Any, proxy: Any) -> None:
        since = record.info.get("rests_since")
        if since is None or (RUNS_AGAIN.get() and time.monotonic() - since < RESTED_S):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", rest)
    event.listen(engine, "checkout", ask)
