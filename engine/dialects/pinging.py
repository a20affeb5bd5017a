"""Connections of a pool are asked whether they live before they are used again, unless they were used a moment ago.

SQLAlchemy's own `pool_pre_ping` asks each time, a round trip for every transaction of a watcher at work; and its
reset of what comes back to the pool is another one where the driver does not know that a transaction is over.
"""

from __future__ import annotations

import time
from typing import Any, Final

from sqlalchemy import Engine, event
from sqlalchemy.exc import InvalidatePoolError

RESTED_S: Final = 0.1
"""A connection that died within this time of its last use fails its next statement, which then runs again."""
POOL: Final[dict[str, Any]] = {"pool_recycle": 300, "pool_reset_on_return": None}
"""Nothing is left to reset: whatever takes a connection ends its transaction before it gives it back."""


def ping_what_rested(engine: Engine) -> None:
    """Ping connections that rested, as they leave the pool; one that does not answer empties the pool."""

    def rest(connection: Any, record: Any) -> None:
        record.info["rests_since"] = time.monotonic()

    def ask(connection: Any, record: Any, proxy: Any) -> None:
        since = record.info.get("rests_since")
        if since is None or time.monotonic() - since < RESTED_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", rest)
    event.listen(engine, "checkout", ask)
